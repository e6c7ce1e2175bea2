"""Stories of a step that is done for each item of a list."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sagas import CannotUndo
from sagas.core.carrying import problems
from sagas.core.definition import Definition
from sagas.core.effects import CarryOver, Reply
from sagas.core.flow import Flow
from sagas.core.kernel import decide
from sagas.core.shape import shape_of
from sagas.core.story import summary
from sagas.testing import Scenario
from tests.core.parcels import (
    HOUSE,
    SAGAS,
    Clear,
    Cleared,
    Full,
    Maker,
    NotPacked,
    Order,
    Pack,
    Packed,
    Parcel,
    Prepare,
    Ready,
    Send,
    Sent,
    Unpack,
    Unpacked,
    order,
    parcels,
    saga_of,
    story_of,
)

PACKED, NOT_PACKED = Packed(order_id="o-1"), NotPacked(order_id="o-1", reason="too heavy")
UNPACKED, READY, CLEARED = Unpacked(order_id="o-1"), Ready(order_id="o-1"), Cleared(order_id="o-1")


def test_all_items_are_asked_for_at_once_and_the_run_goes_on_when_each_is_done() -> None:
    story = story_of("first", "p-1", "p-2", "p-3")
    one, two, three = (story.expect(Pack) for _ in range(3))
    two.reply(Packed(order_id="o-1", box="big"))
    one.reply(PACKED)
    assert story.state == "pack.pending"
    story.expect_nothing()
    three.reply(PACKED)
    story.expect(Prepare).reply(READY)
    story.expect_completed()
    assert story.data.boxes == {"p-1": "b", "p-2": "big", "p-3": "b"}


def test_a_list_without_items_is_done_at_once() -> None:
    story = story_of("first")
    story.expect(Prepare).reply(READY)
    story.expect_completed()
    assert story.instance.mark("pack") == "0 items"


def test_each_item_has_a_command_id_of_its_own_and_a_repeat_has_the_same() -> None:
    story = story_of("first", "p-1", "p-2").after(seconds=25)
    ids = [{command_id for command_id, _ in story.said(f"pack/{key}")} for key in ("p-1", "p-2")]
    assert [len(said) for said in ids] == [1, 1]
    assert ids[0] != ids[1]
    assert sum(len(entry.sent) for entry in story.journal) > 2


def test_one_refusal_undoes_what_is_done_and_what_is_under_way_at_once() -> None:
    story = story_of("first", "p-1", "p-2", "p-3")
    story.expect(Pack).reply(PACKED)
    story.expect(Pack)
    story.expect(Pack).reply(NOT_PACKED)
    done, under_way = story.expect(Unpack), story.expect(Unpack)
    assert {done.sent.step, under_way.sent.step} == {"pack/p-1", "pack/p-2"}
    under_way.reply(UNPACKED)
    assert story.state == "pack.undoing"
    done.reply(UNPACKED)
    story.expect_compensated(cause="pack/p-3: NotPacked (too heavy)")
    assert story.undrawn == []


def test_what_stands_before_a_list_waits_until_nothing_of_any_item_remains() -> None:
    story = story_of("last, asking", "p-1", "p-2")
    story.expect(Prepare).reply(READY)
    story.expect(Pack)
    story.expect(Pack).reply(NOT_PACKED)
    undo = story.expect(Unpack)
    story.expect_nothing()
    undo.reply(UNPACKED)
    story.expect(Clear).reply(CLEARED)
    story.expect_compensated()


def test_the_only_item_refused_at_the_first_step_is_a_run_without_any_effect() -> None:
    story = story_of("first", "p-1")
    story.expect(Pack).reply(NOT_PACKED)
    story.expect_rejected(cause="pack/p-1: NotPacked (too heavy)")


def test_a_success_that_comes_after_its_refusal_is_undone_with_the_others() -> None:
    story = story_of("first", "p-1", "p-2")
    story.expect(Pack)
    story.expect(Pack).reply(NOT_PACKED)
    undo = story.expect(Unpack)
    story.late("pack/p-2", PACKED).expect_verdict("late")
    again = story.expect(Unpack)
    assert again.sent.step == "pack/p-2"
    undo.reply(UNPACKED)
    assert story.state == "pack.undoing"
    again.reply(UNPACKED)
    story.expect_compensated()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (("p-1", "p-2", "p-1"), "two items have the key 'p-1'"),
        (tuple(f"p-{n}" for n in range(6)), "6 items are listed, at most 5 may be"),
        (("p 1",), "'p 1' is no item's key"),
        (("",), "'' is no item's key"),
        (("p" * 65,), "is no item's key"),
        (("p-1\n",), "is no item's key"),
    ],
)
def test_a_list_that_cannot_be_turns_the_run_back_before_anything_is_sent(keys: tuple[str, ...], why: str) -> None:
    story = story_of("last, asking", *keys)
    story.expect(Prepare).reply(READY)
    story.expect(Clear).reply(CLEARED)
    story.expect_compensated(cause=why)
    assert story.instance.items == ()


def test_a_list_that_cannot_be_behind_the_pivot_waits_for_a_person_who_may_list_it_anew() -> None:
    story = story_of("behind the pivot", "p-1", "p-1")
    story.expect(Prepare).reply(READY)
    story.expect(Prepare).reply(READY)
    story.expect_stuck("send: two items have the key 'p-1'")
    story.operate("retry").expect_stuck("send: two items have the key 'p-1'")
    story.operate("resolve-done").expect_completed()


def test_what_is_refused_behind_the_pivot_is_only_that_a_command_cannot_be_read() -> None:
    story = story_of("behind the pivot", "p-1", "p-2")
    story.expect(Prepare).reply(READY)
    story.expect(Prepare).reply(READY)
    one, two = story.expect(Send), story.expect(Send)
    one.reply(Sent(order_id="o-1"))
    story.after(seconds=3_600)
    assert story.state == "send.pending"
    two.reply(Sent(order_id="o-1"))
    story.expect_completed()


def test_items_stay_as_they_were_listed_whatever_the_answers_make_of_the_data() -> None:
    def emptied(order: Order, parcel: Parcel, reply: Packed | NotPacked) -> Order:
        return msgspec.structs.replace(order, parcels=order.parcels[:0], boxes={**order.boxes, parcel.parcel_id: "x"})

    saga = saga_of(lambda make: make.pack(fold=emptied))
    story = Scenario(saga).start_event(order("p-1", "p-2"))
    story.expect(Pack).reply(PACKED)
    asked = story.expect(Pack(order_id="o-1", parcel_id="p-2"))
    story.after(seconds=12)
    assert len(story.said("pack/p-2")) == 1
    asked.reply(NOT_PACKED)
    story.expect(Unpack(order_id="o-1", parcel_id="p-1")).reply(UNPACKED)
    story.expect_compensated()


def test_an_item_whose_answer_does_not_come_turns_the_run_back() -> None:
    story = story_of("first", "p-1", "p-2")
    story.expect(Pack).reply(PACKED)
    story.expect(Pack)
    story.after(seconds=31)
    one, two = story.expect(Unpack), story.expect(Unpack)
    assert story.effect("pack/p-2") == "unknown"
    one.reply(UNPACKED)
    two.reply(UNPACKED)
    story.expect_compensated(cause="pack/p-2: no answer in 30.0 s")


def test_an_item_may_be_asked_about_while_the_others_go_on() -> None:
    story = story_of("last, asking", "p-1", "p-2")
    story.expect(Prepare).reply(READY)
    one, two = story.expect(Pack), story.expect(Pack)
    story.after(seconds=40)
    one.reply(PACKED)
    assert (story.effect("pack/p-1"), story.effect("pack/p-2")) == ("done", "unknown")
    story.after(seconds=400)
    two.reply(PACKED)
    story.expect_completed()


def test_faults_are_counted_for_each_item_alone() -> None:
    story = story_of("first", "p-1", "p-2")
    one, two = story.expect(Pack), story.expect(Pack)
    one.fault("busy")
    one.fault("busy")
    two.fault("busy")
    assert [record.faults for record in story.instance.steps] == [2, 1]
    story.after(seconds=2)
    one.reply(PACKED)
    two.reply(PACKED)
    story.expect(Prepare)


def test_a_run_that_is_stuck_over_an_item_says_which_and_keeps_what_comes_of_the_others() -> None:
    story = story_of("held", "p-1", "p-2", "p-3")
    one, two, three = (story.expect(Pack) for _ in range(3))
    story.after(seconds=31)
    assert story.instance.stuck_step == "pack/p-1"
    two.reply(PACKED)
    assert story.effect("pack/p-2") == "done"
    story.operate("retry")
    again = [sent.step for entry in story.journal[-1:] for sent in entry.sent]
    assert again == ["pack/p-1", "pack/p-3"]
    one.reply(PACKED)
    three.reply(PACKED)
    story.expect(Prepare).reply(READY)
    story.expect_completed()


def test_an_answer_frees_a_run_that_is_stuck_over_its_item() -> None:
    story = story_of("held", "p-1", "p-2")
    one, two = story.expect(Pack), story.expect(Pack)
    story.after(seconds=31)
    one.reply(PACKED)
    assert story.state == "pack.pending"
    two.reply(PACKED)
    story.expect(Prepare)
    assert story.undrawn == []


def test_a_person_resolves_one_item_and_the_others_are_left_to_their_participants() -> None:
    story = story_of("held", "p-1", "p-2")
    story.expect(Pack)
    two = story.expect(Pack)
    story.after(seconds=31)
    story.operate("resolve-done")
    assert story.state == "pack.pending"
    two.reply(PACKED)
    story.expect(Prepare)


def test_a_person_says_that_nothing_of_an_item_remains_and_the_others_are_undone() -> None:
    story = story_of("held", "p-1", "p-2")
    story.expect(Pack)
    story.expect(Pack).reply(PACKED)
    story.after(seconds=31)
    story.operate("resolve-undone")
    assert story.state == "pack.undoing"
    story.expect(Unpack(order_id="o-1", parcel_id="p-2")).reply(UNPACKED)
    story.expect_compensated()


def test_an_undo_that_cannot_be_makes_the_run_stuck_over_its_item() -> None:
    story = story_of("first", "p-1", "p-2", "p-3")
    story.expect(Pack).reply(PACKED)
    story.expect(Pack).reply(PACKED)
    story.expect(Pack).reply(NOT_PACKED)
    one, two = story.expect(Unpack), story.expect(Unpack)
    one.reply(CannotUndo(reason="sealed"))
    story.expect_stuck("pack/p-1: its undo was refused: CannotUndo (sealed)")
    two.reply(UNPACKED)
    story.operate("resolve-undone")
    story.expect_compensated(cause="too heavy")


def test_a_deadline_undoes_every_item_that_is_under_way() -> None:
    story = story_of("last, asking", "p-1", "p-2")
    story.expect(Prepare).reply(READY)
    story.expect(Pack).reply(PACKED)
    story.expect(Pack)
    story.after(seconds=601)
    one, two = story.expect(Unpack), story.expect(Unpack)
    one.reply(UNPACKED)
    two.reply(UNPACKED)
    story.expect(Clear).reply(CLEARED)
    story.expect_compensated(cause="the whole saga took more than")


def test_cancelling_undoes_every_item() -> None:
    story = story_of("first", "p-1", "p-2").operate("cancel")
    for _ in range(2):
        story.expect(Pack)
    for _ in range(2):
        story.expect(Unpack).reply(UNPACKED)
    story.expect_compensated(cause="cancelled by ann")
    assert story.timers == {}


def test_a_list_that_fails_in_a_way_is_undone_and_the_next_way_is_gone() -> None:
    story = story_of("a way", "p-1", "p-2")
    story.expect(Pack).reply(PACKED)
    story.expect(Pack).reply(NOT_PACKED)
    assert story.state == "pack.reverting"
    story.expect(Unpack).reply(UNPACKED)
    story.expect(Prepare).reply(READY)
    story.expect_completed()


def growing(make: Maker) -> Flow[Order]:
    """`(pack | last) & held`, where the fold of `held` takes a parcel off the list."""

    def shorter(order: Order, reply: Ready | Full) -> Order:
        return msgspec.structs.replace(order, parcels=order.parcels[1:])

    held = make.saga.step(to=HOUSE, timeout=30, unknown="hold", leaves_nothing=True)(prepared)
    # It says otherwise than it does: a list may not read what a branch beside it writes.
    held.reply(writes=("order_id",))(shorter)
    return (make.pack() | make.table("last")) & held


def prepared(order: Order) -> Prepare:
    return Prepare(order_id=order.order_id)


def test_a_list_that_was_refused_is_not_made_again_when_the_run_is_freed() -> None:
    story = Scenario(saga_of(growing, at_most=2)).start_event(order("p-1", "p-2", "p-3"))
    assert story.state == "last.pending|prepared.pending"
    story.fires("prepared", kind="timeout")
    story.late("prepared", READY)
    assert story.state == "last.pending"
    story.late("last", READY)
    assert story.state == "completed"
    assert [record.name for record in story.instance.steps] == ["last", "prepared"]


def test_a_branch_that_is_refused_undoes_the_items_beside_it() -> None:
    story = story_of("beside", "p-1", "p-2")
    story.expect(Pack).reply(PACKED)
    story.expect(Pack)
    story.expect(Prepare).reply(Full(order_id="o-1", reason="no table"))
    for _ in range(2):
        story.expect(Unpack).reply(UNPACKED)
    story.expect_compensated(cause="no table")


@pytest.mark.parametrize("step", ["pack", "pack/p-9", "table/p-1", "pack/"])
def test_an_answer_about_no_item_is_refused(step: str) -> None:
    story = story_of("first", "p-1")
    message = Reply(step=step, operation="do", event_type="parcel.packed", data=b"{}")
    assert decide(SAGAS["first"].definition, story.instance, message, 1).verdict == "violation"


def test_an_answer_that_is_repeated_changes_nothing() -> None:
    story = story_of("first", "p-1", "p-2")
    story.expect(Pack).reply(PACKED)
    before = story.instance
    story.repeat_last_reply().expect_verdict("duplicate")
    assert story.instance.steps == before.steps


def test_a_run_tells_its_items_together() -> None:
    story = story_of("first", "p-1", "p-2", "p-3")
    story.expect(Pack).reply(PACKED)
    story.expect(Pack).reply(PACKED)
    assert summary(story.instance, {}) == "pack 2 of 3 ok, p-3 waiting"
    story.expect(Pack).reply(NOT_PACKED)
    assert summary(story.instance, {"pack": "unpack"}).startswith(
        "pack 2 of 3 ok, p-3 refused (too heavy) · unpack 0 of 2"
    )


def test_a_function_that_raises_while_listing_waits_for_a_person() -> None:
    def listed(order: Order) -> tuple[Parcel, ...]:
        return (order.parcels[99],)

    maker = Maker(listed=listed)
    maker.saga.flow(maker.table() >> maker.pack())
    story = Scenario(maker.saga).start_event(order())
    story.expect(Prepare).reply(READY)
    story.expect_stuck("pack: listing its items raised IndexError")
    story.operate("resolve-undone")
    story.expect(Clear).reply(CLEARED)
    story.expect_compensated()


def newer(flow: Callable[[Maker], Flow[Order]], listed: Callable[[Order], Any] = parcels) -> Definition:
    maker = Maker(listed=listed, version=2)
    maker.saga.flow(flow(maker))
    return maker.saga.definition


def test_a_run_with_items_goes_on_under_a_newer_version_that_can_read_them() -> None:
    old = SAGAS["first"].definition
    story = story_of("first", "p-1", "p-2")
    found = problems(shape_of(old), shape_of(newer(lambda make: make.pack() >> make.table())), {}, story.instance)
    assert found == []


def test_items_that_the_newer_version_cannot_read_strand_the_run() -> None:
    class Heavy(msgspec.Struct, frozen=True):
        parcel_id: str
        tons: int

    def listed(order: Order) -> tuple[Heavy, ...]:
        return ()

    new = newer(lambda make: make.pack() >> make.table(), listed)
    found = problems(shape_of(SAGAS["first"].definition), shape_of(new), {}, story_of("first", "p-1").instance)
    assert [p.text for p in found] == ["step 'pack' has items that cannot be read: its item.tons is new and required"]


def test_a_step_that_was_done_for_each_item_and_is_done_once_now_strands_the_run() -> None:
    new = newer(lambda make: make.table("pack") >> make.table())
    found = problems(shape_of(SAGAS["first"].definition), shape_of(new), {}, story_of("first", "p-1").instance)
    assert "step 'pack' was done for each item and is done once now" in [p.text for p in found]


def test_a_list_that_had_no_items_does_not_stand_for_a_step_that_is_done_once_now() -> None:
    new = newer(lambda make: make.table("pack") >> make.table())
    found = problems(shape_of(SAGAS["first"].definition), shape_of(new), {}, story_of("first").instance)
    assert [p.text for p in found] == ["step 'pack' was done for each item and is done once now"]


def test_a_list_that_had_no_items_and_is_gone_is_in_nobodys_way() -> None:
    new = newer(lambda make: make.table())
    assert problems(shape_of(SAGAS["first"].definition), shape_of(new), {}, story_of("first").instance) == []


def test_the_items_of_a_step_that_is_called_otherwise_now_keep_the_name_they_went_out_under() -> None:
    maker = Maker(version=2, renames={"pack": "box"})
    step = maker.pack(name="box")
    maker.saga.flow(step >> maker.table())
    new, story = maker.saga.definition, story_of("first", "p-1", "p-2")
    carried = decide(new, story.instance, CarryOver(from_version=1, from_content=story.instance.content), 1).instance
    assert carried is not None
    assert [(r.name, r.sent_as) for r in carried.steps] == [("box/p-1", "pack/p-1"), ("box/p-2", "pack/p-2")]
    answer = Reply(step="pack/p-1", operation="do", event_type="parcel.packed", data=b'{"box": "b"}')
    decided = decide(new, carried, answer, 2)
    assert decided.verdict == "advance"
    assert decided.instance is not None
    assert decided.instance.records_of("box")[0].effect == "done"
