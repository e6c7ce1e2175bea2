"""`sagas start`: begin an instance by publishing its start event, as any client may.

The event is read by the same code that reads it in the orchestrator, before it is sent: what would
end among the dead letters is refused here. The message's id is derived from what it says, so the
same command given twice is the same message twice, and starts one instance.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID, uuid5

import anyio
import click
import msgspec
from rich_click import RichCommand

from sagas.cli.definitions import find, load
from sagas.cli.output import explained, plain, say, say_json
from sagas.cli.settings import settings_here
from sagas.cli.shapes import StartedShape
from sagas.clock import SystemClock
from sagas.config import Settings
from sagas.core.definition import Definition
from sagas.core.envelope import PAYLOAD_BYTES_MAX, encode_envelope
from sagas.core.messages import tag_of
from sagas.core.starting import started_on
from sagas.errors import SettingsError
from sagas.ports import Incoming, Outgoing, TopicSpec

_NAMESPACE = UUID("6d8a5a0e-93f0-4f0e-8c5e-0f6a3c1b7d52")


@click.command(cls=RichCommand)
@click.argument("saga", metavar="SAGA")
@click.argument("event", default="-", metavar="[JSON|FILE|-]")
@click.option("-m", "--module", "modules", multiple=True, metavar="MODULE", help="Where to look; can be given again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(saga: str, event: str, modules: tuple[str, ...], as_json: bool) -> None:
    """Start an instance by publishing the saga's start event.

    The event is its fields as one JSON object, the business key among them: as an argument, in a file, or on
    standard input. Saying the same twice starts one instance.
    """
    settings = settings_here()
    definition = find(started_on(load(modules or settings.definitions), settings.topic), saga)
    message = start_message(definition, _read(event), SystemClock().now_ms())
    anyio.run(_publish, settings, message)
    started = StartedShape(
        saga=definition.name,
        key=message.key,
        topic=message.topic,
        event_type=tag_of(definition.start.event_type),
        message_id=message.id,
    )
    if as_json:
        say_json(started)
    else:
        say(plain(f"published {started.event_type} for {started.saga} {started.key} to {started.topic}"))
        say(plain(f"next: sagas show {started.key}"))


def start_message(definition: Definition, text: bytes, now_ms: int) -> Outgoing:
    """The message that starts an instance with the fields in `text`. Raises SettingsError saying what does not fit."""
    # Imported here: it is the orchestrator's own reading, and only `start` needs it.
    from sagas.runtime.intake import Intake, PoisonItem

    fields = _fields(definition, text)
    key = fields.pop(definition.key)
    assert isinstance(key, str)
    data = msgspec.json.encode(fields)
    message_id = str(uuid5(_NAMESPACE, f"{definition.name}\0{key}\0{data.decode()}"))
    payload = encode_envelope(message_id, definition.key, key, tag_of(definition.start.event_type), now_ms, data)
    topic = definition.start.topic
    incoming = Incoming(id=message_id, topic=topic, partition=0, offset=0, timestamp_ms=now_ms, payload=payload)
    item = Intake([definition]).read(incoming)
    if isinstance(item, PoisonItem):
        raise SettingsError(f"the event does not fit: {item.reason}; {_expected(definition)}")
    return Outgoing(id=message_id, topic=topic, key=key, payload=payload)


def _fields(definition: Definition, text: bytes) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SettingsError(f"the event is not one JSON object: {error}; {_expected(definition)}") from error
    unknown = sorted(set(fields) - set(_known(definition)))
    if unknown:
        # On the wire unknown fields are passed over, for other programs write there; here it is a typing mistake.
        raise SettingsError(f"the event has no field {', '.join(map(repr, unknown))}; {_expected(definition)}")
    if not isinstance(fields.get(definition.key), str):
        raise SettingsError(f"the event needs its business key {definition.key!r} as text; {_expected(definition)}")
    return fields


def _known(definition: Definition) -> Mapping[str, bool]:
    """The fields of the start event, and whether each must be given."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(definition.start.event_type)}


def _expected(definition: Definition) -> str:
    known = _known(definition).items()
    return "its fields: " + ", ".join(name if is_required else f"{name} (optional)" for name, is_required in known)


def _read(event: str) -> bytes:
    if event.lstrip().startswith("{"):
        return event.encode()
    try:
        if event == "-":
            return sys.stdin.buffer.read(PAYLOAD_BYTES_MAX + 1)
        with Path(event).open("rb") as file:
            return file.read(PAYLOAD_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(
            f"{event}: {error.strerror}; give the event as JSON, a file, or - for standard input"
        ) from error


async def _publish(settings: Settings, message: Outgoing) -> None:
    # Imported here: what is wrong with the event is said before the broker is asked for.
    from sagas.hosting import broker_of

    broker = broker_of(settings)
    try:
        await broker.ensure([TopicSpec(name=message.topic, partitions=settings.partitions)])
        await broker.publish([message])
    finally:
        await broker.close()
