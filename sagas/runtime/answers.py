"""An answer as it goes out: a reply in its envelope, addressed to where the participant's sagas read."""

from sagas.core.envelope import encode_envelope
from sagas.core.messages import Event, tag_of
from sagas.core.participants import Participant
from sagas.ports import OutboxRow


def fresh_answer(
    participant: Participant, reply: Event, data: bytes, message_id: str, key: str, headers: dict[str, str], now_ms: int
) -> OutboxRow:
    """A reply that was not given before; `data` are its fields without the business key."""
    event_type = tag_of(type(reply))
    payload = encode_envelope(message_id, participant.key, key, event_type, now_ms, data)
    return answer_row(participant, message_id, event_type, payload, key, headers, now_ms)


def answer_row(
    participant: Participant,
    message_id: str,
    event_type: str,
    payload: bytes,
    key: str,
    headers: dict[str, str],
    now_ms: int,
) -> OutboxRow:
    """An answer whose bytes are there."""
    return OutboxRow(
        id=message_id,
        event_type=event_type,
        payload=payload,
        created_at=now_ms,
        aggregate_type=participant.name,
        aggregate_id=key,
        topic=participant.events,
        key=key,
        headers=headers,
    )
