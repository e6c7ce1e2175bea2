"""What Iggy takes as a message and as a name, checked before any byte leaves: the same for every adapter.

Messages are checked up front because a batch is refused as a whole: the text has to name the one message that is
to blame, or whoever publishes could only guess which row to take out.
"""

from collections.abc import Collection, Mapping, Sequence

from sagas.core.ids import is_instance_id, number_of, text_of
from sagas.errors import BrokerError, SettingsError
from sagas.ports import Outgoing, Position

PAYLOAD_BYTES_MAX = 64_000_000
"""Of one message; Iggy refuses more, and an empty one."""

HEADER_BYTES_MAX = 255
"""Of a header's name and of its value, in UTF-8; the length travels in a field that Iggy bounds so."""

HEADERS_BYTES_MAX = 100_000
"""Of all headers of one message, with `_HEADER_FRAMING_BYTES` for each."""

NAME_BYTES_MAX = 255
"""Of a stream, a topic or a group, in UTF-8."""

MESSAGES_EXPIRED = (
    "%d messages of topic %r, partition %d, expired before group %r had read them: reading goes on behind them; "
    "what they would have told is asked for again where a saga waits for it"
)
"""What every adapter says when a topic's retention was shorter than its reader's absence."""

_HEADER_FRAMING_BYTES = 10  # name and value: one byte of kind and four of length each

_NIL = text_of(0)


def message_id(message: Outgoing) -> int:
    """The 128 bits of the message's id. Raises BrokerError when it is not a UUID, or the nil UUID."""
    try:
        value = number_of(message.id)
    except ValueError:
        raise BrokerError(f"message {message.id[:64]!r} to {message.topic!r}: the id has to be a UUID") from None
    if value == 0:
        # The client reads 0 as "none given" and draws one: a retry would then carry another id.
        raise BrokerError(f"message to {message.topic!r}: the nil UUID is no id; derive one")
    return value


def message_id_text(message: Outgoing) -> str:
    """The message's id as its readers get it, whatever its spelling; raises as `message_id` does."""
    text = message.id
    # Nearly all ids are our own, and those are spelled so already.
    return text if is_instance_id(text) and text != _NIL else text_of(message_id(message))


def checked_payload(message: Outgoing) -> bytes:
    """The payload. Raises BrokerError when Iggy would refuse its length."""
    length = len(message.payload)
    if not 1 <= length <= PAYLOAD_BYTES_MAX:
        raise BrokerError(f"message {message.id}: payload of {length} bytes, 1 to {PAYLOAD_BYTES_MAX} can be sent")
    return message.payload


def checked_headers(message: Outgoing) -> Mapping[str, str]:
    """The headers that are sent: those with an empty value are left out, Iggy cannot carry them.

    Raises BrokerError for a name or value that is too long, and when they are too much together.
    """
    sent: dict[str, str] = {}
    total = 0
    for name, value in message.headers.items():
        if not value:
            continue
        # Written out, since a call for each costs as much as all the rest of this.
        name_bytes = len(name) if name.isascii() else len(name.encode())
        value_bytes = len(value) if value.isascii() else len(value.encode())
        if not (1 <= name_bytes <= HEADER_BYTES_MAX and value_bytes <= HEADER_BYTES_MAX):
            raise BrokerError(
                f"message {message.id}: header {name[:64]!r} has a name of {name_bytes} bytes and a value of "
                f"{value_bytes}; 1 to {HEADER_BYTES_MAX} each can be sent, put longer text into the payload"
            )
        total += name_bytes + value_bytes + _HEADER_FRAMING_BYTES
        sent[name] = value
    if total > HEADERS_BYTES_MAX:
        raise BrokerError(f"message {message.id}: headers of {total} bytes, at most {HEADERS_BYTES_MAX} can be sent")
    return sent


def checked_positions(positions: Sequence[Position], topics: Collection[str]) -> None:
    """Raises BrokerError for a position that cannot be stored by who reads `topics`."""
    for position in positions:
        if position.topic not in topics or position.offset < 0:
            raise BrokerError(f"{position}: an offset from 0 on of one of {', '.join(sorted(topics))} can be stored")


def checked_name(what: str, name: str) -> str:
    """`name` itself, of a stream, a topic or a group. Raises SettingsError when Iggy would not take it."""
    # A name of digits only is taken for a number by the client, and then names something else or nothing.
    if not 1 <= len(name.encode()) <= NAME_BYTES_MAX or name.isdigit():
        raise SettingsError(f"{what} {name[:64]!r}: a name has 1 to {NAME_BYTES_MAX} bytes and not only digits")
    return name
