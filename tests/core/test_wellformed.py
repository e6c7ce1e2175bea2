"""What cannot be written as JSON and read again is refused while its module is imported, with the field's name."""

import enum
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, TypedDict
from uuid import UUID

import msgspec
import pytest

from sagas import Command, DefinitionError, Event, Participant, Rejection, Saga, unchanged
from sagas.core.envelope import Envelope, decode_data, decode_envelope, encode_message
from sagas.core.wellformed import fields_problem, type_problem
from sagas.errors import MessageError

DESK = Participant("desk", key="trip_id")


class Opaque:
    """A class that msgspec does not know."""


class Choice(enum.Enum):
    ONE = "one"


TripId = NewType("TripId", str)


class Inner(msgspec.Struct, frozen=True):
    at: datetime
    odd: Opaque | None = None


class Loose(msgspec.Struct):
    a: Any
    b: object
    c: Mapping[str, object]
    d: "Loose | None" = None


class Asked(Event, tag="asked"):
    trip_id: str


class Done(Event, tag="done"):
    trip_id: str


class Trip(msgspec.Struct, frozen=True):
    trip_id: str


def saga_with(command: type[Command[Any]], data: Any = Trip) -> Saga[Any]:
    """A saga of one step, which sends `command`."""
    saga = Saga("trip", data, version=1)

    @saga.start(on=DESK)
    def begin(event: Asked) -> Any:
        raise AssertionError

    def go(trip: Any) -> Any:
        raise AssertionError

    go.__annotations__["return"] = command
    step = saga.pivot(to=DESK, timeout=1, unknown="ask")(go)
    step.reply(unchanged)
    saga.flow(step)
    return saga


def refused(command: type[Command[Any]], data: Any = Trip) -> str:
    with pytest.raises(DefinitionError) as caught:
        saga_with(command, data)
    assert __file__ in caught.value.where
    return str(caught.value)


class Go(Command[Done], tag="go"):
    trip_id: str


def keyed_by(key_type: Any) -> type[Event]:
    class Other(Event, tag="other"):
        __annotations__ = {"trip_id": key_type}

    return Other


@pytest.mark.parametrize("key_type", [UUID, int, Choice, bytes, Decimal])
def test_a_business_key_that_is_read_as_text_and_says_another_type_is_refused(key_type: Any) -> None:
    problem = fields_problem(keyed_by(key_type), "trip_id")
    assert problem is not None
    assert "holds its business key 'trip_id' as" in problem[0]
    assert "write `trip_id: str`" in problem[1]


@pytest.mark.parametrize(
    "key_type", [str, TripId, Annotated[str, msgspec.Meta(max_length=9)], Literal["a", "b"], str | None, Any]
)
def test_a_business_key_of_any_type_that_holds_text_is_taken(key_type: Any) -> None:
    assert fields_problem(keyed_by(key_type), "trip_id") is None


def test_a_saga_refuses_a_command_whose_business_key_is_no_text() -> None:
    class ByNumber(Command[Done], tag="by-number"):
        trip_id: UUID

    assert "message ByNumber holds its business key 'trip_id' as UUID" in refused(ByNumber)


def test_a_reply_that_is_no_event_is_refused_by_its_name() -> None:
    class Full(msgspec.Struct, tag="full"):
        trip_id: str

    class Try(Command[Done | Full], tag="try"):
        trip_id: str

    said = refused(Try)
    assert "command Try declares the reply Full, which is no Event" in said
    assert "write `class Full(Event, tag=" in said


def test_nothing_as_a_reply_is_refused() -> None:
    class Perhaps(Command[Done | None], tag="perhaps"):
        trip_id: str

    assert "command Perhaps declares the reply NoneType, which is no Event" in refused(Perhaps)


def test_replies_that_are_written_as_text_are_refused_with_what_to_write() -> None:
    class Later(Command["Done | Missing"], tag="later"):
        trip_id: str

    said = refused(Later)
    assert 'command Later declares its replies as text, "Done | Missing"' in said
    assert "define them above it" in said


class Missing(Rejection, tag="missing"):
    trip_id: str


def test_a_field_that_json_cannot_hold_is_refused_with_its_path() -> None:
    class Carry(Command[Done], tag="carry"):
        trip_id: str
        parcels: dict[str, tuple[Inner, ...]]

    said = refused(Carry)
    assert "message Carry cannot be read from JSON: its field `parcels.odd` is of type Opaque" in said
    assert "make Opaque a `msgspec.Struct` or a dataclass" in said


def test_a_union_that_cannot_be_told_apart_is_refused_with_the_messages_name() -> None:
    class Pay(Command[Done], tag="pay"):
        trip_id: str
        amount: Decimal | str

    assert "message Pay cannot be read from JSON: Type unions may not contain more than one str-like" in refused(Pay)


def test_a_field_whose_type_is_nowhere_is_refused_with_the_messages_name() -> None:
    class Lost(Command[Done], tag="lost"):
        trip_id: str
        what: "Nowhere"  # type: ignore[name-defined]  # noqa: F821 # pyright: ignore

    assert "message Lost has a field whose type cannot be read: name 'Nowhere' is not defined" in refused(Lost)


def test_data_that_cannot_be_kept_are_refused() -> None:
    class Named(TypedDict):
        trip_id: str

    assert "its data, of type Opaque, cannot be read from JSON" in refused(Go, Opaque)
    assert "its data are of type Named, which has no instances" in refused(Go, Named)
    assert "its data are of type dict[str, str], which has no instances" in refused(Go, dict[str, str])


def test_what_holds_anything_is_taken() -> None:
    assert type_problem(Loose) is None
    assert saga_with(Go, dict).definition.name == "trip"


@pytest.mark.parametrize("name", ["a trip", "", Trip])
def test_a_saga_refuses_what_is_no_name_where_it_is_made(name: Any) -> None:
    with pytest.raises(DefinitionError, match="is no name") as caught:
        Saga(name, Trip, version=1)
    assert __file__ in caught.value.where


def test_a_field_that_is_called_as_the_tags_is_refused_with_the_way_to_have_it() -> None:
    with pytest.raises(MessageError, match=r"message Room: has a field `type`, .*say tag_field=\"message_type\""):
        type("Room", (Event,), {"__annotations__": {"trip_id": str, "type": str}}, tag="room")

    class Suite(Event, tag="suite", tag_field="message_type"):
        trip_id: str
        type: str

    suite = Suite(trip_id="t-1", type="large")
    payload = encode_message(suite, message_id="m-1", key_field="trip_id", key="t-1", now_ms=1)
    envelope = decode_envelope(payload, "trip_id")
    assert isinstance(envelope, Envelope)
    assert (envelope.event_type, envelope.data) == ("suite", b'{"type":"large"}')
    assert decode_data(Suite, "trip_id", "t-1", envelope.data) == suite
