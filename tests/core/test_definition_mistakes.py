"""A saga that is written wrong is refused while its module is imported: with the step, the line, the remedy."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sagas import Command, DefinitionError, Event, Participant, Rejection, Saga, unchanged
from sagas.broker.outgoing import checked_name
from sagas.errors import SagaError, SettingsError

A = Participant("a", key="thing_id")
B = Participant("b", key="account_id")


class Asked(Event, tag="asked"):
    thing_id: str


class Done(Event, tag="done"):
    thing_id: str


class Refused(Rejection, tag="refused"):
    thing_id: str


class Undone(Event, tag="undone"):
    thing_id: str


class Do(Command[Done | Refused], tag="do"):
    thing_id: str


class DoSurely(Command[Done], tag="do-surely"):
    thing_id: str


class Undo(Command[Undone], tag="undo"):
    thing_id: str


class Thing(msgspec.Struct, frozen=True):
    thing_id: str


class Untagged(Command[Done]):
    thing_id: str


class Keyless(Command[Done], tag="keyless"):
    other: str


class Silent(Command, tag="silent"):  # type: ignore[type-arg]  # that it declares no replies is the mistake
    thing_id: str


def do(thing: Thing) -> Do:
    return Do(thing_id=thing.thing_id)


def undo(thing: Thing) -> Undo:
    return Undo(thing_id=thing.thing_id)


def fresh(*, started: bool = True) -> Saga[Thing]:
    saga = Saga("thing", Thing, version=1)
    return _begun(saga) if started else saga


def _begun(saga: Saga[Thing]) -> Saga[Thing]:
    @saga.start(on=A)
    def begin(event: Asked) -> Thing:
        return Thing(event.thing_id)

    return saga


def refused(write: Callable[[], object]) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        write()
    return caught.value


def names_a_line_of(error: DefinitionError, write: Callable[[], object]) -> bool:
    file, _, line = error.where.rpartition(":")
    lines, first = inspect.getsourcelines(write)
    own = file == __file__ and first <= int(line) < first + len(lines)
    return own or error.where in {f"{f.__code__.co_filename}:{f.__code__.co_firstlineno}" for f in (do, do_later, undo)}


def pivot_that_says_undo() -> None:
    fresh().pivot(to=A, timeout=1, unknown="undo")(do)


def step_with_a_number_of_retries() -> None:
    retry: Any = 3
    fresh().step(to=A, timeout=1, unknown="ask", retry=retry)(do)


def undo_with_a_number_of_retries() -> None:
    retry: Any = 3
    fresh().step(to=A, timeout=1, unknown="ask", undo_retry=retry)(do)


def step_joined_with_a_function() -> None:
    later: Any = do_later
    _ = fresh().pivot(to=A, timeout=1, unknown="ask")(do) >> later


def flow_of_a_function() -> None:
    course: Any = do
    fresh().flow(course)


def version_that_is_a_text() -> None:
    version: Any = "1"
    saga = _begun(Saga("thing", Thing, version=version))
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    step.reply(unchanged)
    saga.flow(step)


def pivot_that_resends() -> None:
    resend: Any = "resend"
    fresh().pivot(to=A, timeout=1, unknown=resend)(do)


def step_that_resends() -> None:
    resend: Any = "resend"
    fresh().step(to=A, timeout=1, unknown=resend)(do)


def pivot_with_an_undo() -> None:
    pivot = fresh().pivot(to=A, timeout=1, unknown="ask")(do)
    pivot.undo(undo)  # type: ignore[attr-defined]  # pyright: ignore  # that a type checker refuses it too is the point


def compensatable_after_the_pivot() -> None:
    saga = fresh()
    pivot = saga.pivot(to=A, timeout=1, unknown="ask")(do)
    pivot.reply(unchanged)

    @saga.step(to=A, timeout=1, unknown="undo")
    def later(thing: Thing) -> Do:
        return Do(thing_id=thing.thing_id)

    later.undo(undo)
    later.reply(unchanged)
    saga.flow(pivot >> later)


def two_pivots() -> None:
    saga = fresh()
    first = saga.pivot(to=A, timeout=1, unknown="ask")(do)

    @saga.pivot(to=A, timeout=1, unknown="ask")
    def second(thing: Thing) -> Do:
        return Do(thing_id=thing.thing_id)

    first.reply(unchanged)
    second.reply(unchanged)
    saga.flow(first >> second)


def timeout_without_unknown() -> None:
    fresh().step(to=A, timeout=1)(do)


def unknown_without_meaning() -> None:
    fresh().step(to=A, timeout=1, unknown="hope")(do)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def timeout_of_nothing() -> None:
    fresh().step(to=A, timeout=0, unknown="undo")(do)


def timeout_that_is_text() -> None:
    fresh().step(to=A, timeout="3", unknown="undo")(do)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def deadline_that_is_text() -> None:
    Saga("thing", Thing, version=1, deadline="60")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def timeout_without_end() -> None:
    fresh().step(to=A, timeout=float("inf"), unknown="undo")(do)


def resend_that_is_text() -> None:
    fresh().pivot(to=A, timeout=3, unknown="ask", resend="1")(do)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def participant_that_is_text() -> None:
    fresh().step(to="bank", timeout=1, unknown="undo")(do)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def step_behind_the_flow() -> None:
    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    step.reply(unchanged)
    saga.flow(step)

    @saga.step(to=A, timeout=1, unknown="undo")
    def forgotten(thing: Thing) -> Do:
        return Do(thing_id=thing.thing_id)


def duplicate_names() -> None:
    saga = fresh()
    saga.step(to=A, timeout=1, unknown="undo")(do)
    saga.step(to=A, timeout=1, unknown="undo")(do)


def reply_nobody_handles() -> None:
    step = fresh().step(to=A, timeout=1, unknown="undo")(do)

    def fold(thing: Thing, reply: Done) -> Thing:
        return thing

    step.reply(fold)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def replies_nobody_handles_at_all() -> None:
    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo")(do)
    step.undo(undo)
    saga.flow(step)


def step_without_undo() -> None:
    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo")(do)
    step.reply(unchanged)
    saga.flow(step)


def retriable_that_can_be_refused() -> None:
    saga = fresh()
    pivot = saga.pivot(to=A, timeout=1, unknown="ask")(do)
    pivot.reply(unchanged)

    @saga.retriable(to=A, timeout=1)
    def after(thing: Thing) -> Do:
        return Do(thing_id=thing.thing_id)

    after.reply(unchanged)
    saga.flow(pivot >> after)


def retriable_before_the_pivot() -> None:
    saga = fresh()

    @saga.retriable(to=A, timeout=1)
    def first(thing: Thing) -> DoSurely:
        return DoSurely(thing_id=thing.thing_id)

    pivot = saga.pivot(to=A, timeout=1, unknown="ask")(do)
    first.reply(unchanged)
    pivot.reply(unchanged)
    saga.flow(first >> pivot)


def no_start() -> None:
    saga = fresh(started=False)
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    step.reply(unchanged)
    saga.flow(step)


def two_starts() -> None:
    saga = fresh()

    @saga.start(on=A)
    def again(event: Asked) -> Thing:
        return Thing(event.thing_id)


def start_without_an_event() -> None:
    def begin(event: Thing) -> Thing:
        return event

    fresh(started=False).start(on=A)(begin)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def step_of_somebody_with_another_key() -> None:
    fresh().step(to=B, timeout=1, unknown="undo")(do)


def start_by_somebody_with_another_key() -> None:
    def begin(event: Asked) -> Thing:
        return Thing(event.thing_id)

    fresh(started=False).start(on=B)(begin)


async def do_later(thing: Thing) -> Do:
    return Do(thing_id=thing.thing_id)


def step_that_is_async() -> None:
    fresh().step(to=A, timeout=1, unknown="undo")(do_later)  # type: ignore[arg-type]  # pyright: ignore


def deadline_in_the_past() -> None:
    Saga("thing", Thing, version=1, deadline=-5)


def deadline_of_nothing() -> None:
    Saga("thing", Thing, version=1, deadline=0.0001)


def two_flows() -> None:
    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    step.reply(unchanged)
    saga.flow(step)
    saga.flow(step)


def step_twice_in_the_flow() -> None:
    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    step.reply(unchanged)
    saga.flow(step >> step)


def step_left_out_of_the_flow() -> None:
    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)

    @saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)
    def forgotten(thing: Thing) -> Do:
        return Do(thing_id=thing.thing_id)

    step.reply(unchanged)
    forgotten.reply(unchanged)
    saga.flow(step)


def step_of_another_saga() -> None:
    saga, other = fresh(), fresh()
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    alien = other.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(undo_named_alien)
    step.reply(unchanged)
    alien.reply(unchanged)
    saga.flow(step >> alien)


def undo_named_alien(thing: Thing) -> Do:
    return Do(thing_id=thing.thing_id)


def command_without_a_tag() -> None:
    def step(thing: Thing) -> Untagged:
        return Untagged(thing_id=thing.thing_id)

    fresh().step(to=A, timeout=1, unknown="undo")(step)


def command_without_the_key() -> None:
    def step(thing: Thing) -> Keyless:
        return Keyless(other=thing.thing_id)

    fresh().step(to=A, timeout=1, unknown="undo")(step)


def command_without_replies() -> None:
    def step(thing: Thing) -> Silent:
        return Silent(thing_id=thing.thing_id)

    fresh().step(to=A, timeout=1, unknown="undo")(step)


def step_that_returns_no_command() -> None:
    def step(thing: Thing) -> Thing:
        return thing

    fresh().step(to=A, timeout=1, unknown="undo")(step)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def undo_that_shares_a_reply() -> None:
    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo")(do)
    step.reply(unchanged)

    def back(thing: Thing) -> DoSurely:
        return DoSurely(thing_id=thing.thing_id)

    step.undo(back)
    saga.flow(step)


def step_without_a_name() -> None:
    def _(thing: Thing) -> Do:
        return Do(thing_id=thing.thing_id)

    fresh().step(to=A, timeout=1, unknown="undo")(_)


def resend_of_nothing() -> None:
    fresh().step(to=A, timeout=1, unknown="undo", resend=0)(do)


def undo_of_a_step_that_leaves_nothing() -> None:
    step = fresh().step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    step.undo(undo)


def two_folds() -> None:
    step = fresh().step(to=A, timeout=1, unknown="undo")(do)
    step.reply(unchanged)
    step.reply(unchanged)


def fold_of_one_parameter() -> None:
    step = fresh().step(to=A, timeout=1, unknown="undo")(do)

    def fold(thing: Thing) -> Thing:
        return thing

    step.reply(fold)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def start_event_without_the_key() -> None:
    class Elsewhere(Event, tag="elsewhere"):
        other: str

    def begin(event: Elsewhere) -> Thing:
        return Thing(event.other)

    fresh(started=False).start(on=A)(begin)


def tag_of_the_engine() -> None:
    class Mine(Command[Done], tag="sagas.mine"):
        thing_id: str

    def step(thing: Thing) -> Mine:
        return Mine(thing_id=thing.thing_id)

    fresh().step(to=A, timeout=1, unknown="undo")(step)


def annotation_that_cannot_be_read() -> None:
    def step(thing: "Thing") -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821 # pyright: ignore
        raise AssertionError("never called")

    fresh().step(to=A, timeout=1, unknown="undo")(step)  # pyright: ignore[reportUnknownArgumentType]


def start_that_cannot_be_read() -> None:
    def begin(event: "Nowhere") -> Thing:  # type: ignore[name-defined]  # noqa: F821 # pyright: ignore
        raise AssertionError("never called")

    fresh(started=False).start(on=A)(begin)  # pyright: ignore[reportUnknownArgumentType]


def expiry_of_what_is_asked_for() -> None:
    fresh().step(to=A, timeout=1, unknown="ask", expires=True)(do)


def name_that_is_none() -> None:
    Saga("a thing", Thing, version=1, key="thing_id")


def version_zero() -> None:
    saga = _begun(Saga("thing", Thing, version=0))
    step = saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(do)
    step.reply(unchanged)
    saga.flow(step)


def only_rejections() -> None:
    class Never(Command[Refused], tag="never"):
        thing_id: str

    saga = fresh()

    @saga.pivot(to=A, timeout=1, unknown="ask")
    def step(thing: Thing) -> Never:
        return Never(thing_id=thing.thing_id)

    step.reply(unchanged)
    saga.flow(step)


def undo_with_only_rejections() -> None:
    class NotUndone(Rejection, tag="not-undone"):
        thing_id: str

    class NeverUndo(Command[NotUndone], tag="never-undo"):
        thing_id: str

    def back(thing: Thing) -> NeverUndo:
        return NeverUndo(thing_id=thing.thing_id)

    saga = fresh()
    step = saga.step(to=A, timeout=1, unknown="undo")(do)
    step.reply(unchanged)
    step.undo(back)
    saga.flow(step)


def replies_of_one_tag() -> None:
    class Done2(Event, tag="done"):
        thing_id: str

    class Twice(Command[Done | Done2], tag="twice"):
        thing_id: str

    saga = fresh()

    @saga.pivot(to=A, timeout=1, unknown="ask")
    def step(thing: Thing) -> Twice:
        return Twice(thing_id=thing.thing_id)

    step.reply(unchanged)
    saga.flow(step)


def two_undos() -> None:
    step = fresh().step(to=A, timeout=1, unknown="undo")(do)
    step.undo(undo)
    step.undo(undo)


MISTAKES: list[tuple[Callable[[], None], str, str]] = [
    (pivot_that_says_undo, "a pivot cannot be undone", 'unknown="ask"'),
    (step_with_a_number_of_retries, "retry=3 is no Retry", "retry=Retry(attempts_max=3)"),
    (undo_with_a_number_of_retries, "undo_retry=3 is no Retry", "undo_retry=Retry(attempts_max=3)"),
    (step_joined_with_a_function, "is joined with 'do_later'", "@saga.step"),
    (flow_of_a_function, "its flow is 'do'", "@saga.step"),
    (version_that_is_a_text, "version '1' is out of range", "from 1"),
    (pivot_that_resends, "has no meaning", "use one of undo, ask, hold"),
    (step_that_resends, "has no meaning", "use one of undo, ask, hold"),
    (pivot_with_an_undo, "a pivot step cannot be undone", "remove its undo"),
    (compensatable_after_the_pivot, "stands after the pivot 'do'", "put it before the pivot"),
    (two_pivots, "it is the second pivot", "@saga.retriable"),
    (timeout_without_unknown, "does not say what an unknown outcome means", 'unknown="undo"'),
    (unknown_without_meaning, "unknown='hope' has no meaning", "use one of undo, ask, hold"),
    (timeout_of_nothing, "timeout of 0 ms is out of range", "seconds"),
    (timeout_that_is_text, "timeout='3' is no number of seconds", "write timeout=30"),
    (deadline_that_is_text, "deadline='60' is no number of seconds", "write deadline=30"),
    (timeout_without_end, "timeout=inf is no number of seconds", "write timeout=30"),
    (resend_that_is_text, "resend='1' is no number of seconds", "write resend=30"),
    (participant_that_is_text, "'bank' is no participant", 'write Participant("bank", key="thing_id")'),
    (step_behind_the_flow, "it comes after saga.flow(…)", "write it above"),
    (expiry_of_what_is_asked_for, "it expires and is waited for all the same", 'unknown="undo"'),
    (step_of_somebody_with_another_key, "'b' has the business key 'account_id', the saga 'thing_id'", 'key="thing_id"'),
    (
        start_by_somebody_with_another_key,
        "'b' has the business key 'account_id', the saga 'thing_id'",
        'key="thing_id"',
    ),
    (step_that_is_async, "its function is async", "without `async`"),
    (deadline_in_the_past, "deadline of -5000 ms is out of range", "a year"),
    (deadline_of_nothing, "deadline of 0 ms is out of range", "a year"),
    (two_flows, "has two flows", "keep one"),
    (duplicate_names, "two steps have this name", "rename one"),
    (reply_nobody_handles, "nobody handles its reply Refused", "reply: Done | Refused"),
    (replies_nobody_handles_at_all, "nobody handles its replies Done | Refused", "do.reply(unchanged)"),
    (step_without_undo, "has no undo", "@do.undo"),
    (retriable_that_can_be_refused, "can be refused (Refused)", "take the rejection out"),
    (retriable_before_the_pivot, "stands before a step that can be refused", "put it after the pivot"),
    (no_start, "nothing starts it", "@saga.start"),
    (two_starts, "has two starts", "keep one"),
    (start_without_an_event, "its start takes no event", "def begin"),
    (step_twice_in_the_flow, "it stands twice in the flow", "a step runs once"),
    (step_left_out_of_the_flow, "it is not in the flow", ">> forgotten"),
    (step_of_another_saga, "it belongs to saga 'thing'", "use the steps of saga"),
    (command_without_a_tag, "message Untagged has no tag", "tag="),
    (command_without_the_key, "has no field 'thing_id'", "add `thing_id: str`"),
    (command_without_replies, "command Silent declares no replies", "Command[Done | Refused]"),
    (step_that_returns_no_command, "does not say which command it returns: Thing is none", "annotate it"),
    (undo_that_shares_a_reply, "do and undo share the reply Done", "give the undo its own"),
    (two_undos, "it has two undos", "keep one"),
    (step_without_a_name, "its function has no plain name", "def reserve"),
    (resend_of_nothing, "resend of 0 ms is out of range", "seconds"),
    (undo_of_a_step_that_leaves_nothing, "leaves_nothing and has an undo", "keep one"),
    (two_folds, "it has two folds", "keep one"),
    (fold_of_one_parameter, "its fold takes 1 parameters", "reply: A | B"),
    (start_event_without_the_key, "start event Elsewhere has no field 'thing_id'", "add `thing_id: str`"),
    (tag_of_the_engine, "has the reserved tag 'sagas.mine'", "choose a tag"),
    (annotation_that_cannot_be_read, "an annotation cannot be read", "at module level"),
    (start_that_cannot_be_read, "its start cannot be read", "at module level"),
    (name_that_is_none, "is no name", "letters, digits"),
    (version_zero, "version 0 is out of range", "from 1"),
    (only_rejections, "every reply of it is a rejection", "says: done"),
    (undo_with_only_rejections, "every reply of its undo is a rejection", "says: undone"),
    (replies_of_one_tag, "two of its replies share a name or a tag", "its own"),
]


@pytest.mark.parametrize(("write", "problem", "remedy"), MISTAKES, ids=[m[0].__name__ for m in MISTAKES])
def test_a_mistake_is_refused_with_its_line_and_its_remedy(
    write: Callable[[], None], problem: str, remedy: str
) -> None:
    error = refused(write)
    assert problem in str(error)
    assert remedy in error.remedy
    assert names_a_line_of(error, write), f"{error.where} is no line of {write.__name__}"


@pytest.mark.parametrize("name", ["", "2024", "²", "x" * 247, "α" * 124])
def test_a_participant_whose_topics_no_broker_would_have_is_refused_where_it_is_made(name: str) -> None:
    with pytest.raises(SagaError, match="its topics cannot have this name"):
        Participant(name, key="order_id")
    with pytest.raises(SettingsError):
        checked_name("topic", name and f"{name}-commands" if not name.isdigit() else name)


def test_a_saga_without_a_flow_says_so_when_it_is_used() -> None:
    with pytest.raises(DefinitionError, match="has no flow"):
        _ = fresh().definition
