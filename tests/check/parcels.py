"""A saga whose decision leads to a step that forgets an answer, unless the sample data decide."""

from collections.abc import Callable
from typing import Any

import msgspec

from sagas import Command, Event, Participant, Saga

POST = Participant("post", key="parcel")


class Given(Event, tag="parcel.given"):
    parcel: str
    grams: int


class Sent(Event, tag="parcel.sent"):
    parcel: str


class Delayed(Event, tag="parcel.delayed"):
    parcel: str


class Send(Command[Sent | Delayed], tag="parcel.send"):
    parcel: str


class Parcel(msgspec.Struct, frozen=True):
    parcel: str
    grams: int


def is_small(parcel: Parcel) -> bool:
    return parcel.grams < 100  # what the checker makes up weighs a gram


def sending(saga: Saga[Parcel], name: str, forgets: bool) -> Any:
    def build(parcel: Parcel) -> Send:
        return Send(parcel=parcel.parcel)

    def fold(parcel: Parcel, reply: Sent | Delayed) -> Parcel:
        if forgets and isinstance(reply, Delayed):
            raise ValueError("nobody thought of delays")
        return parcel

    build.__name__ = name
    step = saga.step(to=POST, timeout=9, unknown="ask", leaves_nothing=True)(build)
    step.reply(fold)
    return step


def posted(name: str, course: Callable[[Saga[Parcel], Any], Any]) -> Saga[Parcel]:
    saga: Saga[Parcel] = Saga(name, Parcel, version=1, key="parcel")

    @saga.start(on=POST)
    def begin(event: Given) -> Parcel:
        return Parcel(event.parcel, event.grams)

    saga.flow(course(saga, saga.when(is_small, sending(saga, "by_letter", False), sending(saga, "by_van", True))))
    return saga


decides_first = posted("decides_first", lambda saga, choice: choice)
decides_later = posted("decides_later", lambda saga, choice: sending(saga, "weigh", False) >> choice)
