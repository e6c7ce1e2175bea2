"""Sagas to check, made to measure: as many steps as wanted, of the kinds wanted."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec

from sagas import Command, Event, Participant, Rejection, Saga, unchanged
from sagas.core.definition import Definition

OFFICE = Participant("office", key="job_id")


class Asked(Event, tag="job.asked"):
    job_id: str


class Done(Event, tag="job.done"):
    job_id: str


class Refused(Rejection, tag="job.refused"):
    job_id: str


class Undone(Event, tag="job.undone"):
    job_id: str


class CannotUndo(Rejection, tag="job.kept"):
    job_id: str


class Do(Command[Done | Refused], tag="job.do"):
    job_id: str


class MustDo(Command[Done], tag="job.must-do"):
    job_id: str


class Undo(Command[Undone], tag="job.undo"):
    job_id: str


class MayUndo(Command[Undone | CannotUndo], tag="job.may-undo"):
    job_id: str


class Job(msgspec.Struct, frozen=True):
    job_id: str


def do(job: Job) -> Do:
    return Do(job_id=job.job_id)


def must_do(job: Job) -> MustDo:
    return MustDo(job_id=job.job_id)


def undo(job: Job) -> Undo:
    return Undo(job_id=job.job_id)


def may_undo(job: Job) -> MayUndo:
    return MayUndo(job_id=job.job_id)


def begin(event: Asked) -> Job:
    return Job(event.job_id)


def line(kinds: str, *, deadline: float | None = None) -> Saga[Any]:
    """A saga of one step a letter, in this order; `&` joins branches: "uu&u" has one of two steps and one of one.

    u undone when unknown · a asked about when unknown · h held when unknown · c its undo may be refused · n leaves
    nothing · P pivot that asks · H pivot that holds · r retriable
    """
    saga = Saga("job", Job, version=1, key="job_id", deadline=deadline)
    saga.start(on=OFFICE)(begin)
    numbers = count()
    branches = [[_step(saga, letter, next(numbers)) for letter in part] for part in kinds.split("&")]
    course: Any = None
    for steps in branches:
        branch: Any = steps[0]
        for step in steps[1:]:
            branch = branch >> step
        course = branch if course is None else course & branch
    saga.flow(course)
    return saga


def _step(saga: Saga[Any], letter: str, index: int) -> Any:
    name = f"s{index}"
    if letter == "P" or letter == "H":
        step: Any = saga.pivot(to=OFFICE, timeout=9, unknown="ask" if letter == "P" else "hold")(_named(do, name))
    elif letter == "r":
        step = saga.retriable(to=OFFICE, timeout=9)(_named(must_do, name))
    elif letter == "n":
        step = saga.step(to=OFFICE, timeout=9, unknown="undo", leaves_nothing=True)(_named(do, name))
    else:
        unknown: Any = {"a": "ask", "h": "hold"}.get(letter, "undo")
        compensatable = saga.step(to=OFFICE, timeout=9, unknown=unknown)(_named(do, name))
        compensatable.undo(may_undo if letter == "c" else undo)
        step = compensatable
    step.reply(unchanged)
    return step


def _named(function: Any, name: str) -> Any:
    def build(job: Job) -> Any:
        return function(job)

    build.__name__ = name
    build.__annotations__ = {"job": Job, "return": function.__annotations__["return"]}
    return build


def lines(*kinds: str) -> Sequence[Definition]:
    """The definitions of several such sagas."""
    return [line(k).definition for k in kinds]


seven = line("uuuuuPr", deadline=60)
"""Seven steps in a line: `sagas check tests.check.sagas:seven`."""

branches = line("uu&uu&uu")
"""Three branches of two steps: `sagas check tests.check.sagas:branches`."""
