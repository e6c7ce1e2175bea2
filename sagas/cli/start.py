"""`sagas start`: begin an instance by publishing its start event, as any client may.

The event is read by the same code that reads it in the orchestrator, before it is sent: what would
end among the dead letters is refused here. The message's id is derived from what it says, so the
same command given twice is the same message twice, and starts one instance.
"""

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
from sagas.core.envelope import encode_envelope
from sagas.core.messages import tag_of
from sagas.core.starting import started_on
from sagas.errors import SettingsError
from sagas.ports import Incoming, Outgoing

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
    message = start_message(definition, typed(event), SystemClock().now_ms())
    anyio.run(publish, settings, message)
    published = PublishedShape(
        saga=definition.name,
        key=message.key,
        topic=message.topic,
        event_type=tag_of(definition.start.event_type),
        message_id=message.id,
    )
    tell(published, as_json=as_json)


def start_message(definition: Definition, text: bytes, now_ms: int) -> Outgoing:
    """The message that starts an instance with the fields in `text`. Raises SettingsError saying what does not fit."""
    # Imported here: it is the orchestrator's own reading, and only `start` needs it.
    from sagas.runtime.intake import Intake, PoisonItem

    event_type, topic = definition.start.event_type, definition.start.topic
    key, data = key_and_data(event_type, definition.key, text)
    message_id = str(uuid5(_NAMESPACE, f"{definition.name}\0{key}\0{data.decode()}"))
    payload = encode_envelope(message_id, definition.key, key, tag_of(event_type), now_ms, data)
    incoming = Incoming(id=message_id, topic=topic, partition=0, offset=0, timestamp_ms=now_ms, payload=payload)
    item = Intake([definition]).read(incoming)
    if isinstance(item, PoisonItem):
        raise SettingsError(f"the event does not fit: {item.reason}; {expected(event_type)}")
    return Outgoing(id=message_id, topic=topic, key=key, payload=payload)
