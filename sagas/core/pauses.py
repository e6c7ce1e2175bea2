"""Waits, delays and decisions while they are being written: what their functions say, and what is refused at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from sagas.core.definition import Absence
from sagas.core.drafts import TIMEOUT_MS_MAX, Draft, check_name, signature_of, where_of
from sagas.core.messages import Event, Rejection
from sagas.core.purity import constant, impurity
from sagas.core.wellformed import message_problem
from sagas.errors import DefinitionError


@dataclass(slots=True, eq=False, kw_only=True)
class WaitDraft(Draft):
    """A wait while its saga is being written."""

    topic: str
    fold: Callable[[Any, Any], Any]
    timeout_ms: int
    absence: Absence | None
    signals: tuple[type[Event], ...] = ()
    writes: tuple[str, ...] | None = None

    @property
    def can_refuse(self) -> bool:
        """Whether it can turn the run back."""
        return self.absence == "refusal" or any(issubclass(signal, Rejection) for signal in self.signals)


@dataclass(slots=True, eq=False, kw_only=True)
class DelayDraft(Draft):
    """A delay while its saga is being written."""

    seconds: Callable[[Any], float]


@dataclass(slots=True, eq=False, kw_only=True)
class ChoiceDraft(Draft):
    """A decision while its saga is being written."""

    test: Callable[[Any], bool]


def check_wait(draft: WaitDraft, key: str, namespace: Mapping[str, object]) -> None:
    """Read the signals off a wait's function, and refuse what its decorator says wrong."""
    check_name(draft)
    if draft.absence is None:
        raise draft.refuse(
            "it does not say what it means that no signal comes",
            'add absence="refusal" (turn back), "consent" (go on) or "hold" (wait for a person)',
        )
    if draft.absence not in get_args(Absence):
        meanings = ", ".join(f'"{meaning}"' for meaning in get_args(Absence))
        raise draft.refuse(
            f"absence={draft.absence!r} does not say what it means that no signal comes", f"use one of {meanings}"
        )
    if not 0 < draft.timeout_ms <= TIMEOUT_MS_MAX:
        raise draft.refuse(f"timeout of {draft.timeout_ms} ms is out of range", "give seconds between 0.001 and a year")
    parameters = list(signature_of(draft, draft.fold, namespace).parameters.values())
    members: tuple[Any, ...] = ()
    if len(parameters) == 2:
        members = get_args(parameters[1].annotation) or (parameters[1].annotation,)
    if not members or not all(isinstance(m, type) and issubclass(m, Event) for m in members):
        raise draft.refuse(
            "its function takes no signal", "write `def approval(data: D, signal: Approved | Denied) -> D`"
        )
    for signal in members:
        problem = message_problem(signal, key)
        if problem:
            raise draft.refuse(f"signal {signal.__name__} {problem[0]}", problem[1])
    if all(issubclass(signal, Rejection) for signal in members) and draft.absence != "consent":
        raise draft.refuse(
            "no signal lets the run go on", 'add one that is no Rejection, or say absence="consent": silence is consent'
        )
    draft.signals = members


def check_delay(draft: DelayDraft, namespace: Mapping[str, object]) -> None:
    """Refuse a delay whose function says something else than how long."""
    check_name(draft)
    signature = signature_of(draft, draft.seconds, namespace)
    if len(signature.parameters) != 1 or signature.return_annotation not in (int, float):
        raise draft.refuse("its function does not say how long", "write `def pause(data: D) -> float:` in seconds")
    _refuse_impure(draft, draft.seconds, "how long it takes")


def check_choice(draft: ChoiceDraft, namespace: Mapping[str, object]) -> None:
    """Refuse a predicate that does not depend on the saga's data alone."""
    check_name(draft)
    signature = signature_of(draft, draft.test, namespace)
    if len(signature.parameters) != 1 or signature.return_annotation is not bool:
        raise draft.refuse("its function is no predicate", "write `def is_abroad(data: D) -> bool:`")
    _refuse_impure(draft, draft.test, "the decision")
    said = constant(draft.test)
    if said is not None:
        raise draft.refuse(
            f"it always says {said}: the other branch is never reached", "decide by the data, or remove the branch"
        )


def _refuse_impure(draft: Draft, function: Callable[..., object], what: str) -> None:
    found = impurity(function)
    if found:
        raise draft.refuse(
            f"{found}: {what} must follow from the saga's data alone, or deciding again decides otherwise",
            "fold what it needs into the data first",
        )


def plain_name(function: Callable[..., object], saga: str) -> str:
    """The name of a function, which is the leaf's for ever. Raises DefinitionError for one that has none."""
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        raise DefinitionError(
            saga,
            "",
            "a part of the flow has no name",
            "write it as `def is_abroad(data: D) -> bool:`",
            where_of(function),
        )
    return name
