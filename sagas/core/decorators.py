"""What `@saga.step(…)` and its like are: what was said in the parentheses, waiting for the function below them."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sagas.core.definition import AnyUnknown, StepKind
from sagas.core.drafts import Draft, EachDraft, StepDraft, check_build, check_participant, where_of
from sagas.core.flow import CompensatableEach, CompensatableStep, EachStep, Step, callers_locals
from sagas.core.messages import Command, Event
from sagas.core.participants import Participant
from sagas.core.retry import FOREVER, Retry
from sagas.errors import DefinitionError

D = TypeVar("D")
T = TypeVar("T")
R = TypeVar("R", bound=Event)


class Drafting(Protocol):
    """What a decorator needs of the saga that it is of."""

    name: str
    key: str

    def add(self, draft: Draft) -> None:
        """Take up a step."""
        ...


def milliseconds(saga: str, name: str, what: str, seconds: object, where: str) -> int:
    """So many seconds in milliseconds. Raises DefinitionError, for which the rest says `what` they are, and of whom."""
    if isinstance(seconds, int | float) and isfinite(seconds):
        return int(seconds * 1000)
    raise DefinitionError(saga, name, f"{what}={seconds!r} is no number of seconds", f"write {what}=30, say", where)


def _check_retry(saga: str, name: str, what: str, retry: object, where: str) -> None:
    if not isinstance(retry, Retry):
        raise DefinitionError(
            saga, name, f"{what}={retry!r} is no Retry", f"write {what}=Retry(attempts_max=3), say", where
        )


class Said:
    """How a step is to be carried out: what stands in its decorator's parentheses."""

    def __init__(
        self,
        saga: Drafting,
        kind: StepKind,
        to: Participant,
        timeout: float,
        unknown: AnyUnknown | None,
        resend: float | None,
        retry: Retry | None,
        undo_retry: Retry | None,
        leaves_nothing: bool,
        expires: bool = False,
        each: EachDraft | None = None,
    ) -> None:
        self._saga = saga
        self._kind: StepKind = kind
        self._to = to
        self._timeout = timeout
        self._unknown: AnyUnknown | None = unknown
        self._resend = resend
        self._retry = retry or Retry()
        self._undo_retry = undo_retry or FOREVER
        self._leaves_nothing = leaves_nothing
        self._expires = expires
        self._each = each

    def drafted(self, build: Callable[..., Command[Event]], namespace: Mapping[str, object]) -> StepDraft:
        """The step of this function, taken up by its saga. Raises DefinitionError."""
        name, where = getattr(build, "__name__", ""), where_of(build)
        for what, retry in (("retry", self._retry), ("undo_retry", self._undo_retry)):
            _check_retry(self._saga.name, name, what, retry, where)
        timeout_ms = milliseconds(self._saga.name, name, "timeout", self._timeout, where)
        resend_ms = max(1, timeout_ms // 3)
        if self._resend is not None:
            resend_ms = milliseconds(self._saga.name, name, "resend", self._resend, where)
        draft = StepDraft(
            saga=self._saga.name,
            key=self._saga.key,
            name=name,
            kind=self._kind,
            to=self._to,
            build=build,
            timeout_ms=timeout_ms,
            resend_ms=resend_ms,
            unknown=self._unknown,
            retry=self._retry,
            undo_retry=self._undo_retry,
            leaves_nothing=self._leaves_nothing,
            expires=self._expires,
            where=where,
            each=self._each,
        )
        check_participant(draft.saga, draft.name, draft.key, draft.to, draft.where)
        check_build(draft, namespace)
        self._saga.add(draft)
        return draft


class ForwardDecorator(Said, Generic[D]):
    """A step that cannot be undone."""

    def __call__(self, build: Callable[[D], Command[R]]) -> Step[D, R]:
        """Make a step of the function that builds its command."""
        return Step(self.drafted(build, callers_locals()))


class StepDecorator(Said, Generic[D]):
    """A step that can be undone."""

    def __call__(self, build: Callable[[D], Command[R]]) -> CompensatableStep[D, R]:
        """Make a step of the function that builds its command."""
        return CompensatableStep(self.drafted(build, callers_locals()))


class EachForwardDecorator(Said, Generic[D, T]):
    """A step that cannot be undone, for each item."""

    def __call__(self, build: Callable[[D, T], Command[R]]) -> EachStep[D, T, R]:
        """Make a step of the function that builds the command for an item."""
        return EachStep(self.drafted(build, callers_locals()))


class EachDecorator(Said, Generic[D, T]):
    """A step that can be undone, for each item."""

    def __call__(self, build: Callable[[D, T], Command[R]]) -> CompensatableEach[D, T, R]:
        """Make a step of the function that builds the command for an item."""
        return CompensatableEach(self.drafted(build, callers_locals()))


class Each(Generic[D, T]):
    """A list that is known at run time: `.step(…)` and `.retriable(…)` are done for each item. Made by `for_each`."""

    def __init__(self, saga: Drafting, each: EachDraft) -> None:
        self._saga = saga
        self._each = each

    def step(
        self,
        *,
        to: Participant,
        timeout: float,
        unknown: AnyUnknown | None = None,
        resend: float | None = None,
        retry: Retry | None = None,
        undo_retry: Retry | None = None,
        leaves_nothing: bool = False,
        expires: bool = False,
    ) -> EachDecorator[D, T]:
        """A compensatable step for each item, all at once; what is said is said of each. See `Saga.step`."""
        return EachDecorator(
            self._saga,
            "compensatable",
            to,
            timeout,
            unknown,
            resend,
            retry,
            undo_retry,
            leaves_nothing,
            expires,
            self._each,
        )

    def retriable(self, *, to: Participant, timeout: float, retry: Retry | None = None) -> EachForwardDecorator[D, T]:
        """A step after the pivot for each item, all at once. See `Saga.retriable`."""
        return EachForwardDecorator(
            self._saga, "retriable", to, timeout, "resend", timeout, retry or FOREVER, None, True, each=self._each
        )

    if not TYPE_CHECKING:  # for a type checker there is no such attribute at all

        def __getattr__(self, name: str) -> Any:
            if name == "pivot":
                raise DefinitionError(
                    self._saga.name,
                    "",
                    "a pivot cannot be done for each item: some could be done and others refused",
                    "decide by one pivot, and put `for_each(…).retriable` behind it",
                    self._each.where,
                )
            raise AttributeError(name)
