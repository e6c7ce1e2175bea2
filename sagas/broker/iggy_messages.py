"""Messages as the client has them, to and from ours."""

import logging
from collections.abc import Sequence

from apache_iggy import ReceiveMessage, SendMessage

from sagas.broker.outgoing import MESSAGES_EXPIRED, checked_headers, checked_payload, message_id
from sagas.core.ids import text_of
from sagas.ports import Incoming, Outgoing

_log = logging.getLogger("sagas.broker")


def make_message(message: Outgoing) -> SendMessage:
    """What is sent for `message`. Raises BrokerError naming it when Iggy would refuse it."""
    headers = checked_headers(message)
    return SendMessage(
        checked_payload(message),
        user_headers={**headers} if headers else None,
        id=message_id(message),
    )


def read_message(topic: str, message: ReceiveMessage) -> Incoming:
    """What was read. Headers that cannot be read are a defect of the message, never an error: the partition goes on."""
    headers: dict[str, str] = {}
    defect = ""
    try:
        raw = message.user_headers()
        if raw:
            headers = {
                name if type(name) is str else _text(name): value if type(value) is str else _text(value)
                for name, value in raw.to_scalar_dict().items()
            }
    except (ValueError, RuntimeError) as error:
        headers = {}
        defect = f"headers: {str(error)[:200]}"
    return Incoming(
        id=text_of(message.id()),
        topic=topic,
        partition=message.partition_id(),
        offset=message.offset(),
        timestamp_ms=message.timestamp() // 1000,
        payload=message.payload(),
        headers=headers,
        defect=defect,
    )


def read_batch(at: tuple[str, int], messages: Sequence[ReceiveMessage], expected: int, group: str) -> list[Incoming]:
    """What was read of a topic's partition; says so when the offset that was expected first has expired."""
    missed = messages[0].offset() - expected
    if missed > 0:
        _log.warning(MESSAGES_EXPIRED, missed, *at, group)
    return [read_message(at[0], message) for message in messages]


def _text(value: str | bytes | bool | int | float) -> str:
    """A header's name or value as text. Raises UnicodeDecodeError, a ValueError, for bytes that are none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
