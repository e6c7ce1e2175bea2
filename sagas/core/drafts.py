"""A step while it is being written: what its decorators note, and what they refuse at once.

Every refusal names the saga, the step, the line and the remedy. Nothing of the user's is called:
all that is needed stands in annotations, class bodies and decorator arguments.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeGuard, cast, get_args

from sagas.core.definition import AnyUnknown, StepKind, Unknown
from sagas.core.instance import ITEM_KEY
from sagas.core.messages import CannotUndo, Command, Event, reply_types
from sagas.core.participants import Participant
from sagas.core.retry import Retry
from sagas.core.wellformed import message_problem, replies_problem
from sagas.errors import DefinitionError

NAME = re.compile(r"\A[A-Za-z][A-Za-z0-9_]{0,47}\Z")
"""Of sagas and steps: they are stored, sent in headers and drawn."""

_STEP_NAME = re.compile(rf"\A[A-Za-z][A-Za-z0-9_]{{0,47}}(/{ITEM_KEY})?\Z")

_NAMES_REMEMBERED = 512
"""A participant is told the same few in every command; items have ever other ones."""

NAMES_OF_THE_ENGINE = frozenset({"saga", "operator", "new", "start", "stuck", "completed", "compensated"})
"""The engine calls its own timers, moves and states so."""

TIMEOUT_MS_MAX = 366 * 24 * 3600 * 1000


@lru_cache(maxsize=_NAMES_REMEMBERED)
def is_step_name(text: str) -> bool:
    """Whether a header can say so: the name of a step, or of one of its items."""
    return _STEP_NAME.match(text) is not None


@dataclass(slots=True, eq=False, kw_only=True)
class Draft:
    """A leaf while its saga is being written: filled in by the decorators, read when the flow is closed."""

    saga: str
    name: str
    where: str

    def refuse(self, problem: str, remedy: str, where: str = "") -> DefinitionError:
        """The error that refuses this leaf."""
        return DefinitionError(self.saga, self.name, problem, remedy, where or self.where)


@dataclass(frozen=True, slots=True, kw_only=True)
class EachDraft:
    """What a step is done for, while its saga is being written: the functions that list it and name an item."""

    listed: Callable[[Any], Iterable[Any]]
    key: Callable[[Any], str]
    at_most: int
    item_type: Any
    where: str


@dataclass(slots=True, eq=False, kw_only=True)
class StepDraft(Draft):
    """A step while its saga is being written."""

    key: str
    kind: StepKind
    to: Participant
    build: Callable[..., Command[Event]]
    timeout_ms: int
    resend_ms: int
    unknown: AnyUnknown | None
    retry: Retry
    undo_retry: Retry
    leaves_nothing: bool
    expires: bool
    command_type: type[Command[Any]] | None = None
    replies: tuple[type[Event], ...] = ()
    fold: Callable[..., Any] | None = None
    undo_build: Callable[..., Command[Event]] | None = None
    undo_type: type[Command[Any]] | None = None
    undo_where: str = ""
    writes: tuple[str, ...] | None = None
    each: EachDraft | None = None

    @property
    def seen(self) -> tuple[str, ...]:
        """What its functions are given, as it is written."""
        return ("data: D",) if self.each is None else ("data: D", "item: T")


def check_name(draft: Draft) -> None:
    """Refuse a name that cannot be stored, sent and drawn, or that the engine uses itself."""
    name = draft.name
    if not NAME.match(name):
        raise draft.refuse(
            "its function has no plain name", "write it as `def reserve(…)`: the name is the step's name for ever"
        )
    if "__" in name or name.endswith("_"):
        raise draft.refuse("its name would break a drawing", "use single underscores, between letters")
    if name in NAMES_OF_THE_ENGINE:
        raise draft.refuse(
            "its name is one of the engine's own", f"call it something else, `{name}_order` for instance"
        )


def check_build(draft: StepDraft, namespace: Mapping[str, object]) -> None:
    """Read the command off a step's function, and refuse what its decorator says wrong."""
    check_name(draft)
    draft.command_type = _command_of(draft, draft.build, namespace)
    draft.replies = reply_types(draft.command_type)
    unsayable = next((reply for reply in draft.replies if issubclass(reply, CannotUndo)), None)
    if unsayable is not None:
        raise draft.refuse(
            f"it is answered {unsayable.__name__}, which only an undo can be", "declare it on the undo's command"
        )
    if draft.kind == "pivot" and draft.unknown == "undo":
        raise draft.refuse("a pivot cannot be undone", 'say unknown="ask" or unknown="hold"')
    if draft.unknown is None:
        raise draft.refuse(
            "it can time out and does not say what an unknown outcome means",
            'add unknown="undo" (the barrier makes it safe), "ask" or "hold"',
        )
    if draft.unknown not in get_args(Unknown) and draft.kind != "retriable":
        raise draft.refuse(f"unknown={draft.unknown!r} has no meaning", f"use one of {', '.join(get_args(Unknown))}")
    if draft.expires and draft.unknown != "undo":
        raise draft.refuse(
            f'it expires and is waited for all the same: unknown="{draft.unknown}"',
            'say unknown="undo", or not expires',
        )
    if not 0 < draft.timeout_ms <= TIMEOUT_MS_MAX:
        raise draft.refuse(f"timeout of {draft.timeout_ms} ms is out of range", "give seconds between 0.001 and a year")
    if draft.resend_ms <= 0:
        raise draft.refuse(f"resend of {draft.resend_ms} ms is out of range", "give seconds above 0.001")


def check_undo(draft: StepDraft, build: Callable[..., Command[Event]], namespace: Mapping[str, object]) -> None:
    """Take up a step's undo."""
    where = where_of(build)
    if draft.undo_build is not None:
        raise draft.refuse(f"it has two undos, the first at {draft.undo_where}", "keep one", where)
    if draft.leaves_nothing:
        raise draft.refuse("it says leaves_nothing and has an undo", "keep one of the two", where)
    draft.undo_type = _command_of(draft, build, namespace)
    draft.undo_build, draft.undo_where = build, where


def check_fold(draft: StepDraft, fold: Callable[..., Any], namespace: Mapping[str, object]) -> None:
    """Take up a step's fold, and refuse one that leaves out a reply."""
    where = where_of(fold)
    if draft.fold is not None:
        raise draft.refuse("it has two folds for its replies", "keep one", where)
    parameters = list(signature_of(draft, fold, namespace).parameters.values())
    is_open = bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL
    if len(parameters) != len(draft.seen) + 1 and not is_open:
        raise draft.refuse(
            f"its fold takes {len(parameters)} parameters",
            f"write it as `def _({', '.join(draft.seen)}, reply: A | B) -> D`",
            where,
        )
    handled = parameters[-1].annotation
    members = get_args(handled) or (handled,)
    for reply in draft.replies:
        if not any(m is object or (isinstance(m, type) and issubclass(reply, m)) for m in members):
            raise draft.refuse(
                f"nobody handles its reply {reply.__name__}",
                f"add it to the fold's annotation: `reply: {' | '.join(r.__name__ for r in draft.replies)}`",
                where,
            )
    draft.fold = fold


def check_start(saga: str, key: str, fold: Callable[[Any], Any], namespace: Mapping[str, object]) -> type[Event]:
    """The event a start function begins with."""
    where = where_of(fold)
    try:
        signature = resolve(fold, namespace)
    except NameError as error:
        raise DefinitionError(saga, "", f"its start cannot be read: {error}", UNRESOLVED, where) from None
    annotations = [p.annotation for p in signature.parameters.values()]
    if len(annotations) != 1 or not (isinstance(annotations[0], type) and issubclass(annotations[0], Event)):
        raise DefinitionError(
            saga, "", "its start takes no event", "write `def begin(event: OrderCreated) -> D`", where
        )
    event_type = annotations[0]
    problem = message_problem(event_type, key)
    if problem:
        raise DefinitionError(saga, "", f"its start event {event_type.__name__} {problem[0]}", problem[1], where)
    return event_type


def check_participant(saga: str, name: str, key: str, participant: Participant, where: str) -> None:
    """Refuse what is no participant, and one that reads another business key: neither side could read the other."""
    given = cast("object", participant)
    if not isinstance(given, Participant):
        raise DefinitionError(
            saga,
            name,
            f"{given!r} is no participant",
            f'write Participant("{given}", key="{key}")' if isinstance(given, str) else "name a Participant",
            where,
        )
    if participant.key != key:
        raise DefinitionError(
            saga,
            name,
            f"participant {participant.name!r} has the business key {participant.key!r}, the saga {key!r}",
            f'write Participant("{participant.name}", key="{key}"), or give the saga another `key=`',
            where,
        )


UNRESOLVED = "define the class above the function, at module level"


def _command_of(
    draft: StepDraft, build: Callable[..., Command[Event]], namespace: Mapping[str, object]
) -> type[Command[Any]]:
    where = where_of(build)
    signature = signature_of(draft, build, namespace)
    if inspect.iscoroutinefunction(build):
        raise draft.refuse("its function is async, and nobody would await it", "write it without `async`", where)
    if len(signature.parameters) != len(draft.seen):
        raise draft.refuse(
            f"its function takes {len(signature.parameters)} parameters",
            f"write it as `def {draft.name}({', '.join(draft.seen)}) -> Command`",
            where,
        )
    returned = signature.return_annotation
    if not _is_command_type(returned):
        is_said = returned is not inspect.Signature.empty
        said = f": {getattr(returned, '__name__', returned)} is none" if is_said else ""
        raise draft.refuse(
            f"its function does not say which command it returns{said}",
            "annotate it: `-> ReserveInventory`, which is a `Command[Done | Refused]`",
            where,
        )
    command_type = returned
    problem = replies_problem(command_type)
    if problem:
        raise draft.refuse(f"command {command_type.__name__} {problem[0]}", problem[1], where)
    for message_type in (command_type, *reply_types(command_type)):
        if message_type is CannotUndo:
            continue
        problem = message_problem(message_type, draft.key)
        if problem:
            raise draft.refuse(f"message {message_type.__name__} {problem[0]}", problem[1], where)
    return command_type


def _is_command_type(annotation: object) -> TypeGuard[type[Command[Any]]]:
    return isinstance(annotation, type) and issubclass(annotation, Command)


def signature_of(draft: Draft, function: Callable[..., object], namespace: Mapping[str, object]) -> inspect.Signature:
    """The same of a function of `draft`. Raises DefinitionError for an annotation that cannot be read."""
    try:
        return resolve(function, namespace)
    except NameError as error:
        raise draft.refuse(f"an annotation cannot be read: {error}", UNRESOLVED, where_of(function)) from None


def resolve(function: Callable[..., object], namespace: Mapping[str, object]) -> inspect.Signature:
    """The signature with its annotations read. Raises NameError."""
    return inspect.signature(function, eval_str=True, locals=namespace)


def where_of(function: Callable[..., object]) -> str:
    """The line of a function, as "file:line"."""
    if function.__module__ == "sagas.core.flow":
        return ""  # our own `unchanged`: the step's line says more than ours
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
