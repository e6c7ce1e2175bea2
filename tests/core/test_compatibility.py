"""What one release writes and another reads: each verdict is held against msgspec itself, by values that show it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from msgspec import Meta

from sagas.core.compatibility import is_upcast, message_problems, missing_replies, type_problems
from sagas.core.shape import MessageShape, TypeShape, type_shape


class Case(NamedTuple):
    """A type as it was written, as it is read, JSON values of the first, and why the second cannot read them all."""

    written: object
    read: object
    values: Sequence[str]
    said: Sequence[str] = ()


class One(msgspec.Struct):
    a: int


class OneWithDefault(msgspec.Struct):
    a: int = 1


class Two(msgspec.Struct):
    a: int
    b: str


class TwoWithDefault(msgspec.Struct):
    a: int
    b: str = ""


class ClosedOne(msgspec.Struct, forbid_unknown_fields=True):
    a: int


class Holder(msgspec.Struct):
    inner: One


class HolderOfTwo(msgspec.Struct):
    inner: Two


class Cat(msgspec.Struct, tag="cat"):
    a: int


class Dog(msgspec.Struct, tag="dog"):
    a: int


class Pair(msgspec.Struct, array_like=True):
    a: int
    b: int


class Triple(msgspec.Struct, array_like=True):
    a: int
    b: int
    c: int


class Swapped(msgspec.Struct, array_like=True):
    b: int
    a: int


class PairAndMore(msgspec.Struct, array_like=True):
    a: int
    b: int
    more: str = ""


class Named(NamedTuple):
    a: int
    b: int


class NamedOther(NamedTuple):
    a: int
    b: str


class ClosedCat(msgspec.Struct, forbid_unknown_fields=True):
    a: int


class Node(msgspec.Struct):
    value: int
    following: "Node | None" = None


class Taller(msgspec.Struct):
    value: int
    extra: int
    following: "Taller | None" = None


@dataclass
class Data:
    a: int


class Typed(TypedDict):
    a: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shade(enum.Enum):
    RED = "red"


CASES = {
    "the same": Case(int, int, ["1"]),
    "anything is read": Case(list[int], Any, ["[1]"]),
    "whatever it is, kept raw": Case(int, msgspec.Raw, ["1"]),
    "a whole number is a number": Case(int, float, ["1", "-3"]),
    "but not a bounded one": Case(int, Annotated[float, Meta(le=2)], ["1", "3"], ["it was int and is float now"]),
    "another kind": Case(int, str, ["1"], ["it was int and is str now"]),
    "one more kind": Case(str, str | None, ['"x"']),
    "one kind less": Case(str | None, str, ['"x"', "null"], ["it was none and is str now"]),
    "the order of kinds": Case(int | str, str | int, ["1", '"x"']),
    "none of the kinds": Case(bool, int | str, ["true"], ["it was bool and is int or str now"]),
    "a wider bound": Case(Annotated[int, Meta(ge=0, le=9)], Annotated[int, Meta(ge=-5, le=10)], ["0", "9"]),
    "a bound less": Case(Annotated[int, Meta(ge=0)], int, ["0"]),
    "a tighter bound": Case(
        Annotated[int, Meta(ge=-5)],
        Annotated[int, Meta(ge=0)],
        ["1", "-5"],
        ["it is bounded more tightly: ge was -5, is 0"],
    ),
    "a bound more": Case(
        str, Annotated[str, Meta(max_length=2)], ['"xxx"'], ["it is bounded more tightly: max_length was None, is 2"]
    ),
    "another pattern": Case(
        Annotated[str, Meta(pattern="^a")],
        Annotated[str, Meta(pattern="^b")],
        ['"a"'],
        ["it is bounded more tightly: pattern was ^a, is ^b"],
    ),
    "a zone that must be there": Case(
        datetime,
        Annotated[datetime, Meta(tz=True)],
        ['"2025-01-01T00:00:00"'],
        ["it is bounded more tightly: tz was None, is True"],
    ),
    "lists": Case(list[int], list[float], ["[1]"]),
    "lists of others": Case(list[int], list[str], ["[1]"], ["it[] was int and is str now"]),
    "objects of others": Case(dict[str, int], dict[str, str], ['{"a": 1}'], ["it[] was int and is str now"]),
    "a part more": Case(tuple[int, int], tuple[int, int, int], ["[1, 2]"], ["it had 2 parts and has 3 now"]),
    "the same parts": Case(tuple[int, str], tuple[float, str], ['[1, "x"]']),
    "a row that grew": Case(Pair, Triple, ["[1, 2]"], ["it had 2 parts and has 3 now"]),
    "a row that grew by what may be missing": Case(Pair, PairAndMore, ["[1, 2]"]),
    "a named tuple": Case(Named, Pair, ["[1, 2]"]),
    "a part of a named tuple": Case(Named, NamedOther, ["[1, 2]"], ["it.b was int and is str now"]),
    "a tag where there may be none": Case(Cat, ClosedCat, ['{"type": "cat", "a": 1}'], ["it must have no type now"]),
    "a word more": Case(Literal["a"], Literal["a", "b"], ['"a"']),
    "a word less": Case(Literal["a", "b"], Literal["a"], ['"a"', '"b"'], ['it may not be "b" any more']),
    "a member less": Case(Colour, Shade, ['"red"', '"blue"'], ['it may not be "blue" any more']),
    "a field less": Case(Two, One, ['{"a": 1, "b": ""}']),
    "a field less where none may be more": Case(Two, ClosedOne, ['{"a": 1, "b": ""}'], ["it must have no b now"]),
    "the same fields where none may be more": Case(One, ClosedOne, ['{"a": 1}']),
    "a field more": Case(One, Two, ['{"a": 1}'], ["it.b is new and required"]),
    "a field more that may be missing": Case(One, TwoWithDefault, ['{"a": 1}']),
    "a field that could be left out": Case(OneWithDefault, One, ["{}"], ["it.a could be left out and is required now"]),
    "a field within": Case(Holder, HolderOfTwo, ['{"inner": {"a": 1}}'], ["it.inner.b is new and required"]),
    "another tag": Case(
        Cat, Dog, ['{"type": "cat", "a": 1}'], ["it is bounded more tightly: tag was type=cat, is type=dog"]
    ),
    "one of the tags": Case(Cat, Cat | Dog, ['{"type": "cat", "a": 1}']),
    "a type that contains itself": Case(Node, Node, ['{"value": 1, "following": {"value": 2}}']),
    "and gets a field": Case(
        Node,
        Taller,
        ['{"value": 1}'],
        ["it.extra is new and required", "it.following was the Node around it and is none or the Taller around it now"],
    ),
    "a struct for a dataclass": Case(Data, One, ['{"a": 1}']),
    "a struct for a dictionary with names": Case(Typed, One, ['{"a": 1}']),
}


def read(value: str, kind: object) -> bool:
    """Whether msgspec reads the value as one of this type."""
    try:
        msgspec.json.decode(value.encode(), type=kind)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_to_be_readable_is_read_and_what_is_not_is_refused(name: str) -> None:
    case = CASES[name]
    assert all(read(value, case.written) for value in case.values), "they are values of what was written"
    assert type_problems(type_shape(case.written), type_shape(case.read), "it") == list(case.said)
    assert all(read(value, case.read) for value in case.values) is not bool(case.said)


def test_fields_that_go_by_their_place_may_not_change_it() -> None:
    said = type_problems(type_shape(Pair), type_shape(Swapped), "it")
    assert said == ["it had 'a' where it has 'b' now", "it had 'b' where it has 'a' now"]
    assert type_shape(Pair) != type_shape(Swapped), "the content of a saga differs"
    assert type_problems(type_shape(Named), type_shape(Pair), "it") == []


class Money:
    """A type that msgspec knows nothing of."""


def test_a_type_of_ones_own_is_compared_by_its_name() -> None:
    assert type_shape(Money) == TypeShape(kind="tests.core.test_compatibility.Money")
    (problem,) = type_problems(type_shape(Money), type_shape(int), "it")
    assert problem == "it was tests.core.test_compatibility.Money and is int now"


# --------------------------------------------------------------------------- messages


def a_message(tag: str = "paid", *, version: int = 1, oldest: int = 1, is_rejection: bool = False) -> MessageShape:
    return MessageShape(tag=tag, name="Paid", fields=(), version=version, oldest=oldest, is_rejection=is_rejection)


def test_a_version_is_read_from_the_oldest_on_and_an_upcaster_is_believed() -> None:
    now = a_message(version=3, oldest=2)
    verdicts = {version: message_problems(a_message(version=version), now) for version in range(1, 5)}
    assert verdicts == {
        1: ["version 1 is not read any more, known: 2, 3"],
        2: [],
        3: [],
        4: ["it is of version 4, known: 2, 3"],
    }
    assert [is_upcast(a_message(version=version), now) for version in range(1, 5)] == [False, True, False, False]


def test_an_answer_that_is_gone_or_means_something_else_is_missed() -> None:
    expected = [a_message("paid"), a_message("refused", is_rejection=True), a_message("old", version=2, oldest=2)]
    assert missing_replies(expected, expected) == []
    assert missing_replies([a_message("lost")], expected) == ["its answer 'lost' is not expected any more"]
    assert missing_replies([a_message("refused")], expected) == ["its answer 'refused' was no refusal"]
    assert missing_replies([a_message("paid", is_rejection=True)], expected) == ["its answer 'paid' was a refusal"]
    assert missing_replies([a_message("old")], expected) == [
        "its answer 'old': version 1 is not read any more, known: 2"
    ]
