"""A course that is written wrong is refused while its module is imported: with the leaf, the line, the remedy."""

import inspect
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sagas import CannotUndo, Command, Event, Rejection, Saga, Step, unchanged
from tests.core.test_definition_mistakes import (
    A,
    Asked,
    Do,
    Done,
    DoSurely,
    Refused,
    Thing,
    Undo,
    fresh,
    refused,
)


def plain(saga: Saga[Thing], name: str, kind: str = "step") -> Step[Thing, Done | Refused]:
    """A step that is right, with its line in here."""

    def build(thing: Thing) -> Do:
        return Do(thing_id=thing.thing_id)

    def undo(thing: Thing) -> Undo:
        return Undo(thing_id=thing.thing_id)

    build.__name__ = name
    if kind == "pivot":
        step = saga.pivot(to=A, timeout=1, unknown="ask")(build)
    else:
        compensatable = saga.step(to=A, timeout=1, unknown="undo")(build)
        compensatable.undo(undo)
        step = compensatable
    step.reply(unchanged)
    return step


def surely(saga: Saga[Thing], name: str) -> Step[Thing, Done]:
    """A retriable step that is right."""

    def build(thing: Thing) -> DoSurely:
        return DoSurely(thing_id=thing.thing_id)

    build.__name__ = name
    step = saga.retriable(to=A, timeout=1)(build)
    step.reply(unchanged)
    return step


COUNTED: list[int] = []


class Approved(Event, tag="approved"):
    thing_id: str


class Denied(Rejection, tag="denied"):
    thing_id: str


class Paper(msgspec.Struct, frozen=True):
    thing_id: str
    number: int = 0
    stamp: int = 0


def papers() -> Saga[Paper]:
    saga = Saga("paper", Paper, version=1, key="thing_id")

    @saga.start(on=A)
    def begin(event: Asked) -> Paper:
        return Paper(thing_id=event.thing_id)

    return saga


def pivot_in_a_branch() -> None:
    saga = fresh()
    saga.flow(plain(saga, "a") & plain(saga, "p", "pivot"))


def retriable_beside_a_step_that_can_be_refused() -> None:
    saga = fresh()
    saga.flow(plain(saga, "a") & surely(saga, "r"))


def branch_for_an_answer_that_never_comes() -> None:
    saga = fresh()
    a, b = plain(saga, "a"), plain(saga, "b")
    a.on(Approved, b)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def two_branches_for_one_answer() -> None:
    saga = fresh()
    a, b, c = plain(saga, "a"), plain(saga, "b"), plain(saga, "c")
    a.on(Done, b).on(Done, c)


def way_behind_one_that_cannot_fail() -> None:
    saga = fresh()
    saga.flow(plain(saga, "p", "pivot") >> (surely(saga, "r") | surely(saga, "s")))


def save_point_within_a_way() -> None:
    saga = fresh()
    a, b, c, d = (plain(saga, name) for name in "abcd")
    saga.flow(((a | b) >> c) | d)


def predicate_that_looks_at_the_clock() -> None:
    saga = fresh()

    def is_late(thing: Thing) -> bool:
        return time.time() > 5

    saga.when(is_late, plain(saga, "a"))


def predicate_that_draws_lots() -> None:
    saga = fresh()

    def drawn() -> float:
        return random.random()

    def is_lucky(thing: Thing) -> bool:
        return drawn() > 0.5

    saga.when(is_lucky, plain(saga, "a"))


def predicate_that_reads_what_can_change() -> None:
    saga = fresh()

    def is_full(thing: Thing) -> bool:
        return len(COUNTED) > 5

    saga.when(is_full, plain(saga, "a"))


def predicate_that_always_says_the_same() -> None:
    saga = fresh()

    def is_true(thing: Thing) -> bool:
        return True

    saga.when(is_true, plain(saga, "a"))


def predicate_that_is_none() -> None:
    saga = fresh()

    def name_of(thing: Thing) -> str:
        return thing.thing_id

    saga.when(name_of, plain(saga, "a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def predicate_without_a_name() -> None:
    saga = fresh()
    saga.when(lambda thing: thing.thing_id == "x", plain(saga, "a"))


def wait_that_does_not_say_what_silence_means() -> None:
    @fresh().wait(on=A, timeout=5, absence="maybe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    def approval(thing: Thing, signal: Approved) -> Thing:
        return thing


def wait_that_says_nothing_of_silence() -> None:
    @fresh().wait(on=A, timeout=5)
    def approval(thing: Thing, signal: Approved) -> Thing:
        return thing


def wait_without_a_signal() -> None:
    def approval(thing: Thing) -> Thing:
        return thing

    fresh().wait(on=A, timeout=5, absence="hold")(approval)  # type: ignore[arg-type]  # pyright: ignore


def wait_that_never_goes_on() -> None:
    @fresh().wait(on=A, timeout=5, absence="hold")
    def approval(thing: Thing, signal: Denied) -> Thing:
        return thing


def wait_for_ever() -> None:
    @fresh().wait(on=A, timeout=1e9, absence="hold")
    def approval(thing: Thing, signal: Approved) -> Thing:
        return thing


def wait_that_turns_back_behind_the_pivot() -> None:
    saga = fresh()

    @saga.wait(on=A, timeout=5, absence="refusal")
    def approval(thing: Thing, signal: Approved) -> Thing:
        return thing

    saga.flow(plain(saga, "p", "pivot") >> approval)


def delay_that_does_not_say_how_long() -> None:
    def pause(thing: Thing) -> str:
        return "long"

    fresh().delay(pause)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def delay_by_the_clock() -> None:
    @fresh().delay
    def pause(thing: Thing) -> float:
        return time.monotonic()


class Keyless(Event, tag="keyless"):
    other: str


def signal_without_the_key() -> None:
    @fresh().wait(on=A, timeout=1, absence="refusal")
    def w(thing: Thing, signal: Keyless) -> Thing:
        return thing


def annotation_of_a_wait_that_cannot_be_read() -> None:
    @fresh().wait(on=A, timeout=1, absence="refusal")
    def w(thing: Thing, signal: "Nowhere") -> Thing:  # type: ignore[name-defined] # pyright: ignore # noqa: F821
        return thing


def parts_of(thing: Thing) -> tuple[str, ...]:
    return (thing.thing_id,)


def itself(part: str) -> str:
    return part


def list_without_a_bound() -> None:
    fresh().for_each(parts_of, key=itself, at_most=0)


def list_of_unread_annotation() -> None:
    def parts(thing: Thing) -> "tuple[Nowhere, ...]":  # type: ignore[name-defined] # pyright: ignore # noqa: F821
        return ()

    unread: Any = parts  # pyright: ignore[reportUnknownVariableType]
    fresh().for_each(unread, key=str, at_most=3)


def list_that_does_not_say_of_what() -> None:
    def parts(thing: Thing) -> tuple[str, int]:
        return ("", 1)

    fresh().for_each(parts, key=str, at_most=3)


def list_that_is_a_text() -> None:
    def parts(thing: Thing) -> str:
        return thing.thing_id

    fresh().for_each(parts, key=str, at_most=3)


def list_by_chance() -> None:
    def parts(thing: Thing) -> list[str]:
        return random.sample(["a", "b"], 1)

    fresh().for_each(parts, key=itself, at_most=3)


class Unkept:
    """What no row can hold."""


def list_of_what_cannot_be_kept() -> None:
    def parts(thing: Thing) -> tuple[Unkept, ...]:
        return ()

    def key(part: Unkept) -> str:
        return "k"

    fresh().for_each(parts, key=key, at_most=3)


def pivot_for_each() -> None:
    each = fresh().for_each(parts_of, key=itself, at_most=3)
    each.pivot(to=A)  # type: ignore[attr-defined] # pyright: ignore


def two_pivots_behind_one_another_in_a_branch() -> None:
    saga = fresh()
    saga.flow(surely(saga, "r") >> plain(saga, "p", "pivot"))


def step_to_undo_behind_a_retriable() -> None:
    saga = fresh()
    saga.flow(surely(saga, "r") >> plain(saga, "a"))


def name_of_the_engine() -> None:
    plain(fresh(), "operator")


def name_that_breaks_a_drawing() -> None:
    plain(fresh(), "a__b")


def reply_called_like_a_move_of_the_engine() -> None:
    class timeout(Event, tag="timeout"):
        thing_id: str

    class Ask(Command[timeout], tag="ask"):
        thing_id: str

    @fresh().step(to=A, timeout=1, unknown="undo")
    def ask(thing: Thing) -> Ask:
        return Ask(thing_id=thing.thing_id)


def second_pivot_on_one_path() -> None:
    saga = fresh()
    a, p, q = plain(saga, "a"), plain(saga, "p", "pivot"), plain(saga, "q", "pivot")
    saga.flow(a.on(Done, p) >> q)


def step_to_undo_behind_a_branch_with_the_pivot() -> None:
    saga = fresh()
    a, p, b = plain(saga, "a"), plain(saga, "p", "pivot"), plain(saga, "b")
    saga.flow(a.on(Done, p) >> b)


def do_that_says_it_cannot_be_undone() -> None:
    class Ask(Command[Done | CannotUndo], tag="ask"):
        thing_id: str

    @fresh().step(to=A, timeout=1, unknown="undo")
    def ask(thing: Thing) -> Ask:
        return Ask(thing_id=thing.thing_id)


def branches_that_multiply() -> None:
    saga = fresh()
    course = plain(saga, "s0") >> plain(saga, "t0")
    lanes = [plain(saga, f"s{n}") >> plain(saga, f"t{n}") >> plain(saga, f"u{n}") for n in range(1, 7)]
    for lane in lanes:
        course = course & lane
    saga.flow(course)


def step_within_its_own_branch() -> None:
    saga = fresh()
    a = plain(saga, "a")
    saga.flow(a.on(Done, a))


def numbered(saga: Saga[Paper], name: str) -> Step[Paper, Done | Refused]:
    def build(paper: Paper) -> Do:
        return Do(thing_id=paper.thing_id)

    build.__name__ = name
    return saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)(build)


def stamping(saga: Saga[Paper], name: str) -> Step[Paper, Done | Refused]:
    """One whose fold sets the stamp."""
    step = numbered(saga, name)

    @step.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return msgspec.structs.replace(paper, stamp=2)

    return step


def folds_of_two_branches_into_one_field() -> None:
    saga = papers()
    a, b = numbered(saga, "a"), numbered(saga, "b")

    @a.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return msgspec.structs.replace(paper, number=1)

    @b.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        changed = msgspec.structs.replace(paper, number=2)
        return changed  # noqa: RET504 - that the name is followed is the point

    saga.flow(a & b)


def fold_in_a_branch_that_hides_what_it_writes() -> None:
    saga = papers()
    a, b = numbered(saga, "a"), numbered(saga, "b")

    @a.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return Paper(paper.thing_id, 1)

    b.reply(unchanged)
    saga.flow(a & b)


def undo_that_reads_what_a_later_step_sets() -> None:
    saga = papers()

    @saga.step(to=A, timeout=1, unknown="undo")
    def a(paper: Paper) -> Do:
        return Do(thing_id=paper.thing_id)

    @a.undo
    def _(paper: Paper) -> Undo:
        return Undo(thing_id=f"{paper.thing_id}{paper.number}")

    b = numbered(saga, "b")

    @b.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return msgspec.structs.replace(paper, number=2)

    a.reply(unchanged)
    saga.flow(a >> b)


def command_that_reads_what_another_branch_sets_later() -> None:
    saga = papers()

    @saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)
    def a(paper: Paper) -> Do:
        return Do(thing_id=f"{paper.thing_id}{paper.stamp}")

    b = stamping(saga, "b")
    a.reply(unchanged)
    saga.flow(a >> b)


def command_that_reads_what_only_the_other_branch_of_a_decision_sets() -> None:
    saga = papers()

    def is_long(paper: Paper) -> bool:
        return len(paper.thing_id) > 3

    first = stamping(saga, "first")

    @saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)
    def second(paper: Paper) -> Do:
        return Do(thing_id=f"{paper.thing_id}{paper.stamp}")

    second.reply(unchanged)
    saga.flow(saga.when(is_long, first, second))


def command_that_reads_what_is_given_and_the_branch_beside_it_writes() -> None:
    saga = Saga("paper", Paper, version=1, key="thing_id")

    @saga.start(on=A)
    def begin(event: Asked) -> Paper:
        return Paper(thing_id=event.thing_id, stamp=len(event.thing_id))

    @saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)
    def a(paper: Paper) -> Do:
        return Do(thing_id=f"{paper.thing_id}{paper.stamp}")

    b = stamping(saga, "b")
    a.reply(unchanged)
    saga.flow(a & b)


def command_that_reads_what_the_branch_beside_it_sets() -> None:
    saga = papers()

    @saga.step(to=A, timeout=1, unknown="undo", leaves_nothing=True)
    def a(paper: Paper) -> Do:
        return Do(thing_id=f"{paper.thing_id}{paper.stamp}")

    b = stamping(saga, "b")
    a.reply(unchanged)
    saga.flow(a & b)


MISTAKES: list[tuple[Callable[[], None], str, str]] = [
    (pivot_in_a_branch, "a pivot cannot stand in a parallel branch", "after the branches are joined"),
    (retriable_beside_a_step_that_can_be_refused, "a branch beside it can be refused", "after the branches"),
    (branch_for_an_answer_that_never_comes, "it is never answered Approved", "it answers Done, Refused"),
    (two_branches_for_one_answer, "two branches for Done", "keep one"),
    (way_behind_one_that_cannot_fail, "it is never reached", "remove it"),
    (save_point_within_a_way, "a save-point stands inside a way", "a | b | c"),
    (predicate_that_looks_at_the_clock, "it uses the module 'time'", "fold what it needs"),
    (predicate_that_draws_lots, "it calls 'drawn', and uses the module 'random'", "fold what it needs"),
    (predicate_that_reads_what_can_change, "it reads 'COUNTED', which can change", "fold what it needs"),
    (predicate_that_always_says_the_same, "it always says True", "decide by the data"),
    (predicate_that_is_none, "its function is no predicate", "-> bool"),
    (predicate_without_a_name, "has no name", "def is_abroad"),
    (wait_that_does_not_say_what_silence_means, "does not say what it means that no signal comes", "consent"),
    (wait_that_says_nothing_of_silence, "it does not say what it means that no signal comes", 'add absence="refusal"'),
    (wait_without_a_signal, "takes no signal", "Approved | Denied"),
    (wait_that_never_goes_on, "no signal lets the run go on", "consent"),
    (wait_for_ever, "is out of range", "a year"),
    (wait_that_turns_back_behind_the_pivot, "it can turn the run back and stands after 'p'", "put it before"),
    (delay_that_does_not_say_how_long, "does not say how long", "-> float"),
    (delay_by_the_clock, "it uses the module 'time'", "fold what it needs"),
    (signal_without_the_key, "signal Keyless has no field 'thing_id'", "add"),
    (annotation_of_a_wait_that_cannot_be_read, "an annotation cannot be read", "at module level"),
    (two_pivots_behind_one_another_in_a_branch, "stands before a step that can be refused", "put it after the pivot"),
    (step_to_undo_behind_a_retriable, "stands before a step that can be refused", "put it after the pivot"),
    (name_of_the_engine, "one of the engine's own", "something else"),
    (name_that_breaks_a_drawing, "would break a drawing", "single underscores"),
    (reply_called_like_a_move_of_the_engine, "a name of the engine's own", "another name"),
    (second_pivot_on_one_path, "it is the second pivot; the first is 'p'", "@saga.retriable"),
    (step_to_undo_behind_a_branch_with_the_pivot, "stands after the pivot 'p'", "put it before"),
    (do_that_says_it_cannot_be_undone, "which only an undo can be", "on the undo's command"),
    (branches_that_multiply, "its parallel branches multiply to more than 500 states", "join some"),
    (step_within_its_own_branch, "it stands twice in the flow", "a step runs once"),
    (folds_of_two_branches_into_one_field, "its fold writes number, and so does that of 'a'", "a field of its own"),
    (fold_in_a_branch_that_hides_what_it_writes, "does not show which fields its fold writes", "writes="),
    (undo_that_reads_what_a_later_step_sets, "its undo reads number, which no step before it has set", "a step before"),
    (command_that_reads_what_another_branch_sets_later, "its command reads stamp", "a step before"),
    (command_that_reads_what_the_branch_beside_it_sets, "its command reads stamp, which 'b' writes", "of its own"),
    (
        command_that_reads_what_is_given_and_the_branch_beside_it_writes,
        "its command reads stamp, which 'b' writes in a parallel branch",
        "a field of its own",
    ),
    (
        command_that_reads_what_only_the_other_branch_of_a_decision_sets,
        "its command reads stamp, which no step before it has set",
        "a step before",
    ),
]


@pytest.mark.parametrize(("write", "problem", "remedy"), MISTAKES, ids=[m[0].__name__ for m in MISTAKES])
def test_a_mistake_is_refused_with_its_line_and_its_remedy(
    write: Callable[[], None], problem: str, remedy: str
) -> None:
    error = refused(write)
    assert problem in str(error)
    assert remedy in error.remedy
    assert any(_is_in(error.where, place) for place in (write, plain, surely, numbered)), (
        f"{error.where} is no line of it"
    )


LISTS: list[tuple[Callable[[], None], str, str]] = [
    (list_without_a_bound, "at_most=0 is out of range", "by 1 to"),
    (list_of_unread_annotation, "an annotation cannot be read", "at module level"),
    (list_that_does_not_say_of_what, "does not say what it lists", "-> tuple[Parcel, ...]"),
    (list_that_is_a_text, "does not say what it lists", "-> tuple[Parcel, ...]"),
    (list_by_chance, "it uses the module 'random'", "fold what it needs"),
    (list_of_what_cannot_be_kept, "an item of type Unkept cannot be kept", "msgspec.Struct"),
    (pivot_for_each, "a pivot cannot be done for each item", "for_each"),
]


@pytest.mark.parametrize(("write", "problem", "remedy"), LISTS, ids=[m[0].__name__ for m in LISTS])
def test_a_list_that_is_written_wrong_is_refused_with_its_remedy(
    write: Callable[[], None], problem: str, remedy: str
) -> None:
    error = refused(write)
    assert problem in str(error)
    assert remedy in error.remedy


def test_what_is_no_word_of_the_language_is_no_attribute() -> None:
    saga = fresh()
    step: Any = plain(saga, "a")
    each: Any = saga.for_each(parts_of, key=itself, at_most=3)
    for thing in (step, each):
        with pytest.raises(AttributeError, match="undoo"):
            _ = thing.undoo


def _is_in(where: str, function: Callable[..., object]) -> bool:
    file, _, line = where.rpartition(":")
    lines, first = inspect.getsourcelines(function)
    return file == __file__ and first <= int(line) < first + len(lines)


def test_a_fold_that_says_what_it_writes_may_stand_in_a_branch() -> None:
    saga = papers()
    a, b = numbered(saga, "a"), numbered(saga, "b")

    @a.reply(writes=("number",))
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return Paper(paper.thing_id, 1, paper.stamp)

    @b.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return msgspec.structs.replace(paper, stamp=2)

    saga.flow(a & b)
    assert "a.pending|b.pending" in saga.definition.lanes


def test_a_way_may_be_a_wait_or_end_with_a_branch() -> None:
    saga = fresh()

    @saga.wait(on=A, timeout=1, absence="refusal")
    def w(thing: Thing, signal: Approved | Denied) -> Thing:
        return thing

    a, b, c = (plain(saga, name) for name in "abc")
    saga.flow(w | a.on(Refused, b) | c)
    assert "w.waiting" in saga.definition.lanes


def made(thing_id: str) -> Paper:
    return Paper(thing_id)


@pytest.mark.parametrize("hidden", ["the start", "a fold"])
def test_where_the_source_does_not_show_what_is_set_nobody_is_accused(hidden: str) -> None:
    saga: Saga[Paper] = Saga("paper", Paper, version=1, key="thing_id")

    def shown(event: Asked) -> Paper:
        return Paper(event.thing_id)

    def elsewhere(event: Asked) -> Paper:
        return made(event.thing_id)

    saga.start(on=A)(elsewhere if hidden == "the start" else shown)

    @saga.step(to=A, timeout=1, unknown="undo")
    def a(paper: Paper) -> Do:
        return Do(thing_id=f"{paper.number}")

    @a.undo
    def _(paper: Paper) -> Undo:
        return Undo(thing_id=paper.thing_id)

    @a.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return made(paper.thing_id) if hidden == "a fold" else msgspec.structs.replace(paper, number=2)

    saga.flow(a)
    assert saga.definition.steps["a"].name == "a"


def test_what_is_looked_at_before_it_is_used_may_be_unset() -> None:
    saga = papers()

    @saga.step(to=A, timeout=1, unknown="undo")
    def a(paper: Paper) -> Do:
        return Do(thing_id=paper.thing_id)

    @a.undo
    def _(paper: Paper) -> Undo:
        return Undo(thing_id=f"{paper.number}" if paper.number else paper.thing_id)

    b = numbered(saga, "b")

    @b.reply
    def _(paper: Paper, reply: Done | Refused) -> Paper:
        return msgspec.structs.replace(paper, number=2)

    a.reply(unchanged)
    saga.flow(a >> b)
    assert saga.definition.steps["a"].undo is not None
