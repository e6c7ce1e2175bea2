"""The algebra of a saga's course: what its steps, waits and delays are to their author, and how they are joined.

    a >> b              b after a
    a & b               both at once; what follows waits for both
    a | b               a; if it fails, what it did is undone and b is gone instead
    a.on(Reply, b)      b if a was answered so; other answers go on at once
    saga.when(test, b)  b if the data say so

Python binds `>>` before `&` before `|`, as one would read it. The types do their share: `D` is the saga's data
and `R` the union of a step's replies, so that mypy and pyright refuse the reply of another step, a reply left
out of a match, a step that returns no command, and steps of two sagas joined. A pivot has no `undo` to decorate with.
"""

import inspect
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from sagas.core.course import Both, Course, Fork, Leaf, Then, Ways
from sagas.core.drafts import Draft, StepDraft, check_fold, check_undo
from sagas.core.messages import Command, Event
from sagas.core.pauses import DelayDraft, WaitDraft
from sagas.errors import DefinitionError

D = TypeVar("D")
T = TypeVar("T")
R = TypeVar("R", bound=Event)

Fold = Callable[[D, R], D]
EachFold = Callable[[D, T, R], D]


def unchanged(data: D, *said: object) -> D:
    """A fold that keeps nothing of the reply: `ship.reply(unchanged)`."""
    return data


class Flow(Generic[D]):
    """A part of a saga's course: a step, a wait, a delay, or parts joined."""

    def __init__(self, course: Course, drafts: tuple[Draft, ...]) -> None:
        self.course = course
        self.drafts = drafts

    def __rshift__(self, after: "Flow[D]") -> "Flow[D]":
        """This part, then `after`."""
        return self._joined(after, Then)

    def __and__(self, beside: "Flow[D]") -> "Flow[D]":
        """Both at once. What follows begins when both have come to their end; a refusal of one undoes both."""
        return self._joined(beside, Both)

    def __or__(self, otherwise: "Flow[D]") -> "Flow[D]":
        """A save-point: this part, and if it fails, undo what it did and go `otherwise`."""
        return self._joined(otherwise, Ways)

    def _joined(self, other: "Flow[D]", kind: type[Then | Both | Ways]) -> "Flow[D]":
        first = self.drafts[0]
        check_part(other, first.saga, first.name, "it is joined with", first.where)
        parts = (*_parts(self.course, kind), *_parts(other.course, kind))
        return Flow(kind(parts), (*self.drafts, *other.drafts))


def check_part(given: object, saga: str, name: str, what: str, where: str) -> None:
    """Raise DefinitionError for what is no part of a course; `what` says in words what it was to be."""
    if not isinstance(given, Flow):
        said = f"{what} {getattr(given, '__name__', given)!r}, which is no part of a saga"
        raise DefinitionError(saga, name, said, "decorate it: `@saga.step(…)`", where)


def _parts(course: Course, kind: type[Then | Both | Ways]) -> tuple[Course, ...]:
    # (a & b) & c and a & (b & c) are three lanes, not two of which one has two.
    return course.parts if isinstance(course, Then | Both | Ways) and type(course) is kind else (course,)


class Answered(Flow[D], Generic[D, R]):
    """A step or a wait, what it is answered with, and the branches behind the answers."""

    def __init__(self, course: Course, drafts: tuple[Draft, ...], answers: tuple[type[Event], ...]) -> None:
        super().__init__(course, drafts)
        self._answers = answers

    def on(self, reply: type[R], then: Flow[D]) -> "Answered[D, R]":
        """What follows this answer. Answers without a branch go on at once.

        A branch behind a Rejection takes it up: the run does not turn back for it.
        """
        head = self.course.head if isinstance(self.course, Fork) else self.course
        branches = self.course.branches if isinstance(self.course, Fork) else ()
        assert isinstance(head, Leaf)
        draft = self.drafts[0]
        where = callers_line()
        if reply not in self._answers:
            known = ", ".join(answer.__name__ for answer in self._answers)
            raise draft.refuse(
                f"it is never answered {reply.__name__}: the branch is never reached", f"it answers {known}", where
            )
        if any(name == reply.__name__ for name, _ in branches):
            raise draft.refuse(f"it has two branches for {reply.__name__}", "keep one", where)
        fork = Fork(head, (*branches, (reply.__name__, then.course)))
        return Answered(fork, (*self.drafts, *then.drafts), self._answers)


class Step(Answered[D, R]):
    """One step of a saga. Made by `Saga.step`, `Saga.pivot` and `Saga.retriable`."""

    def __init__(self, draft: StepDraft) -> None:
        super().__init__(Leaf(draft.name), (draft,), draft.replies)
        self.draft = draft

    @overload
    def reply(self, fold: Fold[D, R]) -> Fold[D, R]: ...

    @overload
    def reply(self, *, writes: tuple[str, ...]) -> Callable[[Fold[D, R]], Fold[D, R]]: ...

    def reply(
        self, fold: Fold[D, R] | None = None, *, writes: tuple[str, ...] | None = None
    ) -> Fold[D, R] | Callable[[Fold[D, R]], Fold[D, R]]:
        """Say what a reply changes in the saga's data. Must take every reply of the step's command.

        `writes` names the fields it changes, for a fold in a parallel branch from which that cannot be read.
        """
        namespace = callers_locals()

        def take(fold: Fold[D, R]) -> Fold[D, R]:
            check_fold(self.draft, fold, namespace)
            self.draft.writes = writes
            return fold

        return take if fold is None else take(fold)

    if not TYPE_CHECKING:  # for a type checker there is no such attribute at all

        def __getattr__(self, name: str) -> Any:
            raise _no_attribute(self.draft, name, callers_line())


def _no_attribute(draft: StepDraft, name: str, where: str) -> Exception:
    match name:
        case "undo":
            remedy = "remove its undo, or make it `@saga.step` and put it before the pivot"
            return DefinitionError(draft.saga, draft.name, f"a {draft.kind} step cannot be undone", remedy, where)
        case "on" if draft.each is not None:
            problem = "it has an answer for each item: no branch can follow one of them"
            remedy = "fold the answers into the data, and branch by `saga.when(…)` behind it"
            return DefinitionError(draft.saga, draft.name, problem, remedy, where)
        case _:
            return AttributeError(name)


class EachStep(Flow[D], Generic[D, T, R]):
    """A step that is done for each item of a list, all at once. Made by `for_each(…).step` and `.retriable`."""

    def __init__(self, draft: StepDraft) -> None:
        super().__init__(Leaf(draft.name), (draft,))
        self.draft = draft

    @overload
    def reply(self, fold: EachFold[D, T, R]) -> EachFold[D, T, R]: ...

    @overload
    def reply(self, *, writes: tuple[str, ...]) -> Callable[[EachFold[D, T, R]], EachFold[D, T, R]]: ...

    def reply(
        self, fold: EachFold[D, T, R] | None = None, *, writes: tuple[str, ...] | None = None
    ) -> EachFold[D, T, R] | Callable[[EachFold[D, T, R]], EachFold[D, T, R]]:
        """Say what the reply about an item changes in the saga's data. Must take every reply of the step's command.

        The answers come in any order: a fold adds to a field, it does not set it. `writes` as in `Step.reply`.
        """
        namespace = callers_locals()

        def take(fold: EachFold[D, T, R]) -> EachFold[D, T, R]:
            check_fold(self.draft, fold, namespace)
            self.draft.writes = writes
            return fold

        return take if fold is None else take(fold)

    if not TYPE_CHECKING:  # for a type checker there is no such attribute at all

        def __getattr__(self, name: str) -> Any:
            raise _no_attribute(self.draft, name, callers_line())


class CompensatableEach(EachStep[D, T, R]):
    """A step that is done for each item, and can be undone."""

    def undo(self, build: Callable[[D, T], Command[Event]]) -> Callable[[D, T], Command[Event]]:
        """Say which command undoes the step for an item. All items are undone at once, each until it is answered."""
        check_undo(self.draft, build, callers_locals())
        return build


class CompensatableStep(Step[D, R]):
    """A step that can be undone."""

    def undo(self, build: Callable[[D], Command[Event]]) -> Callable[[D], Command[Event]]:
        """Say which command undoes the step. It is sent until it is answered."""
        check_undo(self.draft, build, callers_locals())
        return build


class Wait(Answered[D, R]):
    """A wait for a signal from outside. Made by `Saga.wait`."""

    def __init__(self, draft: WaitDraft) -> None:
        super().__init__(Leaf(draft.name, "waiting"), (draft,), draft.signals)
        self.draft = draft


class Delay(Flow[D]):
    """A pause. Made by `Saga.delay`."""

    def __init__(self, draft: DelayDraft) -> None:
        super().__init__(Leaf(draft.name, "delaying"), (draft,))
        self.draft = draft


def _callers_frame() -> FrameType:
    # Two up from whoever asks: past the decorator's own method, where the user's code stands.
    frame = inspect.currentframe()
    for _ in range(3):
        assert frame is not None
        frame = frame.f_back
    assert frame is not None
    return frame


def callers_locals() -> dict[str, object]:
    """The names where the caller of the caller stands.

    Annotations written as strings inside a function can be resolved only with that function's names.
    """
    return dict(_callers_frame().f_locals)


def callers_line() -> str:
    """Where the caller of the caller stands, as "file:line"."""
    frame = _callers_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
