"""One turn of an instance in the making: its moves, what it sends and the timers it sets.

The parts of `decide` that every kind of input shares. What a place asks for when it is entered stands in
`sagas/core/entering.py`. Nothing here looks at an input.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from sagas.core.building import said
from sagas.core.course import BACKWARD, Phase, Place
from sagas.core.definition import Definition, EachSpec, StepSpec
from sagas.core.effects import ClearTimer, Decision, Fire, Move, Send, SetTimer, TimerKind, Verdict
from sagas.core.ids import derived_id
from sagas.core.instance import COMPENSATED, REJECTED, Instance, Operation, StepRecord, leaf_of
from sagas.errors import IllegalMove, told

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
        self.retried = ""
        """The leaf, or the item of one, that a person has asked to try again: its ledger is not passed over."""
        self.effects: list[Send | SetTimer | ClearTimer] = []
        self.moves: list[Move] = []

    def answer(self, verdict: Verdict, note: str = "") -> None:
        """Say how the input stood to the instance."""
        self.verdict, self.note = verdict, note

    def can(self, trigger: str) -> bool:
        """Whether the machine has this move from where the instance is."""
        return (self.instance.state, trigger) in self.definition.table

    def is_bounded(self, state: str) -> bool:
        """Whether the deadline of the whole run turns it back from `state`."""
        places = self.definition.lanes.get(state, ())
        return any((state, f"{place.step}.deadline") in self.definition.table for place in places)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the instance is: in one place, or in one for each branch; nowhere in an end and while it is stuck."""
        return self.definition.lanes.get(self.instance.state, ())

    def phase(self, leaf: str) -> Phase | None:
        """What `leaf` is doing, None when the instance is not at it."""
        for place in self.places:
            if place.step == leaf:
                return place.phase
        return None

    @property
    def has_turned(self) -> bool:
        """Whether the instance is on its way back as a whole, or has come there."""
        if self.instance.state in (COMPENSATED, REJECTED):
            return True
        return any(place.phase == "undoing" for place in self.places)

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
        self.instance = replace(self.instance, **fields)

    def record(self, record: StepRecord, **fields: object) -> StepRecord:
        """Enter `record` with these fields replaced in the ledger; the record as it now is."""
        changed = replace(record, **fields) if fields else record
        self.instance = self.instance.with_step(changed)
        return changed

    def mark(self, leaf: str, word: str) -> None:
        """Keep what a decision, a wait or a delay has come to."""
        others = (mark for mark in self.instance.marks if mark[0] != leaf)
        self.change(marks=(*others, (leaf, word)))

    def clear(self, leaf: str) -> None:
        """Remove the timer of a leaf, or those of its items."""
        for name in self._timer_names(leaf):
            self.effects.append(ClearTimer(name=name))

    def leave_behind(self, leaf: str) -> None:
        """Remove what waits for a leaf's answers: what is under way in it is unknown from now on."""
        for name in self._timer_names(leaf):
            self.effects.append(ClearTimer(name=name))
            record = self.instance.step(name)
            if record is not None and record.effect == "intended":
                self.record(record, effect="unknown")

    def _timer_names(self, leaf: str) -> tuple[str, ...]:
        spec = self.definition.steps.get(leaf)
        if spec is None or spec.each is None:
            return (leaf,)
        return tuple(record.name for record in self.instance.records_of(leaf) if record.is_open)

    def timer(self, step: str, kind: TimerKind, operation: Operation, attempt: int, due_ms: int) -> None:
        """Set the step's timer, which replaces the one it had."""
        fire = Fire(kind=kind, step=step, operation=operation, attempt=attempt)
        self.effects.append(SetTimer(name=step, due_ms=due_ms, fire=fire))

    def decision(self) -> Decision:
        """What `decide` answers, with the revision one higher.

        An instance that has ended stays as old as its end, whatever comes again: how long it took is told from it.
        """
        rests = self.instance.is_ended and not self.moves
        updated_ms = self.instance.updated_ms if rests else self.now_ms
        self.change(revision=self.instance.revision + 1, updated_ms=updated_ms)
        return Decision(
            instance=self.instance,
            verdict=self.verdict,
            effects=tuple(self.effects),
            moves=tuple(self.moves),
            note=self.note,
        )


def ask_for(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    """Begin to ask for a step, or for it once more after a person freed the run: its patience begins anew."""
    attempts, asked_ms = record.attempts, record.asked_ms
    _send_do(
        turn,
        spec,
        replace(
            record,
            effect="intended",
            reply="",
            attempts=attempts + 1,
            faults=0,
            sent_ms=turn.now_ms,
            asked_ms=asked_ms or (record.sent_ms if attempts else 0),
        ),
    )


def send_do(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    """Send the step's command, for the first time or again, and set the timer that awaits its answer.

    The ledger gets `record` as it is given here, with the attempt counted.
    """
    _send_do(turn, spec, replace(record, attempts=record.attempts + 1))


def _send_do(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    """The same for a record in which the attempt is counted."""
    turn.record(record)
    if not _send(turn, spec, record, "do", record.attempts, _gives_up_ms(turn, spec, record)):
        return
    if is_asked_about(turn, spec, record):
        ask_again_later(turn, spec, record)
    elif spec.unknown == "resend":
        delay_ms = max(spec.resend_ms, spec.retry.delay_ms(record.attempts, turn.instance.id))
        turn.timer(record.name, "resend", "do", record.attempts, turn.now_ms + delay_ms)
    else:
        wait_for_answer(turn, spec, record, "resend", turn.now_ms + spec.resend_ms)


def is_asked_about(turn: Turn, spec: StepSpec, record: StepRecord) -> bool:
    """Whether the answer did not come in time and is being asked for: a fan-out says it of each item, in its ledger."""
    if spec.each is not None:
        return record.effect == "unknown"
    return turn.phase(spec.name) == "resolving"


def wait_for_answer(turn: Turn, spec: StepSpec, record: StepRecord, kind: TimerKind, due_ms: int) -> None:
    """Set the step's timer: `kind` at `due_ms`, or the step's timeout when that comes first."""
    timeout_at_ms = _timeout_at_ms(turn, spec, record)
    if due_ms >= timeout_at_ms and spec.unknown != "resend":
        kind, due_ms = "timeout", timeout_at_ms
    turn.timer(record.name, kind, "do", record.attempts, due_ms)


def ask_again_later(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    """Set the timer of a step whose outcome is being asked about: ever more slowly."""
    delay_ms = spec.resend_ms * 2 ** min(record.attempts - 1, _ASK_BACKOFF_MAX)
    turn.timer(record.name, "resend", "do", record.attempts, turn.now_ms + delay_ms)


def send_undo(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    """Send the step's undo, for the first time or again: an undo is awaited for ever.

    The ledger gets `record` as it is given here, with the attempt counted.
    """
    assert spec.undo is not None
    record = turn.record(record, undo_attempts=record.undo_attempts + 1)
    if _send(turn, spec, record, "undo", record.undo_attempts):
        delay_ms = max(spec.resend_ms, spec.undo.retry.delay_ms(record.undo_attempts, turn.instance.id))
        turn.timer(record.name, "resend", "undo", record.undo_attempts, turn.now_ms + delay_ms)


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


def _send(
    turn: Turn, spec: StepSpec, record: StepRecord, operation: Operation, attempt: int, deadline_ms: int = 0
) -> bool:
    asked = spec if operation == "do" or spec.undo is None else spec.undo
    try:
        data = turn.definition.decode_data(turn.instance.data)
        command = asked.build(data) if spec.each is None else asked.build(data, item_of(turn, spec.each, record.name))
        body = said(command, asked.command_type, turn.definition.key)
    except Exception as error:  # the saga author's code: one run gets stuck, the partition goes on
        break_down(turn, record.name, f"building its {operation} raised {told(error)}")
        return False
    # What went out under another name stays known by it: for the barrier another name is another step.
    sent_as = record.sent_as or record.name
    command_id = derived_id(turn.instance.id, sent_as, operation)
    turn.effects.append(
        Send(
            id=command_id,
            topic=spec.to.commands,
            step=record.name,
            sent_as=sent_as,
            operation=operation,
            attempt=attempt,
            command=command,
            body=body,
            deadline_ms=deadline_ms,
            since_ms=(record.asked_ms or record.sent_ms) if operation == "undo" or attempt > 1 else 0,
        )
    )
    return True


def item_of(turn: Turn, each: EachSpec, name: str) -> Any:
    """The item whose record has this name: what a step's functions are given behind the data."""
    return msgspec.json.decode(turn.instance.item(name), type=each.item_type)


def break_down(turn: Turn, over: str, reason: str) -> None:
    """The saga author's own code raised: this run needs a person, the others go on."""
    turn.effects.append(ClearTimer(name=over))
    turn.move(f"{leaf_of(over)}.broken")
    get_stuck(turn, over, reason)


def get_stuck(turn: Turn, over: str, reason: str) -> None:
    """Say why a person is needed, over which leaf or item; the move into `stuck` was made just before."""
    reason = f"{over}: {reason}"[:REASON_LENGTH_MAX]
    source = turn.moves[-1].source
    turn.change(reason=reason, stuck_step=over, stuck_from=source)
    turn.note = reason
    for place in turn.definition.lanes.get(source, ()):
        if place.step != over:  # what is beside it stands still, too: it is entered anew when the run is freed
            turn.clear(place.step)


def was_backward(turn: Turn, name: str) -> bool:
    """Whether the leaf, or the one whose item this is, was being undone when the run got stuck."""
    leaf = leaf_of(name)
    return any(p.step == leaf and p.phase in BACKWARD for p in turn.definition.lanes.get(turn.instance.stuck_from, ()))
