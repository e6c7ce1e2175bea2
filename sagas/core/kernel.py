"""The rules: `decide` answers every input in every state, and nothing else decides anything.

Theory of operation. An instance is in one state of its machine and keeps a ledger with one record a
step. An input is first held against the ledger and the machine's table: is it the answer that this
state awaits (advance), one that is known already (duplicate), one the run has moved on from (late),
one to something not asked yet (early), or one that contradicts what is known (violation)? Only an
advance moves the machine; each state that is entered says what to do: send the command, send the
undo, ask again, or rest. Time comes in as `now_ms` and chance not at all, so deciding again decides
the same. Production, simulation, replay and checking all call this function; there is no other. What is nearly
always the case it decides in one go (`straight.py`), to the same decision.

Why it converges: forward moves go down the line of steps, a turn goes to the undo side, and each
undo's answer goes further back, so without new faults every run ends in at most two passes. Waiting
always has a timer. What a participant does twice is its barrier's business; the command's id is
derived from instance, step and operation, the same for every attempt.
"""

from sagas.core.carrying import carry_over
from sagas.core.definition import Definition
from sagas.core.effects import CarryOver, Decision, Fire, Input, Operate, Reply, SetTimer, Signal, Start
from sagas.core.entering import enter
from sagas.core.happenings import on_signal, on_timer
from sagas.core.hashing import short_hash
from sagas.core.ids import instance_id
from sagas.core.instance import Instance
from sagas.core.machine import NEW
from sagas.core.operator import operate
from sagas.core.renaming import renamed_input
from sagas.core.replies import on_reply
from sagas.core.straight import straight_from, straight_on
from sagas.core.turn import (
    DEADLINE_TIMER,
    Turn,
)


def decide(definition: Definition, instance: Instance | None, message: Input, now_ms: int) -> Decision:
    """Answer one input.

    `now_ms` is Unix time in milliseconds, supplied by the caller. An input that changes nothing gives
    the instance back with a revision one higher, for it is entered in the journal too. Raises
    IllegalMove if the table lacks a move: that is a bug in this engine, never in a participant.
    """
    decision = None
    if isinstance(message, Reply):
        decision = straight_on(definition, instance, message, now_ms) if instance is not None else None
    elif instance is None and isinstance(message, Start):
        decision = straight_from(definition, message, now_ms)
    return decision or decide_at_length(definition, instance, message, now_ms)


def decide_at_length(definition: Definition, instance: Instance | None, message: Input, now_ms: int) -> Decision:
    """The same by the rules alone, without the straight way."""
    if instance is None:
        return _begin(definition, message, now_ms)
    turn = Turn(definition, instance, now_ms)
    if definition.renames:
        message = renamed_input(definition.renames, message)
    match message:  # the most frequent first: not to be of a class costs four times as much as to be
        case Reply():
            on_reply(turn, message)
        case Start():
            same = short_hash(message.data) == instance.start_hash
            turn.answer("duplicate" if same else "violation", "" if same else "started before with other data")
        case Signal():
            on_signal(turn, message)
        case Fire():
            on_timer(turn, message)
        case Operate():
            operate(turn, message)
        case CarryOver():
            carry_over(turn, message)
    if instance.deadline_ms and turn.moves:
        _bound_again(turn, instance)
    return turn.decision()


def _bound_again(turn: Turn, before: Instance) -> None:
    """Set the deadline's timer again where it counts once more: behind a pivot that was refused, and out of `stuck`."""
    if turn.is_bounded(turn.instance.state) and not turn.is_bounded(before.state):
        fire = Fire(kind="deadline")
        turn.effects.append(SetTimer(name=DEADLINE_TIMER, due_ms=before.deadline_ms, fire=fire))


# --------------------------------------------------------------------------- starting


def _begin(definition: Definition, message: Input, now_ms: int) -> Decision:
    if not isinstance(message, Start):
        # A reply may have overtaken its start; a timer of an instance that is not there is a ghost.
        return Decision(
            instance=None, verdict="early" if isinstance(message, Reply | Signal) else "late", note="no such instance"
        )
    instance = Instance(
        id=instance_id(definition.name, message.key, now_ms),
        saga=definition.name,
        version=definition.version,
        content=definition.content,
        key=message.key,
        state=NEW,
        data=message.data,
        started_ms=now_ms,
        deadline_ms=now_ms + definition.deadline_ms if definition.deadline_ms else 0,
        start_hash=short_hash(message.data),
    )
    turn = Turn(definition, instance, now_ms)
    if instance.deadline_ms:
        fire = Fire(kind="deadline")
        turn.effects.append(SetTimer(name=DEADLINE_TIMER, due_ms=instance.deadline_ms, fire=fire))
    turn.move("start")
    enter(turn)
    return turn.decision()
