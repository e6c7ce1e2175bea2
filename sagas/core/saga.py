"""Writing a saga: decorated module-level functions on a `Saga`, joined into a flow.

Theory of operation. Each decorator only notes what it is given and checks what can be checked there;
`Saga.flow` closes the definition, checks the whole and compiles it. So whatever is wrong is refused
while the module is imported, with the step, the line and the remedy, and no user code has run.

The types do their share: `D` is the saga's data and `R` the union of a step's replies, so that mypy
and pyright refuse the reply of another step, a reply left out of a match, a step that returns no
command, and steps of two sagas joined. A pivot has no `undo` to decorate with.
"""

import inspect
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sagas.core.compile import compile_saga
from sagas.core.definition import Definition, StartSpec, StepKind, Unknown
from sagas.core.drafts import FlowParts, StepDraft, check_build, check_fold, check_start, check_undo
from sagas.core.messages import Command, Event
from sagas.core.participants import Participant
from sagas.core.retry import FOREVER, Retry
from sagas.errors import DefinitionError

D = TypeVar("D")
E = TypeVar("E", bound=Event)
R = TypeVar("R", bound=Event)


def unchanged(data: D, reply: Event) -> D:
    """A fold that keeps nothing of the reply: `ship.reply(unchanged)`."""
    return data


class Flow(Generic[D]):
    """A part of a saga's course: a step, or parts joined by `>>`."""

    def __init__(self, parts: FlowParts) -> None:
        self.parts = parts

    def __rshift__(self, after: "Flow[D]") -> "Flow[D]":
        """This part, then `after`."""
        return Flow((*self.parts, *after.parts))


class Step(Flow[D], Generic[D, R]):
    """One step of a saga. Made by `Saga.step`, `Saga.pivot` and `Saga.retriable`."""

    def __init__(self, draft: StepDraft) -> None:
        super().__init__((draft,))
        self.draft = draft

    def reply(self, fold: Callable[[D, R], D]) -> Callable[[D, R], D]:
        """Say what a reply changes in the saga's data. Must take every reply of the step's command."""
        check_fold(self.draft, fold, _callers_locals())
        return fold

    if not TYPE_CHECKING:  # for a type checker there is no such attribute at all

        def __getattr__(self, name: str) -> Any:
            if name == "undo":
                raise DefinitionError(
                    self.draft.saga,
                    self.draft.name,
                    f"a {self.draft.kind} step cannot be undone",
                    "remove its undo, or make it `@saga.step` and put it before the pivot",
                    _callers_line(),
                )
            raise AttributeError(name)


class CompensatableStep(Step[D, R]):
    """A step that can be undone."""

    def undo(self, build: Callable[[D], Command[Event]]) -> Callable[[D], Command[Event]]:
        """Say which command undoes the step. It is sent until it is answered."""
        check_undo(self.draft, build, _callers_locals())
        return build


class Saga(Generic[D]):
    """A saga: its name, its own data, its steps and their course.

    `key` is the field that holds the business key in every message, "<name>_id" when not given.
    `deadline` in seconds bounds the way to the pivot: past it a run turns back; None: no bound. `renames` says what
    earlier versions called a step: `renames={"pay": "charge"}`, so that their runs can go on under this one.
    """

    def __init__(
        self,
        name: str,
        data_type: type[D],
        *,
        version: int,
        key: str = "",
        deadline: float | None = None,
        renames: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.key = key or f"{name}_id"
        self._data_type = data_type
        self._renames = dict(renames or {})
        self._deadline_ms = int((deadline or 0) * 1000)
        self._drafts: dict[str, StepDraft] = {}
        self._start: StartSpec | None = None
        self._definition: Definition | None = None

    @property
    def definition(self) -> Definition:
        """The compiled saga. Raises DefinitionError before `flow` was called."""
        if self._definition is None:
            raise DefinitionError(self.name, "", "has no flow", "end its module with saga.flow(first >> second)")
        return self._definition

    def start(self, *, on: Participant) -> Callable[[Callable[[E], D]], Callable[[E], D]]:
        """Begin a run with each event of the decorated function's type on the topic `on.events`."""

        def decorate(fold: Callable[[E], D]) -> Callable[[E], D]:
            if self._start is not None:
                raise DefinitionError(self.name, "", "has two starts", "keep one", _line_of(fold))
            event_type = check_start(self.name, self.key, fold, _callers_locals())
            self._start = StartSpec(event_type, on.events, fold)
            return fold

        return decorate

    def step(
        self,
        *,
        to: Participant,
        timeout: float,
        unknown: Unknown | None = None,
        resend: float | None = None,
        retry: Retry | None = None,
        undo_retry: Retry | None = None,
        leaves_nothing: bool = False,
        expires: bool = False,
    ) -> "_StepDecorator[D]":
        """A compensatable step: carried out by `to`, answered within `timeout` seconds or unknown.

        `unknown` says what happens then. Until then the command is sent again every `resend` seconds
        (a third of the timeout by default) under the same id. `retry` is for faults the participant
        reports, `undo_retry` for those of its undo. `leaves_nothing` is for a step without effects
        outside, which needs no undo. `expires` is for what is better not done than done late: a participant
        that reads the command after its timeout refuses it for good. Its clock and the orchestrator's must agree.
        """
        return _StepDecorator(
            self, "compensatable", to, timeout, unknown, resend, retry, undo_retry, leaves_nothing, expires
        )

    def pivot(
        self,
        *,
        to: Participant,
        timeout: float,
        unknown: Unknown | None = None,
        resend: float | None = None,
        retry: Retry | None = None,
    ) -> "_ForwardDecorator[D]":
        """The step that decides: once it is done nothing is undone any more. `unknown` is "ask" or "hold"."""
        return _ForwardDecorator(self, "pivot", to, timeout, unknown, resend, retry, None, True)

    def retriable(self, *, to: Participant, timeout: float, retry: Retry | None = None) -> "_ForwardDecorator[D]":
        """A step after the pivot: it cannot be refused, and is sent again every `timeout` seconds until done."""
        return _ForwardDecorator(self, "retriable", to, timeout, "resend", timeout, retry or FOREVER, None, True)

    def flow(self, course: Flow[D]) -> None:
        """Close the definition: check it as a whole and compile it. Raises DefinitionError."""
        self._definition = compile_saga(
            name=self.name,
            version=self.version,
            key=self.key,
            data_type=self._data_type,
            start=self._start,
            deadline_ms=self._deadline_ms,
            drafts=self._drafts,
            course=course.parts,
            renames=self._renames,
            where=_callers_line(),
        )

    def add(self, draft: StepDraft) -> None:
        """Take up a step. Called by the decorators."""
        known = self._drafts.get(draft.name)
        if known is not None:
            raise DefinitionError(
                self.name,
                draft.name,
                f"two steps have this name, the first at {known.where}",
                "rename one",
                draft.where,
            )
        self._drafts[draft.name] = draft


class _ForwardDecorator(Generic[D]):
    def __init__(
        self,
        saga: Saga[D],
        kind: StepKind,
        to: Participant,
        timeout: float,
        unknown: Unknown | None,
        resend: float | None,
        retry: Retry | None,
        undo_retry: Retry | None,
        leaves_nothing: bool,
        expires: bool = False,
    ) -> None:
        self._saga = saga
        self._kind: StepKind = kind
        self._to = to
        self._timeout_ms = int(timeout * 1000)
        self._unknown: Unknown | None = unknown
        self._resend_ms = int((timeout / 3 if resend is None else resend) * 1000)
        self._retry = retry or Retry()
        self._undo_retry = undo_retry or FOREVER
        self._leaves_nothing = leaves_nothing
        self._expires = expires

    def __call__(self, build: Callable[[D], Command[R]]) -> Step[D, R]:
        return Step(self._draft(build, _callers_locals()))

    def _draft(self, build: Callable[[D], Command[R]], namespace: dict[str, object]) -> StepDraft:
        draft = StepDraft(
            saga=self._saga.name,
            key=self._saga.key,
            name=getattr(build, "__name__", ""),
            kind=self._kind,
            to=self._to,
            build=build,
            timeout_ms=self._timeout_ms,
            resend_ms=self._resend_ms,
            unknown=self._unknown,
            retry=self._retry,
            undo_retry=self._undo_retry,
            leaves_nothing=self._leaves_nothing,
            expires=self._expires,
            where=_line_of(build),
        )
        check_build(draft, namespace)
        self._saga.add(draft)
        return draft


class _StepDecorator(_ForwardDecorator[D]):
    def __call__(self, build: Callable[[D], Command[R]]) -> CompensatableStep[D, R]:
        return CompensatableStep(self._draft(build, _callers_locals()))


def _line_of(function: Callable[..., object]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def _callers_frame() -> FrameType:
    # Two up from whoever asks: past the decorator's own method, where the user's code stands.
    frame = inspect.currentframe()
    for _ in range(3):
        assert frame is not None
        frame = frame.f_back
    assert frame is not None
    return frame


def _callers_locals() -> dict[str, object]:
    # Annotations written as strings inside a function can be resolved only with that function's names.
    return dict(_callers_frame().f_locals)


def _callers_line() -> str:
    frame = _callers_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
