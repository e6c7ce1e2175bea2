"""`sagas signal`: publish an event that instances wait for, as any client may.

The event is read as the orchestrator would read it, before it is sent. The message's id is derived from what it
says, so the same command given twice is the same message twice, and one signal; `--id` makes it another one.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid5

import anyio
import click
from rich_click import RichCommand

from sagas.cli.definitions import find, load
from sagas.cli.output import explained
from sagas.cli.settings import settings_here
from sagas.cli.shapes import PublishedShape
from sagas.cli.typed_event import expected, key_and_data, publish, tell, typed
from sagas.clock import SystemClock
from sagas.core.definition import Definition
from sagas.core.envelope import Undecodable, decode_data, decode_envelope, encode_envelope
from sagas.core.messages import Event, tag_of
from sagas.errors import SettingsError
from sagas.ports import Outgoing

_NAMESPACE = UUID("0f3c4e62-9a57-4b1d-8a55-6b7f5f3d2c91")

Awaited = Mapping[tuple[str, str], type[Event]]
"""Topic and tag of a signal that is waited for → its class."""


@click.command(cls=RichCommand)
@click.argument("saga", metavar="SAGA")
@click.argument("event", metavar="EVENT")
@click.argument("fields", default="-", metavar="[JSON|FILE|-]")
@click.option("-m", "--module", "modules", multiple=True, metavar="MODULE", help="Where to look; can be given again.")
@click.option(
    "--id", "message_id", default="", metavar="ID", help="The message's id: the same said again under another one."
)
@click.option("--on", default="", metavar="TOPIC", help="The topic, where it is waited for on several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(
    saga: str, event: str, fields: str, modules: tuple[str, ...], message_id: str, on: str, as_json: bool
) -> None:
    """Publish an event that instances of the saga wait for; EVENT is its class or its tag.

    Its fields are one JSON object, the business key among them: as an argument, in a file, or on standard input.
    Saying the same twice is one signal, unless each has an --id.
    """
    settings = settings_here()
    definitions = load(modules or settings.definitions)
    name = find(definitions, saga).name
    versions = [definition for definition in definitions if definition.name == name]
    message, event_type = signal_message(versions, event, typed(fields), SystemClock().now_ms(), message_id, on)
    anyio.run(publish, settings, message)
    published = PublishedShape(
        saga=name, key=message.key, topic=message.topic, event_type=tag_of(event_type), message_id=message.id
    )
    tell(published, as_json=as_json)


def signal_message(
    versions: Sequence[Definition], event: str, text: bytes, now_ms: int, message_id: str = "", on: str = ""
) -> tuple[Outgoing, type[Event]]:
    """The message for whoever waits for `event` in these versions of a saga, with the fields in `text`, and its class.

    Raises SettingsError saying what does not fit.
    """
    saga, key_field = versions[0].name, versions[0].key
    topic, event_type = _wanted(saga, _awaited(versions), event, on)
    key, data = key_and_data(event_type, key_field, text)
    tag = tag_of(event_type)
    message_id = message_id or str(uuid5(_NAMESPACE, f"{saga}\0{topic}\0{tag}\0{key}\0{data.decode()}"))
    payload = encode_envelope(message_id, key_field, key, tag, now_ms, data)
    read = decode_envelope(payload, key_field)
    if not isinstance(read, Undecodable):
        signal = decode_data(event_type, key_field, key, read.data)
        if not isinstance(signal, Undecodable):
            return Outgoing(id=message_id, topic=topic, key=key, payload=payload), event_type
        read = signal
    raise SettingsError(f"the event does not fit: {read.reason}; {expected(event_type)}")


def _awaited(versions: Sequence[Definition]) -> Awaited:
    """The signals that these versions of a saga wait for; what two have is as the newer one has it."""
    by_age = sorted(versions, key=lambda definition: definition.version)
    waits = [wait for definition in by_age for wait in definition.waits.values()]
    return {(wait.topic, tag): event_type for wait in waits for tag, event_type in wait.signals.items()}


def _wanted(saga: str, known: Awaited, event: str, on: str) -> tuple[str, type[Event]]:
    """The topic and the class of `event`, on the topic `on` unless that is ""."""
    if not known:
        raise SettingsError(f"saga {saga!r} has no wait: it takes no signal")
    found = {
        topic: event_type
        for (topic, tag), event_type in known.items()
        if event in (tag, event_type.__name__) and on in ("", topic)
    }
    if not found:
        where = f" on {on!r}" if on else ""
        names = ", ".join(f"{event_type.__name__} ({tag}) on {topic}" for (topic, tag), event_type in known.items())
        raise SettingsError(f"saga {saga!r} does not wait for {event!r}{where}; it waits for: {names}")
    if len(found) > 1:
        raise SettingsError(f"saga {saga!r} waits for {event!r} on {', '.join(found)}; name one with --on")
    return next(iter(found.items()))
