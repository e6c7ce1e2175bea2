"""An event that a person types, as any client may send it: read, checked and published.

What the orchestrator would pass over or put among the dead letters is refused here, before anything is sent.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sagas.cli.output import plain, say, say_json
from sagas.cli.shapes import PublishedShape
from sagas.config import Settings
from sagas.core.envelope import PAYLOAD_BYTES_MAX
from sagas.core.messages import Event
from sagas.core.upcasting import VERSION_FIELD, is_unversioned, version_of
from sagas.errors import BrokerUnavailable, SettingsError
from sagas.ports import Outgoing, TopicSpec


def typed(event: str) -> bytes:
    """What was typed: the JSON itself, or what is in the file of that name, or on standard input for "-"."""
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


def key_and_data(event_type: type[Event], key_field: str, text: bytes) -> tuple[str, bytes]:
    """The business key and the `data` of the event whose fields are in `text`. Raises SettingsError."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SettingsError(f"the event is not one JSON object: {error}; {expected(event_type)}") from error
    unknown = sorted(set(fields) - set(_known(event_type)))
    if unknown:
        # On the wire unknown fields are passed over, for other programs write there; here it is a typing mistake.
        raise SettingsError(f"the event has no field {', '.join(map(repr, unknown))}; {expected(event_type)}")
    key = fields.pop(key_field, None)
    if not isinstance(key, str):
        raise SettingsError(f"the event needs its business key {key_field!r} as text; {expected(event_type)}")
    version = version_of(event_type)
    if version > 1 and not is_unversioned(event_type):
        fields = {VERSION_FIELD: str(version), **fields}  # or it would be read as the first one
    return key, msgspec.json.encode(fields)


def expected(event_type: type[Event]) -> str:
    """The fields of an event in words, for who has typed others."""
    known = _known(event_type).items()
    return "its fields: " + ", ".join(name if is_required else f"{name} (optional)" for name, is_required in known)


async def publish(settings: Settings, message: Outgoing) -> None:
    """Publish it, to a topic that is made if it is not there. Raises BrokerUnavailable, with what to do."""
    # Imported here: what is wrong with the event is said before the broker is asked for.
    from sagas.hosting import broker_of

    broker = broker_of(settings)
    try:
        try:
            await broker.ensure([TopicSpec(name=message.topic, partitions=settings.partitions)])
        except BrokerUnavailable as error:
            raise BrokerUnavailable(
                f"{error}; nothing was published: is the broker up (`sagas broker` starts the embedded one), and is it "
                "the one that IGGY_CONNECTION_STRING names?"
            ) from error
        try:
            await broker.publish([message])
        except BrokerUnavailable as error:
            raise BrokerUnavailable(
                f"{error}; it may have been published: say the same again, it is one message"
            ) from error
    finally:
        await broker.close()


def tell(published: PublishedShape, *, as_json: bool) -> None:
    """Say what was published, and how to see what came of it."""
    if as_json:
        say_json(published)
        return
    say(plain(f"published {published.event_type} for {published.saga} {published.key} to {published.topic}"))
    say(plain(f"next: sagas show {published.key}"))


def _known(event_type: type[Event]) -> Mapping[str, bool]:
    """The fields of an event, and whether each must be given."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(event_type)}
