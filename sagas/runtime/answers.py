"""An answer as it goes out: a reply in its envelope, addressed to where the participant's sagas read."""

from collections.abc import Mapping

from sagas.core.envelope import encode_envelope
from sagas.core.messages import Event, InProgress, tag_of
from sagas.core.participants import Participant
from sagas.ports import BarrierRow, OutboxRow
from sagas.runtime.delivery import begun_by
from sagas.runtime.handlers import Handler, HandlerError, readable_data


def definite(
    row: BarrierRow, reply: Event, participant: Participant, handlers: Mapping[str, Handler]
) -> tuple[str, bytes]:
    """The key and the fields of a reply to what is in progress in `row`. Raises HandlerError for one that is none."""
    said, key_field = type(reply).__name__, participant.key
    if type(reply) is InProgress:
        raise HandlerError(f"{said} is no definite answer; settle with one that the command declares")
    tag, asked_key = begun_by(row) or ("", "")
    handler = handlers.get(tag)
    # A release that has no such command any more may still answer what its predecessor has begun.
    data = handler.encoded_reply(reply, key_field) if handler else readable_data(reply, key_field)
    key = str(getattr(reply, key_field, ""))
    if not key:
        raise HandlerError(f"{said} has no {key_field}: it is no answer to a command of {participant.name}")
    if asked_key and key != asked_key:
        raise HandlerError(f"{said} is for {key_field} {key!r}, and what is in progress for {asked_key!r}")
    return key, data


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
