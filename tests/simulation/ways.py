"""Sagas that are legal, and were accused.

A way that leaves nothing and times out, two waits on one topic, two waits for one event, an undo that cannot be, a list
that is refused, and a branch that is answered while the run is stuck over the other one.
"""

from collections.abc import Sequence

import msgspec

from sagas import CannotUndo, Command, Event, Participant, Rejection, Saga, unchanged
from sagas.core.definition import Definition
from sagas.ports import Sql
from sagas.runtime.participant import Service
from sagas.testing.simulation import Subject

DESK = Participant("desk", key="key")


class Asked(Event, tag="asked"):
    key: str


class Looked(Event, tag="looked"):
    key: str


class Look(Command[Looked], tag="look"):
    key: str


class Booked(Event, tag="booked"):
    key: str


class Freed(Event, tag="freed"):
    key: str


class Book(Command[Booked], tag="book"):
    key: str


class Free(Command[Freed | CannotUndo], tag="free"):
    key: str


class Closed(Rejection, tag="closed"):
    key: str


class Enter(Command[Looked | Closed], tag="enter"):
    key: str


class First(Event, tag="first"):
    key: str


class Second(Event, tag="second"):
    key: str


class Data(msgspec.Struct, frozen=True):
    key: str


def desk() -> Service:
    service = Service(DESK)

    @service.handles
    def look(sql: Sql, command: Look) -> Looked:
        return Looked(key=command.key)

    @service.handles
    def book(sql: Sql, command: Book) -> Booked:
        return Booked(key=command.key)

    @service.undoes
    def free(sql: Sql, command: Free) -> Freed | CannotUndo:
        return CannotUndo(reason="paid for") if command.key == "k-1" else Freed(key=command.key)

    @service.handles
    def enter(sql: Sql, command: Enter) -> Looked | Closed:
        return Closed(key=command.key)

    return service


def _begun(name: str) -> Saga[Data]:
    saga: Saga[Data] = Saga(name, Data, version=1, key="key")

    @saga.start(on=DESK)
    def begin(event: Asked) -> Data:
        return Data(event.key)

    return saga


def look_or_book() -> Definition:
    saga = _begun("look_or_book")

    @saga.step(to=DESK, timeout=0.3, unknown="undo", leaves_nothing=True)
    def look(data: Data) -> Look:
        return Look(key=data.key)

    @saga.step(to=DESK, timeout=5, unknown="undo")
    def book(data: Data) -> Book:
        return Book(key=data.key)

    @book.undo
    def _(data: Data) -> Free:
        return Free(key=data.key)

    look.reply(unchanged)
    book.reply(unchanged)
    saga.flow(look | book)
    return saga.definition


def wait_twice() -> Definition:
    saga = _begun("wait_twice")

    @saga.wait(on=DESK, timeout=1, absence="consent")
    def first(data: Data, signal: First) -> Data:
        return data

    @saga.wait(on=DESK, timeout=1, absence="consent")
    def second(data: Data, signal: Second) -> Data:
        return data

    @saga.step(to=DESK, timeout=5, unknown="ask", leaves_nothing=True)
    def look(data: Data) -> Look:
        return Look(key=data.key)

    look.reply(unchanged)
    saga.flow(first >> second >> look)
    return saga.definition


def wait_for_one_event_twice() -> Definition:
    saga = _begun("wait_for_one_event_twice")

    @saga.wait(on=DESK, timeout=1, absence="consent")
    def first(data: Data, signal: First) -> Data:
        return data

    @saga.wait(on=DESK, timeout=1, absence="consent")
    def again(data: Data, signal: First) -> Data:
        return data

    saga.flow(first >> again)
    return saga.definition


def book_what_may_be_kept() -> Definition:
    saga = _begun("book_what_may_be_kept")

    @saga.step(to=DESK, timeout=5, unknown="undo")
    def book(data: Data) -> Book:
        return Book(key=data.key)

    @book.undo
    def _(data: Data) -> Free:
        return Free(key=data.key)

    @saga.step(to=DESK, timeout=5, unknown="undo", leaves_nothing=True)
    def enter(data: Data) -> Enter:
        return Enter(key=data.key)

    book.reply(unchanged)
    enter.reply(unchanged)
    saga.flow(book >> enter)
    return saga.definition


def rooms(data: Data) -> tuple[str, ...]:
    """One run in three lists a room twice."""
    return ("r-1", "r-1") if data.key == "k-1" else ("r-1", "r-2")


def number(room: str) -> str:
    return room


def look_into_each() -> Definition:
    saga = _begun("look_into_each")

    @saga.for_each(rooms, key=number, at_most=5).step(to=DESK, timeout=5, unknown="undo", leaves_nothing=True)
    def look(data: Data, room: str) -> Look:
        return Look(key=data.key)

    look.reply(unchanged)
    saga.flow(look)
    return saga.definition


def hold_beside_a_look() -> Definition:
    saga = _begun("hold_beside_a_look")

    @saga.step(to=DESK, timeout=0.1, unknown="hold", leaves_nothing=True)
    def look(data: Data) -> Look:
        return Look(key=data.key)

    @saga.step(to=DESK, timeout=5, unknown="undo")
    def book(data: Data) -> Book:
        return Book(key=data.key)

    @book.undo
    def _(data: Data) -> Free:
        return Free(key=data.key)

    look.reply(unchanged)
    book.reply(unchanged)
    saga.flow(look & book)
    return saga.definition


def starts(seed: int) -> Sequence[Event]:
    return [Asked(key=f"k-{number}") for number in range(3)]


def first_alone(seed: int, begun: Sequence[Event]) -> Sequence[Event]:
    return [First(key=f"k-{number}") for number in range(len(begun))]


def of(name: str, definition: Definition) -> Subject:
    """These runs of one saga, with nothing from outside."""
    return Subject(name=name, definitions=[definition], services={desk(): []}, workload=starts)


WAYS = Subject(name="look or book", definitions=[look_or_book()], services={desk(): []}, workload=starts)
WAITS = Subject(
    name="wait twice", definitions=[wait_twice()], services={desk(): []}, workload=starts, signals=first_alone
)
AGAIN = Subject(
    name="wait for one event twice",
    definitions=[wait_for_one_event_twice()],
    services={desk(): []},
    workload=starts,
    signals=first_alone,
)
KEPT = of("book what may be kept", book_what_may_be_kept())
LISTS = of("look into each", look_into_each())
HELD = of("hold beside a look", hold_beside_a_look())
