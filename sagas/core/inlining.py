"""A saga as a part of another: its steps become the parent's, under a longer name.

Theory of operation. A sub-saga has no instance of its own. Its steps stand in the parent's course and ledger, as
`returns_pick_up` for step `pick_up` of the part `returns`, and its data in the parent's field `returns`. So what
it did stays undoable until the parent has settled, a cancel finds it wherever it is, and it cannot be started
twice: there is one run. What its functions see is their own data, made by the decorated function until
the first of their folds has written it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from sagas.core.course import Both, Course, Fork, Leaf, Then, Ways
from sagas.core.drafts import Draft, StepDraft
from sagas.core.pauses import ChoiceDraft, DelayDraft, WaitDraft
from sagas.core.source import writes_of

Begin = Callable[[Any], Any]


def inlined_course(course: Course, part: str) -> Course:
    """The child's course with the names its leaves have in the parent."""
    match course:
        case Leaf():
            return Leaf(inlined_name(part, course.name), course.begins)
        case Fork():
            head = Leaf(inlined_name(part, course.head.name), course.head.begins)
            return Fork(head, tuple((word, inlined_course(branch, part)) for word, branch in course.branches))
        case Then():
            return Then(tuple(inlined_course(inner, part) for inner in course.parts))
        case Both():
            return Both(tuple(inlined_course(inner, part) for inner in course.parts))
        case Ways():
            return Ways(tuple(inlined_course(inner, part) for inner in course.parts))


def inlined_name(part: str, name: str) -> str:
    """What a child's leaf is called in the parent."""
    return f"{part}_{name}"


def inlined_draft(draft: Draft, saga: str, part: str, begin: Begin) -> Draft:
    """The child's draft as one of the parent's: its functions are shown their own data."""
    name = inlined_name(part, draft.name)

    def seen(data: Any) -> Any:
        own = getattr(data, part)
        return begin(data) if own is None else own

    def on_own(function: Callable[..., Any]) -> Callable[..., Any]:
        def shown(data: Any, *item: Any) -> Any:
            return function(seen(data), *item)

        return shown

    def folded(fold: Callable[..., Any]) -> Callable[..., Any]:
        def kept(data: Any, *said: Any) -> Any:
            return msgspec.structs.replace(data, **{part: fold(seen(data), *said)})

        return kept

    match draft:
        case StepDraft():
            return replace(
                draft,
                name=name,
                saga=saga,
                build=on_own(draft.build),
                fold=folded(draft.fold) if draft.fold is not None else None,
                undo_build=on_own(draft.undo_build) if draft.undo_build is not None else None,
                writes=_writes(draft, part),
                each=replace(draft.each, listed=on_own(draft.each.listed)) if draft.each is not None else None,
            )
        case WaitDraft():
            return replace(draft, name=name, saga=saga, fold=folded(draft.fold), writes=_writes(draft, part))
        case DelayDraft():
            return replace(draft, name=name, saga=saga, seconds=on_own(draft.seconds))
        case ChoiceDraft():
            return replace(draft, name=name, saga=saga, test=on_own(draft.test))
        case _:
            raise AssertionError(f"no leaf is drafted as {type(draft).__name__}")


def _writes(draft: StepDraft | WaitDraft, part: str) -> tuple[str, ...]:
    """The fields within the part that it writes; the whole part when its source does not say."""
    own = draft.writes
    if own is None:
        read = writes_of(draft.fold) if draft.fold is not None else frozenset[str]()
        own = tuple(sorted(read)) if read is not None else None
    return (part,) if own is None else tuple(f"{part}.{field}" for field in own)
