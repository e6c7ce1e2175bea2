"""What the source of a function says of the data: which fields it writes, reads, and gives at the start."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sagas.core.source import given_of, reads_of, writes_of


class Order(msgspec.Struct, frozen=True):
    """The data of these functions."""

    key: str
    total: int = 0
    note: str = ""
    paid: str = ""
    inner: Any = None


class Paid(msgspec.Struct, frozen=True):
    """What they are told."""

    total: int
    note: str
    paid: str


FIELDS = Order.__struct_fields__


def unchanged(order: Order, reply: Paid) -> Order:
    return order


def one_field(order: Order, reply: Paid) -> Order:
    return replace(order, total=reply.total)


def by_module(order: Order, reply: Paid) -> Order:
    return msgspec.structs.replace(order, total=reply.total, note=reply.note)


def twice(order: Order, reply: Paid) -> Order:
    return replace(replace(order, total=1), note=reply.note)


def either(order: Order, reply: Paid) -> Order:
    return order if reply.total < 0 else replace(order, total=reply.total)


def by_branches(order: Order, reply: Paid) -> Order:
    if reply.total < 0:
        return replace(order, note=reply.note)
    return replace(order, paid=reply.paid)


def by_a_name(order: Order, reply: Paid) -> Order:
    changed = replace(order, total=reply.total)
    if reply.note:
        changed = replace(order, note=reply.note)
    return changed


def with_a_function_inside(order: Order, reply: Paid) -> Order:
    def other(order: Order) -> Order:
        return replace(order, note="")

    assert other(order).key
    return replace(order, total=reply.total)


def by_somebody_else(order: Order, reply: Paid) -> Order:
    return either(order, reply)


def by_a_name_for_it(order: Order, reply: Paid) -> Order:
    changed = either(order, reply)
    return changed  # noqa: RET504 - the name is what is tested


def by_a_name_of_nobody(order: Order, reply: Paid) -> Order:
    return SOMETHING


def by_what_is_found_out(order: Order, reply: Paid) -> Order:
    return replace(order, **found_out(reply))


def either_unseen(order: Order, reply: Paid) -> Order:
    return order if reply.total else either(order, reply)


def replaced_unseen(order: Order, reply: Paid) -> Order:
    return replace(either(order, reply), total=1)


def by_a_call_of_a_call(order: Order, reply: Paid) -> Order:
    changed: Order = chosen()(order, total=1)
    return changed


SOMETHING = Order("")
AS_IT_IS: Callable[[Order, Paid], Order] = lambda order, reply: order  # noqa: E731 - it has no def


def found_out(reply: Paid) -> dict[str, int]:
    return {"total": reply.total}


def chosen() -> Callable[..., Any]:
    return replace


Fold = Callable[[Order, Paid], Order]

SHOWN: dict[Fold, set[str]] = {
    unchanged: set(),
    one_field: {"total"},
    by_module: {"total", "note"},
    twice: {"total", "note"},
    either: {"total"},
    by_branches: {"note", "paid"},
    by_a_name: {"total", "note"},
    with_a_function_inside: {"total"},
}
UNSEEN: list[Fold] = [
    by_somebody_else,
    by_a_name_for_it,
    by_a_name_of_nobody,
    by_what_is_found_out,
    either_unseen,
    replaced_unseen,
    by_a_call_of_a_call,
]


@pytest.mark.parametrize("fold", SHOWN, ids=lambda fold: fold.__name__)
def test_a_fold_writes_at_most_what_its_source_shows(fold: Fold) -> None:
    assert writes_of(fold) == frozenset(SHOWN[fold])
    before = Order("k")
    for total in (-1, 7):
        after = fold(before, Paid(total=total, note="n", paid="p"))
        changed = {name for name in FIELDS if getattr(before, name) != getattr(after, name)}
        assert changed <= SHOWN[fold]


@pytest.mark.parametrize("fold", UNSEEN, ids=lambda fold: fold.__name__)
def test_a_fold_that_hands_the_data_to_somebody_else_says_nothing(fold: Callable[[Order, Paid], Order]) -> None:
    assert writes_of(fold) is None


def test_a_function_without_a_source_says_nothing() -> None:
    made: dict[str, Any] = {}
    exec("def fold(order, reply): return order\ndef begin(event): return Order(event)", made)
    assert writes_of(made["fold"]) is None
    assert reads_of(made["fold"]) == frozenset()
    assert given_of(made["begin"], Order) is None
    assert writes_of(len) is None
    assert writes_of(AS_IT_IS) is None


def no_arguments() -> Order:
    return SOMETHING


def test_a_function_without_an_argument_has_no_data() -> None:
    assert writes_of(no_arguments) is None


# --------------------------------------------------------------------------- reading


def plainly(order: Order) -> tuple[str, int]:
    return order.key, order.total


def looked_at_first(order: Order) -> str:
    if order.note:
        return order.note
    return order.paid if order.paid else order.key


def asserted(order: Order) -> str:
    assert order.paid
    return order.paid


def while_it_is_there(order: Order) -> str:
    while order.note:
        return order.note
    return order.key


def one_or_the_other(order: Order) -> str:
    return order.note or order.key


def matched(order: Order) -> str:
    match order.paid:
        case "":
            return order.key
        case paid:
            return paid


def within(order: Order) -> list[str]:
    return [letter for letter in order.key if order.note]


READ: dict[Callable[[Order], object], set[str]] = {
    plainly: {"key", "total"},
    looked_at_first: {"key"},
    asserted: set(),
    while_it_is_there: {"key"},
    one_or_the_other: set(),
    matched: {"key"},
    within: {"key"},
}


@pytest.mark.parametrize("build", READ, ids=lambda build: build.__name__)
def test_what_is_looked_at_before_it_is_used_is_not_relied_upon(build: Callable[[Order], object]) -> None:
    assert reads_of(build) == READ[build]


# --------------------------------------------------------------------------- starting


def by_place(event: Paid) -> Order:
    return Order(event.note, event.total)


def by_name(event: Paid) -> Order:
    return Order(key=event.note, paid=event.paid)


def in_two_ways(event: Paid) -> Order:
    if event.total:
        return Order(event.note, total=event.total)
    return Order(event.note, note="free")


def listed_of(event: Paid) -> list[Any]:
    return [event.note]


def from_a_list(event: Paid) -> Order:
    return Order(*listed_of(event))


def found_of(event: Paid) -> dict[str, Any]:
    return {"key": event.note}


def from_a_dict(event: Paid) -> Order:
    return Order(**found_of(event))


def initial(event: Paid) -> Order:
    return Order(event.note, note="free")


def by_another_function(event: Paid) -> Order:
    return initial(event)


def by_another_function_and_more(event: Paid) -> Order:
    return replace(initial(event), total=event.total)


def from_elsewhere(event: Paid) -> Order:
    return SOMETHING


def never(event: Paid) -> Order:
    raise ValueError(event)


GIVEN: dict[Callable[[Paid], Order], set[str] | None] = {
    by_place: {"key", "total"},
    by_name: {"key", "paid"},
    in_two_ways: {"key", "total", "note"},
    from_a_list: None,
    from_a_dict: None,
    by_another_function: None,
    by_another_function_and_more: None,
    from_elsewhere: None,
    never: None,
}


@pytest.mark.parametrize("start", GIVEN, ids=lambda start: start.__name__)
def test_a_start_gives_the_fields_that_its_source_shows(start: Callable[[Paid], Order]) -> None:
    assert given_of(start, Order) == GIVEN[start]
