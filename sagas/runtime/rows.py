"""What a decision comes to as rows: the command in the outbox, the entry in the journal; and what waits."""

import msgspec
from msgspec.structs import replace

from sagas.core.definition import Definition
from sagas.core.effects import Decision, Input, Operate, Send
from sagas.core.envelope import Header, encode_envelope
from sagas.core.instance import Instance
from sagas.core.messages import tag_of
from sagas.ports import AuditRow, JournalRow, OutboxRow
from sagas.runtime.delivery import RETRIABLE

_encode = msgspec.msgpack.Encoder().encode

PARKED_MS_MAX = 10 * 60 * 1000
"""How long a message waits for the instance or step it belongs to, before it becomes a dead letter."""


def command_row(definition: Definition, instance: Instance, send: Send, now_ms: int) -> OutboxRow:
    """The row that sends a command."""
    event_type = tag_of(type(send.command))
    payload = encode_envelope(send.id, definition.key, instance.key, event_type, now_ms, send.body)
    headers = {
        Header.SAGA: definition.name,
        Header.INSTANCE: instance.id,
        Header.STEP: send.sent_as,
        Header.OPERATION: send.operation,
        Header.ATTEMPT: str(send.attempt),
    }
    spec = definition.step_of(send.step)
    if spec is not None and spec.kind == RETRIABLE:
        headers[Header.KIND] = RETRIABLE
    if send.since_ms:
        headers[Header.SINCE] = str(send.since_ms)
    if send.deadline_ms:
        headers[Header.DEADLINE] = str(send.deadline_ms)
    return OutboxRow(
        id=send.id,
        event_type=event_type,
        payload=payload,
        created_at=now_ms,
        aggregate_type=definition.name,
        aggregate_id=instance.key,
        topic=send.topic,
        key=instance.key,
        headers=headers,
    )


def begun(decision: Decision, message_id: str) -> Decision:
    """What was decided of a start, its run knowing the message that began it: so it need not stand in the inbox."""
    assert decision.instance is not None, "whatever starts has a run"
    return replace(decision, instance=replace(decision.instance, begun_by=message_id))


def journal_row(
    before: Instance | None, decision: Decision, message: Input, message_id: str, now_ms: int
) -> JournalRow:
    """The entry of what was decided; `message_id` is "" for what was no message."""
    after = decision.instance
    assert after is not None
    return JournalRow(
        instance_id=after.id,
        revision=after.revision,
        at_ms=now_ms,
        verdict=decision.verdict,
        input=_encode(message),
        message_id=message_id,
        triggers=_triggers_of(decision),
        path=path_of(before, decision),
        note=decision.note,
    )


def audit_row(before: Instance, decision: Decision, message: Operate, now_ms: int) -> AuditRow:
    """The entry of what a person did with a run."""
    return AuditRow(
        at_ms=now_ms,
        instance_id=before.id,
        revision=before.revision,
        who=message.who,
        action=message.action,
        reason=message.reason,
        path=path_of(before, decision),
    )


def path_of(before: Instance | None, decision: Decision) -> tuple[str, ...]:
    """The states gone through, the first being where it stood."""
    match decision.moves:
        case (move,):  # nearly always: a generator costs more
            return move.source, move.dest
        case ():
            return (before.state,) if before is not None else ()
        case moves:
            return (moves[0].source, *(move.dest for move in moves))


def _triggers_of(decision: Decision) -> tuple[str, ...]:
    match decision.moves:
        case (move,):
            return (move.trigger,)
        case moves:
            return tuple(move.trigger for move in moves)


def timer_name(definition: Definition, instance: Instance, name: str) -> str:
    """The name of a timer's row: the one it was first set under, or a step's row would be there twice."""
    if not definition.renames:
        return name
    record = instance.step(name)
    return (record.sent_as if record is not None else "") or name


def unborn(saga: str, key: str) -> str:
    """Stands for the id of an instance that is not there yet."""
    return f"{saga}/{key}"


def saga_and_key(instance_id: str) -> tuple[str, str] | None:
    """Whose instance `unborn` has spelled so, None for an id."""
    saga, mark, key = instance_id.partition("/")
    return (saga, key) if mark else None


def tried_mark(message_id: str) -> str:
    """Stands in the inbox for a message that was not dealt with: it was published again, under another id."""
    return f"{message_id}/tried"


def buried_mark(message_id: str) -> str:
    """Stands in the inbox for an answer that is a dead letter and may come again: then it makes no other one."""
    return f"{message_id}/buried"


def marks_of(message_id: str) -> tuple[str, str]:
    """All that may stand in the inbox for a message besides its id."""
    return tried_mark(message_id), buried_mark(message_id)
