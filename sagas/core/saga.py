"""Writing a saga: decorated module-level functions on a `Saga`, joined into a flow.

Theory of operation. Each decorator only notes what it is given and checks what can be checked there;
`Saga.flow` closes the definition, checks the whole and compiles it. So whatever is wrong is refused
while the module is imported, with the step, the line and the remedy, and no user code has run.
How parts are joined stands in `sagas/core/flow.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, cast

from sagas.core.compile import compile_saga
from sagas.core.course import Fork, Leaf
from sagas.core.decorators import Each, ForwardDecorator, StepDecorator, milliseconds
from sagas.core.definition import Absence, Definition, StartSpec, Unknown
from sagas.core.drafts import NAME, TIMEOUT_MS_MAX, Draft, check_name, check_participant, check_start, where_of
from sagas.core.flow import Delay, Flow, Wait, callers_line, callers_locals, check_part
from sagas.core.inlining import inlined_course, inlined_draft
from sagas.core.listing import listing
from sagas.core.messages import Event
from sagas.core.outcomes import NO, YES
from sagas.core.participants import Participant
from sagas.core.pauses import ChoiceDraft, DelayDraft, WaitDraft, check_choice, check_delay, check_wait, plain_name
from sagas.core.retry import FOREVER, Retry
from sagas.errors import DefinitionError

C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E", bound=Event)
T = TypeVar("T")
R = TypeVar("R", bound=Event)


class Saga(Generic[D]):
    """A saga: its name, its own data, its steps and their course.

    `key` is the field that holds the business key in every message, "<name>_id" when not given.
    `deadline` in seconds bounds the way to the pivot: past it a run turns back; None: no bound. `renames` says what
    earlier versions called a step, wait, delay or decision: `renames={"pay": "charge"}`, so that their runs can go on
    under this one.
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
        if not isinstance(cast("object", name), str) or not NAME.match(name):
            said = 'use letters, digits and _, beginning with a letter: `Saga("trip", Trip, version=1)`'
            raise DefinitionError(str(name), "", "is no name", said, callers_line())
        self.name = name
        self.version = version
        self.key = key or f"{name}_id"
        self._data_type = data_type
        self._renames = dict(renames or {})
        self._deadline_ms = 0
        if deadline is not None:
            self._deadline_ms = milliseconds(name, "", "deadline", deadline, callers_line())
            if not 0 < self._deadline_ms <= TIMEOUT_MS_MAX:
                said = f"deadline of {self._deadline_ms} ms is out of range"
                raise DefinitionError(name, "", said, "give seconds between 0.001 and a year, or none", callers_line())
        self._drafts: dict[str, Draft] = {}
        self._start: StartSpec | None = None
        self._course: Flow[D] | None = None
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
                raise DefinitionError(self.name, "", "has two starts", "keep one", where_of(fold))
            check_participant(self.name, "", self.key, on, where_of(fold))
            event_type = check_start(self.name, self.key, fold, callers_locals())
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
    ) -> StepDecorator[D]:
        """A compensatable step: carried out by `to`, answered within `timeout` seconds or unknown.

        `unknown` says what happens then. Until then the command is sent again every `resend` seconds
        (a third of the timeout by default) under the same id. `retry` is for faults the participant
        reports, `undo_retry` for those of its undo. `leaves_nothing` is for a step without effects
        outside, which needs no undo. `expires` is for what is better not done than done late: a participant
        that reads the command after its timeout refuses it for good. Its clock and the orchestrator's must agree.
        """
        return StepDecorator(
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
    ) -> ForwardDecorator[D]:
        """The step that decides: once it is done nothing is undone any more. `unknown` is "ask" or "hold"."""
        return ForwardDecorator(self, "pivot", to, timeout, unknown, resend, retry, None, True)

    def retriable(self, *, to: Participant, timeout: float, retry: Retry | None = None) -> ForwardDecorator[D]:
        """A step after the pivot: it cannot be refused, and is sent again every `timeout` seconds until done."""
        return ForwardDecorator(self, "retriable", to, timeout, "resend", timeout, retry or FOREVER, None, True)

    def for_each(self, items: Callable[[D], Iterable[T]], *, key: Callable[[T], str], at_most: int) -> Each[D, T]:
        """A list from the saga's data, whose items a step is done for: `@saga.for_each(parcels, …).step(…)`.

        `items` is asked once, when the run comes there, and what it said is kept; no items at all is done at once.
        `key` names an item: its command, ledger and timer are found by it. Two items with one key, or more than
        `at_most` (1 to 1,000), turn the run back before anything is sent; behind the pivot it is stuck then.
        """
        return Each(self, listing(self.name, items, key, at_most, callers_locals()))

    def wait(
        self, *, on: Participant, timeout: float, absence: Absence | None = None
    ) -> Callable[[Callable[[D, R], D]], Wait[D, R]]:
        """Wait for a signal: an event on the topic `on.events` with the run's business key, from whoever publishes it.

        The decorated function folds the signal into the data, and its annotation says which events are taken
        for one; a Rejection turns the run back. `absence` says what it means that none came in `timeout` seconds:
        "refusal" turns back, "consent" goes on, "hold" waits for a person; it has to be given. A signal that comes
        before the run is here is kept; the first one counts.
        """

        def decorate(fold: Callable[[D, R], D]) -> Wait[D, R]:
            name, where = plain_name(fold, self.name), where_of(fold)
            check_participant(self.name, name, self.key, on, where)
            draft = WaitDraft(
                saga=self.name,
                name=name,
                where=where,
                topic=on.events,
                fold=fold,
                timeout_ms=milliseconds(self.name, name, "timeout", timeout, where),
                absence=absence,
            )
            check_wait(draft, self.key, callers_locals())
            self.add(draft)
            return Wait(draft)

        return decorate

    def delay(self, seconds: Callable[[D], float]) -> Delay[D]:
        """Pause for as many seconds as the decorated function says of the data."""
        draft = DelayDraft(
            saga=self.name, name=plain_name(seconds, self.name), where=where_of(seconds), seconds=seconds
        )
        check_delay(draft, callers_locals())
        self.add(draft)
        return Delay(draft)

    def when(
        self, test: Callable[[D], bool], then: Flow[D], otherwise: Flow[D] | None = None, *, name: str = ""
    ) -> Flow[D]:
        """A branch: `then` if the predicate says so of the data, else `otherwise`, or nothing.

        The predicate must depend on the data alone. It is asked once a run; its name is stored and drawn.
        """
        draft = ChoiceDraft(saga=self.name, name=name or plain_name(test, self.name), where=where_of(test), test=test)
        check_choice(draft, callers_locals())
        self.add(draft)
        branches = ((YES, then.course),) if otherwise is None else ((YES, then.course), (NO, otherwise.course))
        drafts = (draft, *then.drafts, *(otherwise.drafts if otherwise is not None else ()))
        return Flow(Fork(Leaf(draft.name, "deciding"), branches), drafts)

    def part(self, child: "Saga[C]") -> Callable[[Callable[[D], C]], Flow[D]]:
        """A sub-saga: the whole course of `child`, whose effects stay undoable until this saga has settled.

        The decorated function makes the child's data of this saga's. They are kept in the field that is called like
        the function, `returns: Returns | None = None`; the child's steps are called `returns_…`.
        """

        def decorate(begin: Callable[[D], C]) -> Flow[D]:
            name, where = plain_name(begin, self.name), where_of(begin)
            course = self._check_part(child, name, where)
            drafts = tuple(inlined_draft(draft, self.name, name, begin) for draft in course.drafts)
            for draft in drafts:
                check_name(draft)
                self.add(draft)
            return Flow(inlined_course(course.course, name), drafts)

        return decorate

    def _check_part(self, child: "Saga[C]", name: str, where: str) -> Flow[C]:
        if child._course is None:
            raise DefinitionError(self.name, name, f"saga {child.name!r} has no flow yet", "close it first", where)
        if child.key != self.key:
            raise DefinitionError(
                self.name,
                name,
                f"saga {child.name!r} has the business key {child.key!r}, this one {self.key!r}",
                "give both the same key: their messages carry it",
                where,
            )
        if name not in getattr(self._data_type, "__struct_fields__", ()):
            raise DefinitionError(
                self.name,
                name,
                f"{self._data_type.__name__} has no field {name!r} to keep its data in",
                f"add `{name}: {child._data_type.__name__} | None = None`",
                where,
            )
        return child._course

    def flow(self, course: Flow[D]) -> None:
        """Close the definition: check it as a whole and compile it. Raises DefinitionError."""
        if self._definition is not None:
            raise DefinitionError(self.name, "", "has two flows", "keep one", callers_line())
        check_part(course, self.name, "", "its flow is", callers_line())
        self._course = course
        self._definition = compile_saga(
            name=self.name,
            version=self.version,
            key=self.key,
            data_type=self._data_type,
            start=self._start,
            deadline_ms=self._deadline_ms,
            drafts=self._drafts,
            course=course.course,
            passed=course.drafts,
            renames=self._renames,
            where=callers_line(),
        )

    def add(self, draft: Draft) -> None:
        """Take up a step, wait, delay or decision. Called by the decorators."""
        if self._definition is not None:
            raise DefinitionError(
                self.name,
                draft.name,
                "it comes after saga.flow(…), and no run would ever come to it",
                "write it above, and name it in the flow",
                draft.where,
            )
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
