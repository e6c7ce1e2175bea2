"""Messages as the client has them, to and from ours."""

import logging

from apache_iggy import ReceiveMessage, SendMessage

from sagas.broker.outgoing import MESSAGES_EXPIRED, checked_headers, checked_payload, message_id
from sagas.core.ids import text_of
from sagas.ports import Incoming, Outgoing
from sagas.records import Partition

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
    """What was read. Headers that cannot be read are a defect of the message, never an error: the partition goes on.

    Of a block that cannot be parted into fields the client says what it says of none: such a message has no headers,
    and no defect. Read past the client (`batch_messages.py`) it has one.
    """
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


def note_missed(at: Partition, count: int, group: str) -> None:
    """Say that the first `count` messages that were to be read have expired."""
    if count > 0:
        _log.warning(MESSAGES_EXPIRED, count, *at, group)


def _text(value: str | bytes | bool | int | float) -> str:
    """A header's name or value as text. Raises UnicodeDecodeError, a ValueError, for bytes that are none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
