"""A command that its participant could not read: the run turns back, or is stuck where it may not turn back."""

import pytest

from sagas import Command, DefinitionError, Rejection, Saga
from sagas.core.effects import Fire, Operate
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK
from tests.core.test_kernel import DONE, REFUSED, TRIP, UNDONE, Run, fault, undeliverable
from tests.core.trip import HOTELS, RoomBooked, Trip


def test_a_first_step_that_could_not_be_read_ends_rejected() -> None:
    run = Run(undeliverable("room"))
    assert (run.now.state, run.now.cause) == (REJECTED, "room: Undeliverable (cannot be read)")
    assert run.now.steps[0].effect == "refused"


@pytest.mark.parametrize(("step", "undone"), [("seat", ["room"]), ("ticket", ["seat", "room"])])
def test_a_step_up_to_the_pivot_that_could_not_be_read_turns_the_run_back(step: str, undone: list[str]) -> None:
    run = Run(*(DONE[name] for name in ("room", "seat", "ticket")[: len(undone)]))
    data = run.now.data
    run.take(undeliverable(step))
    for name in undone:
        assert run.sent() == [(name, "undo")]
        run.take(UNDONE[name])
    assert (run.now.state, run.now.data) == (COMPENSATED, data)


def test_a_step_after_the_pivot_is_stuck_with_the_reason_and_goes_on_when_it_is_sent_again() -> None:
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"], undeliverable("mail"))
    assert (run.now.state, run.now.reason) == (STUCK, "mail: Undeliverable (cannot be read)")
    assert run.now.steps[-1].effect == "intended"
    assert run.take(undeliverable("mail")).verdict == "late"
    run.take(DONE["mail"])
    assert (run.now.state, run.now.reason) == (COMPLETED, "")


def test_being_told_again_that_it_cannot_be_read_does_not_contradict_the_answer_after_a_repair() -> None:
    # Found by `sagas check`: the ledger kept Undeliverable as the answer, so the true one was a violation.
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"], undeliverable("mail"), undeliverable("mail"))
    run.take(Operate(action="resolve-done", who="ann", reason="it was sent", revision=run.now.revision))
    assert (run.now.state, run.now.steps[-1].reply) == (COMPLETED, "(by hand)")
    assert run.take(DONE["mail"]).verdict == "late"
    assert (run.now.steps[-1].reply, run.now.incident) == ("MailSent", "")


def test_being_told_again_after_a_person_called_it_done_is_no_incident() -> None:
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"], undeliverable("mail"))
    run.take(Operate(action="resolve-done", who="ann", reason="by letter", revision=run.now.revision))
    assert run.now.state == COMPLETED
    assert run.take(undeliverable("mail")).verdict == "late"
    assert run.take(DONE["mail"]).verdict == "late"
    assert run.now.incident == ""


def test_an_old_word_that_it_could_not_be_read_comes_late_after_the_answer() -> None:
    # Found by `sagas check`: it was taken for a contradiction.
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"], DONE["mail"])
    assert run.take(undeliverable("mail")).verdict == "late"
    assert (run.now.state, run.now.steps[-1].effect) == (COMPLETED, "done")


def test_an_undo_that_could_not_be_read_is_stuck_and_its_effect_stays_open() -> None:
    run = Run(DONE["room"], REFUSED["seat"], undeliverable("room", "undo"))
    assert (run.now.state, run.now.steps[0].effect) == (STUCK, "done")
    assert run.now.reason == "room: its undo was refused: Undeliverable (cannot be read)"


def test_it_is_told_again_as_a_duplicate_and_a_fault_after_it_is_late() -> None:
    run = Run(DONE["room"], undeliverable("seat"))
    assert run.take(undeliverable("seat")).verdict == "duplicate"
    assert run.take(fault("seat")).verdict == "late"


def test_a_success_that_comes_after_it_is_undone_after_all() -> None:
    run = Run(undeliverable("room"), DONE["room"])
    assert (run.last.verdict, run.sent()) == ("late", [("room", "undo")])


def test_one_that_comes_after_the_undo_was_sent_is_matched_to_it() -> None:
    run = Run()
    while run.now.state == "room.pending":
        run.fire("room")
    assert run.take(undeliverable("room")).verdict == "late"
    run.take(UNDONE["room"])
    assert run.now.state == COMPENSATED


def test_every_command_can_be_answered_so_though_none_declares_it() -> None:
    moves = {edge.source: edge.dest for edge in TRIP.edges if edge.kind == "undeliverable"}
    assert moves == {
        "room.pending": REJECTED,
        "room.undoing": STUCK,
        "seat.pending": "room.undoing",
        "seat.resolving": "room.undoing",
        "seat.undoing": STUCK,
        "ticket.pending": "seat.undoing",
        STUCK: "seat.undoing",
        "mail.pending": STUCK,
    }


def test_a_success_while_the_run_is_stuck_over_that_steps_undo_does_not_send_it_forward() -> None:
    run = Run(DONE["room"], Fire(kind="deadline"), undeliverable("seat", "undo"))
    assert (run.now.state, run.now.stuck_from) == (STUCK, "seat.undoing")
    assert run.take(DONE["seat"]).verdict == "late"
    assert (run.now.state, run.now.steps[-1].effect) == (STUCK, "done")


def test_a_reply_that_is_called_like_the_engines_own_is_refused() -> None:
    saga = Saga("trip", Trip, version=1, key="trip_id")
    with pytest.raises(DefinitionError, match="a name of the engine's own"):
        saga.step(to=HOTELS, timeout=1, unknown="undo")(book)


class Undeliverable(Rejection, tag="parcel.undeliverable"):
    trip_id: str


class Deliver(Command[RoomBooked | Undeliverable], tag="parcel.deliver"):
    trip_id: str


def book(trip: Trip) -> Deliver:
    return Deliver(trip_id=trip.trip_id)
