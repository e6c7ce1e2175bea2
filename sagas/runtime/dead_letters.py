"""Messages that cannot be dealt with: kept as they came, with the reason."""

from sagas.core.messages import TEXT_LENGTH_MAX
from sagas.ports import DeadLetter, Incoming


def dead_letter(incoming: Incoming, reason: str, now_ms: int) -> DeadLetter:
    """The record of a message that could not be dealt with."""
    return DeadLetter(
        received_ms=now_ms,
        topic=incoming.topic,
        partition=incoming.partition,
        offset=incoming.offset,
        message_id=incoming.id,
        reason=reason[:TEXT_LENGTH_MAX],
        payload=incoming.payload,
        headers=incoming.headers,
    )
