"""One turn of an instance: moving its machine, and doing what each state that is entered asks for.

The parts of `decide` that every kind of input shares. `pending` sends the command and sets the step's
timer, `resolving` asks again ever more slowly, `undoing` sends the undo (or passes over a step of
which nothing is left), an end clears the deadline. Nothing here looks at an input.
"""

import msgspec

from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import ClearTimer, Decision, Fire, Move, Send, SetTimer, TimerKind, Verdict
from sagas.core.ids import derived_id
from sagas.core.instance import COMPENSATED, ENDS, REJECTED, STUCK, Instance, Operation, StepRecord
from sagas.core.messages import Rejection
from sagas.errors import IllegalMove

DEADLINE_TIMER = "saga.deadline"
"""The name of the timer that bounds the whole run; step timers are named after their step."""

REASON_LENGTH_MAX = 500
"""Of a cause or a reason, in characters: they are stored, listed and drawn."""

_ASK_BACKOFF_MAX = 6


class Turn:
    """One call of `decide` in the making: the instance so far, the moves made and what is to be done."""

    def __init__(self, definition: Definition, instance: Instance, now_ms: int) -> None:
        self.definition = definition
        self.instance = instance
        self.now_ms = now_ms
        self.verdict: Verdict = "advance"
        self.note = ""
        self.effects: list[Send | SetTimer | ClearTimer] = []
        self.moves: list[Move] = []

    def answer(self, verdict: Verdict, note: str = "") -> None:
        """Say how the input stood to the instance."""
        self.verdict, self.note = verdict, note

    def can(self, trigger: str) -> bool:
        """Whether the machine has this move from where the instance is."""
        return (self.instance.state, trigger) in self.definition.table

    def move(self, trigger: str) -> None:
        """Move the instance. Raises IllegalMove."""
        source = self.instance.state
        dest = self.definition.table.get((source, trigger))
        if dest is None:
            raise IllegalMove(self.definition.name, source, trigger)
        self.moves.append(Move(trigger=trigger, source=source, dest=dest))
        self.change(state=dest)

    def change(self, **fields: object) -> None:
        """Replace fields of the instance."""
        self.instance = msgspec.structs.replace(self.instance, **fields)

    def record(self, record: StepRecord, **fields: object) -> StepRecord:
        """Enter `record` with these fields replaced in the ledger; the record as it now is."""
        changed = msgspec.structs.replace(record, **fields)
        self.instance = self.instance.with_step(changed)
        return changed

    def timer(self, step: str, kind: TimerKind, operation: Operation, attempt: int, due_ms: int) -> None:
        """Set the step's timer, which replaces the one it had."""
        fire = Fire(kind=kind, step=step, operation=operation, attempt=attempt)
        self.effects.append(SetTimer(name=step, due_ms=due_ms, fire=fire))

    def decision(self) -> Decision:
        """What `decide` answers, with the revision one higher."""
        self.change(revision=self.instance.revision + 1, updated_ms=self.now_ms)
        return Decision(
            instance=self.instance,
            verdict=self.verdict,
            effects=tuple(self.effects),
            moves=tuple(self.moves),
            note=self.note,
        )


def enter(turn: Turn) -> None:
    """Do what the state just moved into asks for."""
    state = turn.instance.state
    place = turn.definition.places.get(state)
    if place is None:
        if state in ENDS:
            _settle(turn)
        return
    spec = turn.definition.steps[place.step]
    if place.phase == "pending":
        if spec.kind != "compensatable" and turn.instance.deadline_ms:
            turn.effects.append(ClearTimer(name=DEADLINE_TIMER))  # the deadline stops at the pivot
        record = turn.instance.step(spec.name) or StepRecord(name=spec.name, attempts=0)
        send_do(turn, spec, turn.record(record, effect="intended", faults=0, sent_ms=turn.now_ms))
    elif place.phase == "resolving":
        _ask_again_later(turn, spec)
    else:
        _enter_undoing(turn, spec)


def _settle(turn: Turn) -> None:
    # The promise behind the word: nothing is called compensated or rejected while an effect is open.
    # A success that arrived late, while the run was stuck, has its undo still before it.
    if turn.instance.state in (COMPENSATED, REJECTED):
        for record in reversed(turn.instance.steps):
            if _stands(turn, record):
                turn_back_late(turn, turn.definition.steps[record.name])
                return
    if turn.instance.deadline_ms:
        turn.effects.append(ClearTimer(name=DEADLINE_TIMER))


def turn_back_late(turn: Turn, spec: StepSpec) -> None:
    """Undo a step after all: it was done although it had been refused."""
    turn.move(f"{spec.name}.late")
    if turn.instance.state == STUCK:
        get_stuck(turn, spec, "was done after it had been refused, and cannot be undone")
    enter(turn)


def _stands(turn: Turn, record: StepRecord) -> bool:
    spec = turn.definition.steps[record.name]
    # A compensatable step without an undo has said that it leaves nothing.
    return record.is_open and (spec.undo is not None or spec.kind != "compensatable")


def _enter_undoing(turn: Turn, spec: StepSpec) -> None:
    record = turn.instance.step(spec.name)
    assert spec.undo is not None
    if record is not None and record.is_open:
        send_undo(turn, spec, turn.record(record, undo_sent_ms=turn.now_ms))
        return
    # A late success sent the run back down the line: what is undone, was refused or
    # never sent (a step that a later release put in) is passed over.
    done = next(r for r in spec.undo.replies.values() if not issubclass(r, Rejection))
    turn.move(f"{spec.name}.{done.__name__}")
    enter(turn)


def send_do(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    """Send the step's command, for the first time or again, and set the timer that awaits its answer."""
    record = turn.record(record, attempts=record.attempts + 1)
    if not _send(turn, spec, "do", record.attempts, _gives_up_ms(turn, spec, record)):
        return
    if turn.instance.state.endswith(".resolving"):
        _ask_again_later(turn, spec)
    elif spec.unknown == "resend":
        delay_ms = max(spec.resend_ms, spec.retry.delay_ms(record.attempts, turn.instance.id))
        turn.timer(spec.name, "resend", "do", record.attempts, turn.now_ms + delay_ms)
    else:
        wait_for_answer(turn, spec, record, "resend", turn.now_ms + spec.resend_ms)


def wait_for_answer(turn: Turn, spec: StepSpec, record: StepRecord, kind: TimerKind, due_ms: int) -> None:
    """Set the step's timer: `kind` at `due_ms`, or the step's timeout when that comes first."""
    timeout_at_ms = _timeout_at_ms(turn, spec, record)
    if due_ms >= timeout_at_ms and spec.unknown != "resend":
        kind, due_ms = "timeout", timeout_at_ms
    turn.timer(spec.name, kind, "do", record.attempts, due_ms)


def _ask_again_later(turn: Turn, spec: StepSpec) -> None:
    record = turn.instance.step(spec.name)
    assert record is not None
    delay_ms = spec.resend_ms * 2 ** min(record.attempts - 1, _ASK_BACKOFF_MAX)
    turn.timer(spec.name, "resend", "do", record.attempts, turn.now_ms + delay_ms)


def send_undo(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    """Send the step's undo, for the first time or again: an undo is awaited for ever."""
    assert spec.undo is not None
    record = turn.record(record, undo_attempts=record.undo_attempts + 1)
    if _send(turn, spec, "undo", record.undo_attempts):
        delay_ms = max(spec.resend_ms, spec.undo.retry.delay_ms(record.undo_attempts, turn.instance.id))
        turn.timer(spec.name, "resend", "undo", record.undo_attempts, turn.now_ms + delay_ms)


def _gives_up_ms(turn: Turn, spec: StepSpec, record: StepRecord) -> int:
    """After when the participant is to refuse the command, 0 for never."""
    if not spec.expires:
        return 0
    at_ms = _timeout_at_ms(turn, spec, record)
    return min(at_ms, turn.instance.deadline_ms) if turn.instance.deadline_ms > turn.now_ms else at_ms


def _timeout_at_ms(turn: Turn, spec: StepSpec, record: StepRecord) -> int:
    at_ms = record.sent_ms + spec.timeout_ms
    # Sent again after an outage: give the answer a chance.
    return at_ms if at_ms > turn.now_ms else turn.now_ms + spec.resend_ms


def _send(turn: Turn, spec: StepSpec, operation: Operation, attempt: int, deadline_ms: int = 0) -> bool:
    build = spec.build if operation == "do" or spec.undo is None else spec.undo.build
    try:
        command = build(turn.definition.decode_data(turn.instance.data))
    except Exception as error:  # the saga author's code: one run gets stuck, the partition goes on
        break_down(turn, spec, f"building its {operation} raised {type(error).__name__}: {error}")
        return False
    # What went out under another name stays known by it: for the barrier another name is another step.
    record = turn.instance.step(spec.name)
    sent_as = (record.sent_as if record is not None else "") or spec.name
    command_id = derived_id(turn.instance.id, sent_as, operation)
    turn.effects.append(
        Send(
            id=command_id,
            topic=spec.to.commands,
            step=spec.name,
            sent_as=sent_as,
            operation=operation,
            attempt=attempt,
            command=command,
            deadline_ms=deadline_ms,
        )
    )
    return True


def break_down(turn: Turn, spec: StepSpec, reason: str) -> None:
    """The saga author's own code raised: this run needs a person, the others go on."""
    turn.effects.append(ClearTimer(name=spec.name))
    turn.move(f"{spec.name}.broken")
    get_stuck(turn, spec, reason)


def get_stuck(turn: Turn, spec: StepSpec, reason: str) -> None:
    """Say why a person is needed, over which step; the move into `stuck` was made just before."""
    reason = f"{spec.name}: {reason}"[:REASON_LENGTH_MAX]
    turn.change(reason=reason, stuck_step=spec.name, stuck_from=turn.moves[-1].source)
    turn.note = reason
