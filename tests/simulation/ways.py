"""Two sagas that are legal, and were accused: a way that leaves nothing and times out, two waits on one topic."""

from collections.abc import Sequence

import msgspec

from sagas import Command, Event, Participant, Saga, unchanged
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


class Free(Command[Freed], tag="free"):
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
    def free(sql: Sql, command: Free) -> Freed:
        return Freed(key=command.key)

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


def starts(seed: int) -> Sequence[Event]:
    return [Asked(key=f"k-{number}") for number in range(3)]


def first_alone(seed: int, begun: Sequence[Event]) -> Sequence[Event]:
    return [First(key=f"k-{number}") for number in range(len(begun))]


WAYS = Subject(name="look or book", definitions=[look_or_book()], services={desk(): []}, workload=starts)
WAITS = Subject(
    name="wait twice", definitions=[wait_twice()], services={desk(): []}, workload=starts, signals=first_alone
)
