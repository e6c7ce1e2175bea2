"""The straight way: a start, and the answer that a run waits for, each decided in one go.

Theory of operation. Nearly all inputs are of one kind: the run is in one place, a plain step's command or undo is out,
and its participant answers. On yes the next plain step is asked, on no and on undone the one before is undone, or the
run has come to its end. What the rules come to there hardly depends on the run: the move, the timer that is
cleared and the one that is set, what the ledger gets. That is read off the definition once (`ways.py`). What is left
for each answer is to read and fold it, to build the next command and to put the instance together, at once instead
of change by change: in half of the time.

These are no rules beside the others. Whatever is not exactly so (branches, a fan-out, an undo that is refused, a step
that was undone before, a person's word, an answer that cannot be read, a function of the author's that raises) is
answered with None, and the rules decide it. `tests/core/test_straight.py` holds one against the other in every state,
and for every input, that the sagas of this repository come to.
"""

from msgspec.structs import replace

from sagas.core.building import said
from sagas.core.definition import Definition
from sagas.core.effects import ClearTimer, Decision, Fire, Reply, Send, SetTimer, Start
from sagas.core.envelope import decode_data
from sagas.core.flow import unchanged
from sagas.core.hashing import short_hash
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import Instance, StepRecord
from sagas.core.messages import Event
from sagas.core.reading import because
from sagas.core.turn import DEADLINE_TIMER, REASON_LENGTH_MAX
from sagas.core.ways import Asked, Undone, Way

_Effects = list[Send | SetTimer | ClearTimer]

_CLEARS_DEADLINE = ClearTimer(name=DEADLINE_TIMER)
_DEADLINE = Fire(kind="deadline")


def straight_on(definition: Definition, instance: Instance, message: Reply, now_ms: int) -> Decision | None:
    """What `decide` answers where a run goes straight on, or straight back; None where it does not."""
    way = definition.ways.get((instance.state, message.event_type))
    if way is None or message.step != way.spec.name or message.operation != way.operation:
        return None
    found = _places(way, instance)
    if found is None:
        return None
    reply = decode_data(way.reply, definition.key, instance.key, message.data)
    if type(reply) is not way.reply:
        return None
    at, beyond = found
    steps, data, cause, then = list(instance.steps), instance.data, instance.cause, way.then
    steps[at] = _answered(way, steps[at], now_ms)
    effects: _Effects = [way.clears]
    if way.ends_deadline and instance.deadline_ms:
        effects.append(_CLEARS_DEADLINE)
    try:
        if way.operation == "do" and way.spec.fold is not unchanged:
            data = definition.encode_data(way.spec.fold(definition.decode_data(data), reply))
        if type(then) is Asked:
            steps.append(StepRecord(name=then.spec.name, sent_ms=now_ms))
            effects += _asking(definition, then, instance.id, data, now_ms)
        elif type(then) is Undone:
            known = steps[beyond]
            steps[beyond] = replace(known, undo_sent_ms=now_ms, undo_attempts=known.undo_attempts + 1)
            effects += _undoing(definition, then, steps[beyond], instance.id, data, now_ms)
    except Exception:
        return None  # the saga author's code: the rules say what comes of it
    if way.effect == "refused" and isinstance(reply, Event):
        cause = f"{way.spec.name}: {way.reply.__name__}{because(reply)}"[:REASON_LENGTH_MAX]
    after = replace(
        instance,
        state=way.moves[0].dest,
        data=data,
        steps=tuple(steps),
        cause=cause,
        revision=instance.revision + 1,
        updated_ms=now_ms,
    )
    return Decision(instance=after, verdict="advance", effects=tuple(effects), moves=way.moves)


def straight_from(definition: Definition, message: Start, now_ms: int) -> Decision | None:
    """What `decide` answers to a start where a plain step stands first, None where it does not."""
    beginning = definition.beginning
    if beginning is None:
        return None
    run, data, then = instance_id(definition.name, message.key, now_ms), message.data, beginning.then
    effects: _Effects = []
    deadline_ms = now_ms + definition.deadline_ms if definition.deadline_ms else 0
    if deadline_ms:
        effects.append(SetTimer(name=DEADLINE_TIMER, due_ms=deadline_ms, fire=_DEADLINE))
        if beginning.ends_deadline:
            effects.append(_CLEARS_DEADLINE)
    try:
        effects += _asking(definition, then, run, data, now_ms)
    except Exception:
        return None  # as above
    instance = Instance(
        id=run,
        saga=definition.name,
        version=definition.version,
        content=definition.content,
        key=message.key,
        state=beginning.moves[0].dest,
        data=data,
        revision=1,
        started_ms=now_ms,
        updated_ms=now_ms,
        deadline_ms=deadline_ms,
        start_hash=short_hash(data),
        steps=(StepRecord(name=then.spec.name, sent_ms=now_ms),),
    )
    return Decision(instance=instance, verdict="advance", effects=tuple(effects), moves=beginning.moves)


def _places(way: Way, instance: Instance) -> tuple[int, int] | None:
    """Where in the ledger the step stands, and the one that is undone next (-1: none).

    None where the ledger says more than that the one was asked for, and the other done.
    """
    if instance.reason or instance.stuck_step or instance.stuck_from:
        return None
    at = beyond = -1
    then = way.then
    next_name = then.spec.name if then is not None else ""
    is_forward = way.effect == "done"
    for index, record in enumerate(instance.steps):
        if record.name == way.spec.name:
            if not _awaits(way, record):
                return None
            at = index
        elif record.name == next_name:
            if is_forward or record.effect != "done":
                return None  # what is known of the step behind is passed over, and so is what is undone already
            beyond = index
        elif then is None and (record.effect != "done" if is_forward else record.is_open):
            return None  # an end looks at every effect once more
    return None if at < 0 or (beyond < 0 and type(then) is Undone) else (at, beyond)


def _awaits(way: Way, record: StepRecord) -> bool:
    """Whether the ledger says of the step that the operation was sent, and no more."""
    if record.undo_reply:
        return False
    if way.operation == "do":
        return record.effect == "intended" and not record.reply
    return record.undo_sent_ms > 0 and record.effect in ("done", "unknown")


def _answered(way: Way, record: StepRecord, now_ms: int) -> StepRecord:
    word = way.reply.__name__
    if way.operation == "do":
        return replace(record, effect=way.effect, reply=word, answered_ms=now_ms)
    return replace(record, effect=way.effect, undo_reply=word, undo_answered_ms=now_ms)


def _asking(definition: Definition, asked: Asked, run: str, data: bytes, now_ms: int) -> tuple[Send, SetTimer]:
    """The command of a step, for the first time, and the timer that awaits its answer."""
    spec, after_ms = asked.spec, asked.after_ms
    name = spec.name
    if spec.unknown == "resend":
        after_ms = max(after_ms, spec.retry.delay_ms(1, run))
    command = spec.build(definition.decode_data(data))
    return (
        Send(
            id=derived_id(run, name, "do"),
            topic=spec.to.commands,
            step=name,
            sent_as=name,
            operation="do",
            attempt=1,
            command=command,
            body=said(command, spec.command_type, definition.key),
        ),
        SetTimer(name=name, due_ms=now_ms + after_ms, fire=asked.fire),
    )


def _undoing(
    definition: Definition, undone: Undone, record: StepRecord, run: str, data: bytes, now_ms: int
) -> tuple[Send, SetTimer]:
    """The undo of a step, whose sending is counted in `record`, and the timer that sends it again."""
    spec, undo, attempt = undone.spec, undone.undo, record.undo_attempts
    sent_as = record.sent_as or spec.name
    command = undo.build(definition.decode_data(data))
    return (
        Send(
            id=derived_id(run, sent_as, "undo"),
            topic=spec.to.commands,
            step=spec.name,
            sent_as=sent_as,
            operation="undo",
            attempt=attempt,
            command=command,
            body=said(command, undo.command_type, definition.key),
            since_ms=record.asked_ms or record.sent_ms,
        ),
        SetTimer(
            name=spec.name,
            due_ms=now_ms + max(spec.resend_ms, undo.retry.delay_ms(attempt, run)),
            fire=Fire(kind="resend", step=spec.name, operation="undo", attempt=attempt),
        ),
    )
