"""What no message may hold is refused whatever its type allows, and types that exclude it are not walked through."""

from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import pytest
from msgspec import Meta

from sagas.core.strict import INTEGER_MAX, needs_walk, refuse_excess
from services.contracts import OrderCreated, ProcessPayment, ReserveInventory


class Bounded(msgspec.Struct):
    number: Annotated[int, Meta(ge=0, le=10)]
    text: str
    numbers: dict[str, tuple[Annotated[int, Meta(gt=-5, lt=5)], ...]]
    at: Annotated[datetime, Meta(tz=True)] | None = None


class Circle(msgspec.Struct):
    again: "Circle | None" = None


class Half(msgspec.Struct):
    number: Annotated[int, Meta(ge=1)]


@dataclass
class Old:
    number: int


class Pair(NamedTuple):
    number: int


class Loose(TypedDict):
    number: int


class Any_(msgspec.Struct):
    value: Any


@pytest.mark.parametrize("kind", [Bounded, Circle, OrderCreated, ReserveInventory, ProcessPayment])
def test_a_type_that_excludes_everything_costs_no_walk(kind: type[Any]) -> None:
    assert not needs_walk(kind)


@pytest.mark.parametrize(
    "kind",
    [int, Half, Old, Pair, Loose, Any_, datetime, time, Decimal, list[int], set[int], tuple[str, int], dict[int, str]],
)
def test_a_type_that_lets_something_through_is_looked_at(kind: type[Any]) -> None:
    assert needs_walk(kind)


@pytest.mark.parametrize(
    "value",
    [
        INTEGER_MAX + 1,
        -INTEGER_MAX - 1,
        "a\0b",
        datetime(2025, 1, 1),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1e1000000000"),
        Decimal("1e-101"),
        [[{"a": ({INTEGER_MAX + 1},)}]],
        {"a\0": 1},
        Half(number=INTEGER_MAX + 1),
        Old(number=INTEGER_MAX + 1),
        Pair(number=INTEGER_MAX + 1),
    ],
    ids=repr,
)
def test_what_no_message_may_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^a "):
        refuse_excess(value, b"", is_loose=True)


@pytest.mark.parametrize(
    "value",
    [INTEGER_MAX, -INTEGER_MAX, True, None, 1.5, "text", Decimal("59.98"), [1, {"a": (2,)}], Half(number=1)],
    ids=repr,
)
def test_what_is_inside_the_bounds_passes(value: object) -> None:
    refuse_excess(value, b"", is_loose=True)
