"""Messages to check with are made from their types, or taken from examples."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from sagas import Event
from sagas.check.code import Code
from sagas.check.samples import KEY, NoSample, Samples


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Part(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(min_length=3, max_length=5)]
    count: Annotated[int, Meta(ge=5, le=9)]


class Rich(Event, tag="sample.rich"):
    order_id: str
    parts: tuple[Part, ...]
    size: Size
    amount: Annotated[str, Meta(pattern=r"\A[0-9]+\.[0-9]{2}\Z")]
    at: datetime
    cents: Decimal
    colour: Literal["red", "blue"]
    note: str | None
    weights: dict[str, float]
    optional: int = 7


class Odd(Event, tag="sample.odd"):
    order_id: str
    code: Annotated[str, Meta(pattern=r"\A[QZ]{9}\Z")]


def test_a_sample_satisfies_its_type() -> None:
    made = Samples("order_id").of(Rich)
    assert made.order_id == KEY
    assert msgspec.json.decode(msgspec.json.encode(made), type=Rich) == made


def test_an_example_wins_and_is_about_the_run_that_is_checked() -> None:
    samples = Samples("order_id", [Odd(order_id="x", code="QZQZQZQZQ")])
    assert samples.of(Odd) == Odd(order_id=KEY, code="QZQZQZQZQ")


def test_what_cannot_be_made_is_asked_for() -> None:
    with pytest.raises(NoSample, match=r"Odd\.code.*define EXAMPLES"):
        Samples("order_id").of(Odd)


def test_a_value_as_code_makes_the_value_again() -> None:
    made = Samples("order_id").of(Rich)
    code = Code()
    text = code.of(made)
    namespace: dict[str, object] = {}
    exec(code.imports, namespace)
    assert eval(text, namespace) == made


class Tree(msgspec.Struct, frozen=True):
    within: "Tree"


class Shared(Event, tag="sample.shared"):
    order_id: str
    share: Annotated[float, Meta(gt=0, lt=1)]


class Several(Event, tag="sample.several"):
    order_id: str
    names: Annotated[frozenset[str], Meta(min_length=2)]


class Empty(Event, tag="sample.empty"):
    order_id: str
    counts: Annotated[list[int], Meta(max_length=0)]


class Naive(Event, tag="sample.naive"):
    order_id: str
    at: Annotated[datetime, Meta(tz=False)]


class Grown(Event, tag="sample.grown"):
    order_id: str
    tree: Tree


@pytest.mark.parametrize("kind", [Shared, Several, Empty, Naive, Grown], ids=lambda kind: kind.__name__)
def test_what_would_not_fit_its_own_type_is_asked_for(kind: type[Event]) -> None:
    with pytest.raises(NoSample, match=rf"{kind.__name__}.*define EXAMPLES"):
        Samples("order_id").of(kind)
