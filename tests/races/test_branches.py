"""Races between the branches of one run, and between a saga and a part of it."""

from typing import Any

import pytest

from sagas import DefinitionError
from sagas.core.definition import Definition
from sagas.core.effects import Operate, Reply, Send, Start
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.core.messages import tag_of
from tests.core import test_parts as parts
from tests.core.courses import Data, Maker
from tests.core.parcels import Prepare, Ready, story_of
from tests.core.test_flow_mistakes import folds_of_two_branches_into_one_field


class Branches:
    """`first >> (a >> b & c) >> last`, and a run of it that is told what its participants say."""

    def __init__(self) -> None:
        self.maker = Maker()
        first, a, b, c, last = (self.maker.step(name) for name in ("first", "a", "b", "c", "last"))
        self.definition: Definition = self.maker.close(first >> (a >> b & c) >> last)
        self.now_ms = 1_000_000
        self.sent: list[str] = []
        self._instance: Instance | None = None
        self._take(Start(key="k-1", data=self.definition.encode_data(Data("k-1"))))

    @property
    def run(self) -> Instance:
        assert self._instance is not None
        return self._instance

    def say(self, *words: str) -> "Branches":
        """`a.Done`, `c.Undone`: the step, and what it answers."""
        for word in words:
            step, _, reply = word.partition(".")
            is_undo = reply in ("Undone", "Kept")
            tag = tag_of(self.maker.reply(step, reply))
            self._take(Reply(step=step, operation="undo" if is_undo else "do", event_type=tag, data=b"{}"))
        return self

    def resolve_undone(self) -> "Branches":
        """A person says that nothing is left of what the run is stuck over."""
        self._take(Operate(action="resolve-undone", who="ann", reason="x", revision=self.run.revision))
        return self

    def _take(self, message: Any) -> None:
        self.now_ms += 10
        decision = decide(self.definition, self._instance, message, self.now_ms)
        self._instance = decision.instance
        self.sent = [f"{e.step} {e.operation}" for e in decision.effects if isinstance(e, Send)]

    def effects(self) -> dict[str, str]:
        """The ledger."""
        return {record.name: record.effect for record in self.run.steps}


def test_race_57_a_branch_refused_while_another_is_under_way_is_settled_when_both_are_definite() -> None:
    story = Branches().say("first.Done", "a.Refused")
    assert (story.run.state, story.sent, story.effects()["c"]) == ("c.undoing", ["c undo"], "unknown")
    story.say("c.Done")  # the answer that was on its way: matched to the undo
    assert story.run.state == "c.undoing"
    story.say("c.Undone", "first.Undone")
    assert (story.run.state, story.effects()) == ("compensated", {"first": "undone", "a": "refused", "c": "undone"})


@pytest.mark.parametrize("order", [("b.Done", "c.Done"), ("c.Done", "b.Done")])
def test_race_58_two_branches_that_end_at_once_are_joined_exactly_once(order: tuple[str, str]) -> None:
    story = Branches().say("first.Done", "a.Done")
    assert story.run.state == "b.pending|c.pending"
    story.say(order[0])
    assert story.sent == []
    story.say(order[1])
    assert (story.run.state, story.sent) == ("last.pending", ["last do"])
    story.say(*order)
    assert (story.run.state, story.sent) == ("last.pending", [])


def test_race_59_two_branches_that_fold_into_one_field_are_refused_when_loaded() -> None:
    with pytest.raises(DefinitionError, match="its fold writes number, and so does that of 'a'"):
        folds_of_two_branches_into_one_field()


def test_race_61_branches_are_undone_side_by_side_and_what_stands_before_them_last() -> None:
    story = Branches().say("first.Done", "a.Done", "b.Done", "c.Done", "last.Refused")
    assert (story.run.state, story.sent) == ("b.undoing|c.undoing", ["b undo", "c undo"])
    story.say("c.Undone")
    assert (story.run.state, story.sent) == ("b.undoing", [])
    story.say("b.Undone")
    assert (story.run.state, story.sent) == ("a.undoing", ["a undo"])
    story.say("a.Undone")
    assert (story.run.state, story.sent) == ("first.undoing", ["first undo"])
    assert story.say("first.Undone").run.state == "compensated"


def test_race_62_the_undo_of_one_branch_that_fails_keeps_what_the_other_branch_came_to() -> None:
    story = Branches().say("first.Done", "a.Done", "b.Done", "c.Done", "last.Refused", "c.Kept")
    assert (story.run.state, story.run.stuck_step, story.run.stuck_from) == ("stuck", "c", "b.undoing|c.undoing")
    story.say("b.Undone")
    assert (story.run.state, story.effects()["b"]) == ("stuck", "undone")
    story.resolve_undone()
    assert (story.run.state, story.sent) == ("a.undoing", ["a undo"])
    story.say("a.Undone", "first.Undone")
    assert (story.run.state, set(story.effects().values())) == ("compensated", {"undone", "refused"})


def test_race_63_a_part_that_has_completed_is_undone_when_the_saga_around_it_turns_back() -> None:
    story = parts.begun()
    story.expect(parts.PickUp).reply(parts.PickedUp(order_id="o-1", parcel=7))
    story.expect(parts.Refund).reply(parts.NotRefunded(order_id="o-1", reason="too late"))
    assert story.state == "fetching_pick_up.undoing"
    story.expect(parts.SendBack).reply(parts.SentBack(order_id="o-1"))
    story.expect_compensated()


def test_race_64_a_cancel_that_crosses_the_end_of_a_part_undoes_it_all_the_same() -> None:
    story = parts.begun()
    asked = story.expect(parts.PickUp)
    story.operate("cancel")
    asked.reply(parts.PickedUp(order_id="o-1", parcel=7))
    story.expect_verdict("late")
    story.expect(parts.SendBack).reply(parts.SentBack(order_id="o-1"))
    story.expect_compensated(cause="cancelled by ann")


def test_race_65_a_start_that_comes_twice_begins_the_part_only_once() -> None:
    story = parts.begun().start_event(parts.Returned(order_id="o-1"))
    story.expect(parts.PickUp).reply(parts.PickedUp(order_id="o-1", parcel=7))
    story.start_event(parts.Returned(order_id="o-1")).expect_verdict("duplicate")
    story.expect(parts.Refund).reply(parts.Refunded(order_id="o-1"))
    story.expect_completed()


def test_race_60_a_list_without_items_is_done_and_what_is_beside_it_is_waited_for() -> None:
    story = story_of("beside")
    assert story.state == "table.pending"
    story.expect(Prepare).reply(Ready(order_id="o-1"))
    story.expect_completed()
