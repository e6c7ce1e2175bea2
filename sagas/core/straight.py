"""The straight way: a start, and the success that a run waits for, each decided in one go.

Theory of operation. Four of five inputs are of one kind: the run is in one place, a plain step's command is out, its
participant says yes, and behind it stands the next plain step or the end. What the rules come to there hardly
depends on the run: the move, the timer that is cleared and the one that is set, what the ledger gets. That is read off
the definition once (`ways.py`). What is left for each answer is to read and fold it, to build the next command and
to put the instance together, at once instead of change by change: in half of the time.

These are no rules beside the others. Whatever is not exactly so (a refusal, branches, a fan-out, a step that was
undone before, a person's word, an answer that cannot be read, a function of the author's that raises) is answered
with None, and the rules decide it. `tests/core/test_straight.py` holds one against the other in every state, and for
every input, that the sagas of this repository come to.
"""

from msgspec.structs import replace

from sagas.core.definition import Definition
from sagas.core.effects import ClearTimer, Decision, Fire, Reply, Send, SetTimer, Start
from sagas.core.envelope import decode_data
from sagas.core.flow import unchanged
from sagas.core.hashing import short_hash
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import Instance, StepRecord
from sagas.core.turn import DEADLINE_TIMER
from sagas.core.ways import Asked, Way

_Effects = list[Send | SetTimer | ClearTimer]

_CLEARS_DEADLINE = ClearTimer(name=DEADLINE_TIMER)
_DEADLINE = Fire(kind="deadline")


def straight_on(definition: Definition, instance: Instance, message: Reply, now_ms: int) -> Decision | None:
    """What `decide` answers where a run goes straight on, None where it does not."""
    way = definition.ways.get((instance.state, message.event_type))
    if way is None or message.step != way.spec.name or message.operation != "do":
        return None
    at = _asked_at(way, instance)
    if at is None:
        return None
    reply = decode_data(way.reply, definition.key, instance.key, message.data)
    if type(reply) is not way.reply:
        return None
    ledger, then = instance.steps, way.then
    done = replace(ledger[at], effect="done", reply=way.reply.__name__, answered_ms=now_ms)
    steps = (*ledger[:at], done, *ledger[at + 1 :])
    effects: _Effects = [way.clears]
    if way.ends_deadline and instance.deadline_ms:
        effects.append(_CLEARS_DEADLINE)
    try:
        data, fold = instance.data, way.spec.fold
        if fold is not unchanged:
            data = definition.encode_data(fold(definition.decode_data(data), reply))
        if then is not None:
            steps = (*steps, StepRecord(name=then.spec.name, sent_ms=now_ms))
            effects += _asking(definition, then, instance.id, data, now_ms)
    except Exception:
        return None  # the saga author's code: the rules say what comes of it
    after = replace(
        instance,
        state=way.moves[0].dest,
        data=data,
        steps=steps,
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


def _asked_at(way: Way, instance: Instance) -> int | None:
    """Where in the ledger the step stands, None where the ledger says more than that it was asked for."""
    if instance.reason or instance.stuck_step or instance.stuck_from:
        return None
    at = None
    then = way.then
    for index, record in enumerate(instance.steps):
        if record.name == way.spec.name:
            if record.effect != "intended" or record.reply or record.undo_reply:
                return None
            at = index
        elif record.effect != "done" if then is None else record.name == then.spec.name:
            return None  # an end looks at every effect once more, and what is known of the step behind is passed over
    return at


def _asking(definition: Definition, asked: Asked, run: str, data: bytes, now_ms: int) -> tuple[Send, SetTimer]:
    """The command of a step, for the first time, and the timer that awaits its answer."""
    spec, after_ms = asked.spec, asked.after_ms
    name = spec.name
    if spec.unknown == "resend":
        after_ms = max(after_ms, spec.retry.delay_ms(1, run))
    return (
        Send(
            id=derived_id(run, name, "do"),
            topic=spec.to.commands,
            step=name,
            sent_as=name,
            operation="do",
            attempt=1,
            command=spec.build(definition.decode_data(data)),
        ),
        SetTimer(name=name, due_ms=now_ms + after_ms, fire=asked.fire),
    )
