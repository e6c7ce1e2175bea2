"""The laws of `decide`: it answers everything, in the same way every time, and lets no effect go."""

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import msgspec
import pytest

from sagas.core.definition import Definition
from sagas.core.effects import Action, ClearTimer, Decision, Fire, Input, Operate, Reply, Send, SetTimer, Start
from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, ENDS, REJECTED, STUCK, Instance, Operation
from sagas.core.kernel import decide
from sagas.core.messages import Fault, InProgress, Undeliverable, tag_of
from tests.core.trip import (
    MailSent,
    RoomBooked,
    RoomFreed,
    RoomKept,
    RoomRefused,
    SeatHeld,
    SeatRefused,
    SeatReleased,
    TicketIssued,
    TicketRefused,
    Trip,
    trip_saga,
)

TRIP: Definition = trip_saga.definition
START = Start(key="t-1", data=TRIP.encode_data(Trip("t-1", 2)))

DONE = {
    "room": Reply(step="room", operation="do", event_type=tag_of(RoomBooked), data=b'{"room":7}'),
    "seat": Reply(step="seat", operation="do", event_type=tag_of(SeatHeld), data=b"{}"),
    "ticket": Reply(step="ticket", operation="do", event_type=tag_of(TicketIssued), data=b"{}"),
    "mail": Reply(step="mail", operation="do", event_type=tag_of(MailSent), data=b"{}"),
}
REFUSED = {
    "room": Reply(step="room", operation="do", event_type=tag_of(RoomRefused), data=b'{"reason":"full"}'),
    "seat": Reply(step="seat", operation="do", event_type=tag_of(SeatRefused), data=b"{}"),
    "ticket": Reply(step="ticket", operation="do", event_type=tag_of(TicketRefused), data=b"{}"),
}
UNDONE = {
    "room": Reply(step="room", operation="undo", event_type=tag_of(RoomFreed), data=b"{}"),
    "seat": Reply(step="seat", operation="undo", event_type=tag_of(SeatReleased), data=b"{}"),
}
UNDO_REFUSED = Reply(step="room", operation="undo", event_type=tag_of(RoomKept), data=b'{"reason":"guest is in"}')


def fault(step: str, operation: str = "do") -> Reply:
    return Reply(
        step=step,
        operation="undo" if operation == "undo" else "do",
        event_type=tag_of(Fault),
        data=b'{"reason":"down"}',
    )


def undeliverable(step: str, operation: Operation = "do") -> Reply:
    data = b'{"reason":"cannot be read"}'
    return Reply(step=step, operation=operation, event_type=tag_of(Undeliverable), data=data)


class Run:
    """One run, fed input by input."""

    def __init__(self, *inputs: Input) -> None:
        self.instance: Instance | None = None
        self.now_ms = 1_000_000
        self.last: Decision = Decision(instance=None, verdict="early")
        self.take(START, *inputs)

    def take(self, *inputs: Input) -> Decision:
        for message in inputs:
            self.now_ms += 10
            self.last = decide(TRIP, self.instance, message, self.now_ms)
            self.instance = self.last.instance
        return self.last

    @property
    def now(self) -> Instance:
        assert self.instance is not None
        return self.instance

    def fire(self, step: str) -> Decision:
        """Fire the timer that the last decision set for `step`."""
        timer = next(e for e in self.last.effects if isinstance(e, SetTimer) and e.name == step)
        self.now_ms = timer.due_ms
        return self.take(timer.fire)

    def sent(self) -> list[tuple[str, str]]:
        return [(e.step, e.operation) for e in self.last.effects if isinstance(e, Send)]


def test_all_said_yes_and_the_saga_completes() -> None:
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"], DONE["mail"])
    assert run.now.state == COMPLETED
    assert [s.effect for s in run.now.steps] == ["done"] * 4
    assert TRIP.decode_data(run.now.data) == Trip("t-1", 2, room=7)


def test_a_first_step_that_is_refused_ends_rejected_with_nothing_sent() -> None:
    run = Run(REFUSED["room"])
    assert (run.now.state, run.now.cause, run.sent()) == (REJECTED, "room: RoomRefused (full)", [])


def test_a_refused_step_turns_back_in_reverse_order_each_undo_awaited() -> None:
    run = Run(DONE["room"], DONE["seat"], REFUSED["ticket"])
    assert run.sent() == [("seat", "undo")]
    run.take(UNDONE["seat"])
    assert run.sent() == [("room", "undo")]
    run.take(UNDONE["room"])
    assert (run.now.state, [s.effect for s in run.now.steps]) == (COMPENSATED, ["undone", "undone", "refused"])


def test_the_undo_gets_what_the_step_left_in_the_data() -> None:
    run = Run(DONE["room"], REFUSED["seat"])
    send = next(e for e in run.last.effects if isinstance(e, Send))
    assert msgspec.structs.asdict(send.command) == {"trip_id": "t-1", "room": 7}


def test_a_resend_keeps_the_id_and_counts_the_attempt() -> None:
    run = Run()
    first = next(e for e in run.last.effects if isinstance(e, Send))
    run.fire("room")
    again = next(e for e in run.last.effects if isinstance(e, Send))
    assert (again.id, again.attempt) == (first.id, 2)


def test_a_step_without_an_answer_is_resent_and_then_undone_as_unknown() -> None:
    run = Run()
    while run.now.state == "room.pending":
        run.fire("room")
    record = run.now.step("room")
    assert record is not None
    assert (record.effect, record.attempts, run.sent()) == ("unknown", 3, [("room", "undo")])
    assert run.now.cause == "room: no answer in 9.0 s"


def test_a_command_sent_again_after_an_outage_is_given_time_to_be_answered() -> None:
    run = Run()
    timer = next(e for e in run.last.effects if isinstance(e, SetTimer) and e.name == "room")
    run.now_ms += 3_600_000  # the orchestrator was away for an hour, the step's timeout is long over
    run.take(timer.fire)
    assert run.sent() == [("room", "do")]
    again = next(e for e in run.last.effects if isinstance(e, SetTimer) and e.name == "room")
    assert (again.fire.kind, again.due_ms - run.now_ms) == ("timeout", 3_000)


def test_a_command_that_cannot_be_built_makes_one_run_stuck() -> None:
    definition = with_functions(TRIP, room_build=_raise)
    decision = decide(definition, None, START, 1)
    assert decision.instance is not None
    assert (decision.instance.state, decision.instance.stuck_from) == (STUCK, "room.pending")
    assert decision.instance.reason == "room: building its do raised RuntimeError: no room"


def test_a_fold_that_raises_on_an_answer_that_frees_a_stuck_run_leaves_it_stuck() -> None:
    run = Run(DONE["room"], DONE["seat"])
    while run.now.state == "ticket.pending":
        run.fire("ticket")
    definition = with_functions(TRIP, ticket_fold=_raise)
    decision = decide(definition, run.now, DONE["ticket"], run.now_ms)
    assert decision.verdict == "violation"
    assert decision.instance is not None
    assert decision.instance.state == STUCK


def _raise(*_: object) -> Any:
    raise RuntimeError("no room")


def with_functions(definition: Definition, **changed: Any) -> Definition:
    """`definition` with, for example, `room_build` for the build of its step `room`."""
    steps = dict(definition.steps)
    for name, function in changed.items():
        step, _, field = name.partition("_")
        steps[step] = replace(steps[step], **{field: function})
    return replace(definition, steps=steps)


def test_a_late_success_is_matched_to_the_undo_that_is_on_its_way() -> None:
    run = Run()
    while run.now.state == "room.pending":
        run.fire("room")
    assert run.take(DONE["room"]).verdict == "late"
    assert run.take(UNDONE["room"]).verdict == "advance"
    assert (run.now.state, run.now.steps[0].effect) == (COMPENSATED, "undone")


def test_an_asking_step_asks_under_the_same_id_until_the_answer_is_definite() -> None:
    run = Run(DONE["room"])
    while run.now.state == "seat.pending":
        run.fire("seat")
    assert run.now.state == "seat.resolving"
    ids: set[str] = set()
    for _ in range(5):
        run.fire("seat")
        ids |= {e.id for e in run.last.effects if isinstance(e, Send)}
    assert len(ids) == 1
    run.take(DONE["seat"])
    assert run.now.state == "ticket.pending"


def test_a_pivot_that_holds_is_stuck_with_a_reason_and_a_late_answer_frees_it() -> None:
    run = Run(DONE["room"], DONE["seat"])
    while run.now.state == "ticket.pending":
        run.fire("ticket")
    assert (run.now.state, run.now.reason) == (STUCK, "ticket: no answer in 9.0 s")
    run.take(DONE["ticket"])
    assert (run.now.state, run.now.reason) == ("mail.pending", "")


def test_a_step_after_the_pivot_is_sent_again_for_ever_and_never_undone() -> None:
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"])
    for _ in range(50):
        run.fire("mail")
        assert run.sent() == [("mail", "do")]
    for _ in range(20):
        run.take(fault("mail"))
    assert run.now.state == "mail.pending"


def test_a_fault_is_tried_again_and_at_last_undone() -> None:
    run = Run()
    for _ in range(4):
        assert run.take(fault("room")).verdict == "advance"
        run.fire("room")
    run.take(fault("room"))
    assert (run.now.state, run.now.cause) == ("room.undoing", "room: 5 attempts failed: down")


def test_resends_that_nobody_answered_do_not_use_up_the_retries() -> None:
    run = Run()
    run.fire("room")
    run.fire("room")
    assert run.now.steps[0].attempts == 3
    run.take(fault("room"))
    assert (run.now.state, run.now.steps[0].faults) == ("room.pending", 1)


def test_a_fault_of_an_attempt_that_a_later_one_has_replaced_is_late() -> None:
    run = Run()
    run.fire("room")
    assert run.take(msgspec.structs.replace(fault("room"), attempt=1)).verdict == "late"
    assert run.take(msgspec.structs.replace(fault("room"), attempt=2)).verdict == "advance"


def test_an_undo_that_faults_is_tried_again_for_ever() -> None:
    run = Run(DONE["room"], REFUSED["seat"])
    for _ in range(30):
        run.take(fault("room", "undo"))
        run.fire("room")
        assert run.sent() == [("room", "undo")]


def test_an_undo_that_is_refused_makes_the_run_stuck_with_the_reason() -> None:
    run = Run(DONE["room"], REFUSED["seat"], UNDO_REFUSED)
    assert (run.now.state, run.now.reason) == (STUCK, "room: its undo was refused: RoomKept (guest is in)")


def test_a_success_after_a_refusal_is_undone_after_all_even_when_the_run_had_ended() -> None:
    run = Run(REFUSED["room"])
    assert run.now.state == REJECTED
    run.take(DONE["room"])
    assert (run.last.verdict, run.sent()) == ("late", [("room", "undo")])
    run.take(UNDONE["room"])
    assert run.now.state == COMPENSATED


def test_a_success_after_a_refusal_is_undone_before_the_steps_before_it() -> None:
    run = Run(DONE["room"], REFUSED["seat"], DONE["seat"])
    assert (run.now.state, run.sent()) == ("seat.undoing", [("seat", "undo")])
    run.take(UNDONE["room"])  # the undo that was on its way already
    run.take(UNDONE["seat"])
    assert (run.now.state, run.sent()) == (COMPENSATED, [])


def test_the_deadline_turns_back_before_the_pivot_and_does_nothing_after_it() -> None:
    deadline = Fire(kind="deadline")
    run = Run(DONE["room"], deadline)
    assert (run.now.state, run.now.cause.split(":")[1][:16]) == ("seat.undoing", " the whole saga ")
    run = Run(DONE["room"], DONE["seat"])
    assert ClearTimer(name="saga.deadline") in run.last.effects
    assert run.take(deadline).verdict == "late"


def test_a_fold_that_raises_makes_one_run_stuck_and_keeps_the_effect_in_the_ledger() -> None:
    run = Run(msgspec.structs.replace(DONE["room"], data=b'{"room":13}'))
    assert (run.now.state, run.now.steps[0].effect, run.now.steps[0].reply) == (STUCK, "intended", "RoomBooked")
    assert run.now.reason == "room: folding RoomBooked raised ValueError: nobody sleeps in room 13"


def test_the_same_start_is_a_duplicate_and_another_one_a_violation() -> None:
    run = Run()
    assert run.take(START).verdict == "duplicate"
    assert run.take(Start(key="t-1", data=TRIP.encode_data(Trip("t-1", 3)))).verdict == "violation"


def test_what_comes_again_after_the_end_makes_no_run_longer() -> None:
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"], DONE["mail"])
    ended = run.now
    for again in (DONE["mail"], START, REFUSED["ticket"]):
        run.take(again)
    assert (run.now.state, run.now.updated_ms, run.now.revision) == (COMPLETED, ended.updated_ms, ended.revision + 3)


def test_an_effect_that_is_undone_after_the_end_makes_the_run_as_long_as_that_took() -> None:
    run = Run(REFUSED["room"])
    run.take(DONE["room"])
    assert (run.now.state, run.now.updated_ms) == ("room.undoing", run.now_ms)


def test_an_answer_to_a_step_that_was_not_sent_is_early() -> None:
    assert Run().take(DONE["seat"]).verdict == "early"
    assert decide(TRIP, None, DONE["room"], 1).verdict == "early"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(step="pool", operation="do", event_type="x", data=b"{}"),
        Reply(step="room", operation="do", event_type="seat.held", data=b"{}"),
        Reply(step="room", operation="do", event_type="room.booked", data=b'{"room":"seven"}'),
        Reply(step="ticket", operation="undo", event_type="ticket.issued", data=b"{}"),
    ],
    ids=["no such step", "reply of another step", "wrong type inside", "a pivot has no undo"],
)
def test_a_reply_that_no_step_declares_is_a_violation_and_changes_nothing(reply: Reply) -> None:
    run = Run()
    before = run.now
    assert run.take(reply).verdict == "violation"
    assert msgspec.structs.replace(run.now, revision=1, updated_ms=before.updated_ms) == before


def test_a_contradiction_of_what_was_done_is_a_violation() -> None:
    assert Run(DONE["room"]).take(REFUSED["room"]).verdict == "violation"


EVERYTHING: list[Input] = [
    START,
    *DONE.values(),
    *REFUSED.values(),
    *UNDONE.values(),
    UNDO_REFUSED,
    *(fault(step) for step in DONE),
    fault("room", "undo"),
    Reply(step="room", operation="do", event_type=tag_of(InProgress), data=b"{}"),
    *(undeliverable(step) for step in DONE),
    *(undeliverable(step, "undo") for step in UNDONE),
    *(Fire(kind=kind, step=step, attempt=1) for kind in ("resend", "timeout", "retry") for step in DONE),
    *(Fire(kind="resend", step=step, operation="undo", attempt=1) for step in UNDONE),
    Fire(kind="deadline"),
]
ACTIONS = get_args(Action)


def everything(instance: Instance) -> list[Input]:
    """Every input, and whatever a person could do with the instance as it is."""
    revision = instance.revision
    return [*EVERYTHING, *(Operate(action=a, who="ann", reason="x", revision=revision) for a in ACTIONS)]


def _reachable(depth: int) -> list[Instance]:
    """Every instance that up to `depth` of all inputs lead to, told apart by state and ledger."""
    first = Run().now
    known = {(first.state, first.steps): first}
    front = [first]
    for _ in range(depth):
        following: list[Instance] = []
        for instance, message in ((i, m) for i in front for m in everything(i)):
            after = decide(TRIP, instance, message, 1_000_010).instance
            assert after is not None
            shape = msgspec.structs.replace(after, revision=1, updated_ms=0)
            key = (shape.state, shape.steps)
            if key not in known:
                known[key] = shape
                following.append(shape)
        front = following
    return list(known.values())


def test_every_state_answers_every_input_and_no_run_ends_with_an_open_effect() -> None:
    instances = _reachable(8)
    assert len(instances) > 300, "the search is too shallow to mean anything"
    for instance, message in ((i, m) for i in instances for m in everything(i)):
        decision = decide(TRIP, instance, message, 1_000_020)
        after = decision.instance
        assert after is not None
        assert after.revision == instance.revision + 1
        if after.state in (COMPENSATED, REJECTED):
            assert not [s for s in after.steps if s.is_open and s.name in UNDONE]
        if after.state == COMPLETED:
            assert all(s.effect == "done" for s in after.steps)
        assert after.state != ABANDONED or instance.state == ABANDONED or isinstance(message, Operate)


def test_whoever_is_neither_ended_nor_stuck_always_waits_with_a_timer() -> None:
    for instance in _reachable(4):
        for message in EVERYTHING:
            decision = decide(TRIP, instance, message, 1_000_020)
            after = decision.instance
            assert after is not None
            if decision.moves and after.state not in (*ENDS, STUCK):
                step = TRIP.places[after.state].step
                timers = [e for e in decision.effects if isinstance(e, SetTimer) and e.name == step]
                assert timers, f"{after.state} waits for nothing after {message}"


def test_deciding_again_decides_the_same() -> None:
    for instance, message in product(_reachable(2), EVERYTHING):
        assert decide(TRIP, instance, message, 7) == decide(TRIP, instance, message, 7)
