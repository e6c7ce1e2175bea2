"""A list that is worked off wrong is refused while its module is imported: with the step, the line, the remedy."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sagas import Saga, unchanged
from tests.core.parcels import (
    HOUSE,
    Maker,
    NotPacked,
    Order,
    Pack,
    Packed,
    Parcel,
    Send,
    Unpack,
    parcel_id,
    parcels,
)
from tests.core.test_definition_mistakes import refused

ALL: Any = {"to": HOUSE, "timeout": 30, "unknown": "undo"}


def pack(order: Order, parcel: Parcel) -> Pack:
    return Pack(order_id=order.order_id, parcel_id=parcel.parcel_id)


def send(order: Order, parcel: Parcel) -> Send:
    return Send(order_id=order.order_id, parcel_id=parcel.parcel_id)


def unpack(order: Order, parcel: Parcel) -> Unpack:
    return Unpack(order_id=order.order_id, parcel_id=parcel.parcel_id)


def a_list_without_a_bound() -> None:
    Maker().saga.for_each(parcels, key=parcel_id, at_most=0)


def a_list_that_is_too_long_for_one_run() -> None:
    Maker().saga.for_each(parcels, key=parcel_id, at_most=1_001)


def a_list_that_does_not_say_of_what() -> None:
    def listed(order: Order) -> tuple:  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
        return order.parcels

    Maker().saga.for_each(listed, key=parcel_id, at_most=5)  # pyright: ignore[reportUnknownArgumentType]


def a_list_that_is_a_mapping() -> None:
    def listed(order: Order) -> dict[str, str]:
        return order.boxes

    Maker().saga.for_each(listed, key=str, at_most=5)


def items_that_cannot_be_kept() -> None:
    def listed(order: Order) -> list[Callable[[], None]]:
        return [items_that_cannot_be_kept]

    Maker().saga.for_each(listed, key=str, at_most=5)


def a_list_by_the_clock() -> None:
    def listed(order: Order) -> tuple[Parcel, ...]:
        return order.parcels if time.time() > 5 else ()

    Maker().saga.for_each(listed, key=parcel_id, at_most=5)


def keys_by_the_clock() -> None:
    def named(parcel: Parcel) -> str:
        return f"{parcel.parcel_id}-{time.time()}"

    Maker().saga.for_each(parcels, key=named, at_most=5)


def a_pivot_for_each_item() -> None:
    Maker().each.pivot(**ALL)(pack)  # type: ignore[attr-defined]  # pyright: ignore


def a_branch_by_the_answer_about_an_item() -> None:
    step = Maker().each.step(**ALL)(pack)
    step.on(Packed, step)  # type: ignore[attr-defined]  # pyright: ignore


def an_undo_behind_the_pivot() -> None:
    Maker().each.retriable(to=HOUSE, timeout=30)(send).undo(unpack)  # type: ignore[attr-defined]  # pyright: ignore


def a_command_that_is_not_given_the_item() -> None:
    def pack(order: Order) -> Pack:
        return Pack(order_id=order.order_id, parcel_id="?")

    Maker().each.step(**ALL)(pack)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def an_undo_that_is_not_given_the_item() -> None:
    def unpack(order: Order) -> Unpack:
        return Unpack(order_id=order.order_id, parcel_id="?")

    Maker().each.step(**ALL)(pack).undo(unpack)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_plain_step_that_wants_an_item() -> None:
    Maker().saga.step(**ALL)(pack)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_fold_that_is_not_given_the_item() -> None:
    def fold(order: Order, reply: Packed | NotPacked) -> Order:
        return order

    Maker().each.step(**ALL)(pack).reply(fold)  # type: ignore[arg-type]  # pyright: ignore


def a_fold_that_leaves_out_an_answer() -> None:
    def fold(order: Order, parcel: Parcel, reply: Packed) -> Order:
        return order

    Maker().each.step(**ALL)(pack).reply(fold)  # type: ignore[arg-type]  # pyright: ignore


def a_fold_that_keeps_only_the_last_answer() -> None:
    maker = Maker()
    step = maker.each.step(**ALL)(pack)
    step.undo(unpack)

    @step.reply
    def _(order: Order, parcel: Parcel, reply: Packed | NotPacked) -> Order:
        return msgspec.structs.replace(order, boxes={parcel.parcel_id: "x"})

    maker.saga.flow(step)


def nothing_undoes_it() -> None:
    maker = Maker()
    step = maker.each.step(**ALL)(pack)
    step.reply(unchanged)
    maker.saga.flow(step)


def nobody_folds_its_answers() -> None:
    maker = Maker()
    step = maker.each.step(**ALL)(pack)
    step.undo(unpack)
    maker.saga.flow(step)


def items_that_can_be_refused_behind_the_pivot() -> None:
    maker = Maker()
    step = maker.each.retriable(to=HOUSE, timeout=30)(pack)
    step.reply(unchanged)
    maker.saga.flow(maker.pay() >> step)


def items_that_can_be_undone_behind_the_pivot() -> None:
    maker = Maker()
    step = maker.each.step(**ALL)(pack)
    step.undo(unpack)
    step.reply(unchanged)
    maker.saga.flow(maker.pay() >> step)


def items_that_cannot_be_undone_before_the_pivot() -> None:
    maker = Maker()
    step = maker.each.retriable(to=HOUSE, timeout=30)(send)
    step.reply(unchanged)
    maker.saga.flow(step >> maker.pay())


def a_list_that_nothing_has_set() -> None:
    maker = Maker()

    def boxes(order: Order) -> list[str]:
        return sorted(order.boxes)

    def take(order: Order, box: str) -> Send:
        return Send(order_id=order.order_id, parcel_id=box)

    early = maker.saga.for_each(boxes, key=str, at_most=5).step(**ALL, leaves_nothing=True)(take)
    early.reply(unchanged)
    maker.saga.flow(early >> maker.pack())


def an_undo_of_items_that_reads_what_a_later_step_sets() -> None:
    maker = Maker()

    def first(order: Order, parcel: Parcel) -> Send:
        return Send(order_id=order.order_id, parcel_id=parcel.parcel_id)

    def take_back(order: Order, parcel: Parcel) -> Unpack:
        return Unpack(order_id=order.order_id, parcel_id=order.boxes[parcel.parcel_id])

    step = maker.each.step(**ALL)(first)
    step.undo(take_back)
    step.reply(unchanged)
    maker.saga.flow(step >> maker.pack())


MISTAKES: list[tuple[Callable[[], None], str, str]] = [
    (a_list_without_a_bound, "at_most=0 is out of range", "1 to 1000"),
    (a_list_that_is_too_long_for_one_run, "at_most=1001 is out of range", "a saga for each item"),
    (a_list_that_does_not_say_of_what, "does not say what it lists", "-> tuple[Parcel, ...]"),
    (a_list_that_is_a_mapping, "does not say what it lists", "-> tuple[Parcel, ...]"),
    (items_that_cannot_be_kept, "cannot be kept", "msgspec.Struct"),
    (a_list_by_the_clock, "it uses the module 'time': the list must follow", "fold what it needs"),
    (keys_by_the_clock, "it uses the module 'time': an item's key must follow", "fold what it needs"),
    (a_pivot_for_each_item, "a pivot cannot be done for each item", "for_each(…).retriable"),
    (a_branch_by_the_answer_about_an_item, "an answer for each item", "saga.when(…)"),
    (an_undo_behind_the_pivot, "a retriable step cannot be undone", "remove its undo"),
    (a_command_that_is_not_given_the_item, "its function takes 1 parameters", "(data: D, item: T)"),
    (an_undo_that_is_not_given_the_item, "its function takes 1 parameters", "(data: D, item: T)"),
    (a_plain_step_that_wants_an_item, "its function takes 2 parameters", "(data: D)"),
    (a_fold_that_is_not_given_the_item, "its fold takes 2 parameters", "(data: D, item: T, reply: A | B)"),
    (a_fold_that_leaves_out_an_answer, "nobody handles its reply NotPacked", "Packed | NotPacked"),
    (a_fold_that_keeps_only_the_last_answer, "its fold sets boxes without reading it", "add to it"),
    (nothing_undoes_it, "it can be undone and has no undo", "@pack.undo"),
    (nobody_folds_its_answers, "nobody handles its replies Packed | NotPacked", "@pack.reply"),
    (items_that_can_be_refused_behind_the_pivot, "can be refused (NotPacked)", "before the pivot"),
    (items_that_can_be_undone_behind_the_pivot, "stands after the pivot 'pay'", "put it before"),
    (items_that_cannot_be_undone_before_the_pivot, "stands before a step that can be refused", "after the pivot"),
    (a_list_that_nothing_has_set, "its list reads boxes, which no step before it has set", "a step before"),
    (an_undo_of_items_that_reads_what_a_later_step_sets, "its undo reads boxes", "a step before"),
]


@pytest.mark.parametrize(("write", "problem", "remedy"), MISTAKES, ids=[m[0].__name__ for m in MISTAKES])
def test_a_mistake_is_refused_with_its_line_and_its_remedy(
    write: Callable[[], None], problem: str, remedy: str
) -> None:
    error = refused(write)
    assert problem in str(error)
    assert remedy in error.remedy
    assert any(_is_in(error.where, place) for place in (write, pack, send, Maker, parcels)), error.where


def _is_in(where: str, written: Any) -> bool:
    file, _, line = where.rpartition(":")
    lines, first = inspect.getsourcelines(written)
    return file == inspect.getfile(written) and first <= int(line) < first + len(lines)


def test_a_fold_that_sets_a_constant_or_adds_to_a_field_is_right() -> None:
    maker = Maker()
    step = maker.each.step(**ALL)(pack)
    step.undo(unpack)

    @step.reply
    def _(order: Order, parcel: Parcel, reply: Packed | NotPacked) -> Order:
        boxes = {**order.boxes, parcel.parcel_id: "x"}
        return msgspec.structs.replace(order, boxes=boxes, order_id="o-1")

    saga: Saga[Order] = maker.saga
    saga.flow(step)
    assert saga.definition.steps["pack"].each is not None
