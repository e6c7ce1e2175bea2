"""Sagas that differ in one thing: made from plans, so that a table of versions stays readable."""

import types
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NamedTuple

import msgspec

from sagas import Command, Event, Participant, Rejection, Saga, unchanged
from sagas.core.definition import Definition, StepKind, Unknown

SHOP = Participant("shop", key="k")
BANK = Participant("bank", key="k")

Fields = Mapping[str, type[Any] | tuple[type[Any], Any]]
"""Fields of a message: each with its type, or its type and its default."""

NO_FIELDS: Fields = types.MappingProxyType({})


class Data(msgspec.Struct, frozen=True):
    """The data of every variant that needs no other."""

    k: str


class DataWithNote(Data, frozen=True):
    """The same with a field that has a default."""

    note: str = ""


class DataWithSum(Data, frozen=True):
    """The same with a field that must be there."""

    total: str


class Begun(Event, tag="begun"):
    """Starts every variant."""

    k: str


class Plan(NamedTuple):
    """A step: what it is called, and what is said and heard."""

    name: str
    command: type[Command[Any]]
    undo: type[Command[Any]] | None = None
    kind: StepKind = "compensatable"
    to: Participant = SHOP
    unknown: Unknown = "undo"
    timeout: float = 30


def a_message(
    name: str, tag: str, fields: Fields = NO_FIELDS, *, base: type[Any] = Event, version: int = 1, untagged: int = 0
) -> Any:
    """A message class with a business key and these fields."""

    def body(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = __name__
        namespace["__annotations__"] = {"k": str}
        for field, said in fields.items():
            namespace["__annotations__"][field] = said[0] if isinstance(said, tuple) else said
            if isinstance(said, tuple):
                namespace[field] = said[1]

    options = {"tag": tag, "version": version, "untagged": untagged or version}
    return types.new_class(name, (base,), options, body)


def an_answer(verb: str, fields: Fields = NO_FIELDS, *, base: type[Any] = Event) -> Any:
    """`PayDone`, tagged `pay.done`: what `a_command` is answered with."""
    word = "Refused" if issubclass(base, Rejection) else "Done"
    return a_message(f"{verb.title()}{word}", f"{verb}.{word.lower()}", fields, base=base)


def a_command(verb: str, *replies: type[Event], fields: Fields = NO_FIELDS, tag: str = "") -> Any:
    """`Pay`, tagged `pay`, answered with `replies` (`PayDone | PayRefused` unless others are given)."""
    answers = replies or (an_answer(verb), an_answer(verb, base=Rejection))
    union: Any = reduce(lambda left, right: left | right, answers)
    return a_message(verb.title(), tag or verb, fields, base=Command[union])


def variant(
    version: int,
    *plans: Plan,
    data: type[Data] = Data,
    renames: Mapping[str, str] | None = None,
    start: type[Event] = Begun,
) -> Definition:
    """The saga "tale" with these steps one after the other, compiled."""
    return a_saga(version, *plans, data=data, renames=renames, start=start).definition


def a_saga(
    version: int,
    *plans: Plan,
    data: type[Data] = Data,
    renames: Mapping[str, str] | None = None,
    start: type[Event] = Begun,
) -> Saga[Any]:
    """The saga "tale" with these steps one after the other."""
    saga: Saga[Any] = Saga("tale", data, version=version, key="k", renames=renames)

    def begin(event: Any) -> Any:
        return data(event.k)

    begin.__annotations__ = {"event": start, "return": data}
    saga.start(on=SHOP)(begin)
    steps = [_step(saga, plan, data) for plan in plans]
    course = steps[0]
    for step in steps[1:]:
        course = course >> step
    saga.flow(course)
    return saga


def _step(saga: Saga[Any], plan: Plan, data: type[Data]) -> Any:
    build = _builder(plan.name, plan.command, data)
    if plan.kind == "retriable":
        step: Any = saga.retriable(to=plan.to, timeout=plan.timeout)(build)
    elif plan.kind == "pivot":
        step = saga.pivot(to=plan.to, timeout=plan.timeout, unknown=plan.unknown)(build)
    else:
        step = saga.step(to=plan.to, timeout=plan.timeout, unknown=plan.unknown, leaves_nothing=plan.undo is None)(
            build
        )
    step.reply(unchanged)
    if plan.undo is not None:
        step.undo(_builder("_", plan.undo, data))
    return step


def _builder(name: str, command: type[Command[Any]], data: type[Data]) -> Callable[..., Any]:
    def build(run: Any) -> Any:
        fields = dict.fromkeys(command.__struct_fields__, "1") | {"k": run.k}
        return command(**fields)

    build.__name__ = name
    build.__annotations__ = {"run": data, "return": command}
    return build
