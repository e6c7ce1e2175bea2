"""What the saga's functions read must have been written before, and what runs in parallel must write apart.

Theory of operation. A field that the start does not give and that only a fold fills in is unset until that fold
has run. A command or an undo built before that is possible would be built from the default, and nobody would notice:
it is refused. What a function's source does not show is believed to be right (`sagas/core/source.py`), except in
parallel branches: there the order of the answers decides which of two folds is the last, so they have to say it. Items
of a fan-out are answered in any order, too: a fold that sets a field which it never reads keeps only the last answer.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, permutations
from typing import Any

from sagas.core.course import Both, Course, Fork, Leaf, index_of
from sagas.core.definition import StartSpec
from sagas.core.drafts import Draft, StepDraft, where_of
from sagas.core.pauses import WaitDraft
from sagas.core.retreat import Relation, relation
from sagas.core.source import Fields, given_of, overwritten_by, reads_of, writes_of
from sagas.errors import DefinitionError


def check_data_flow(course: Course, drafts: Mapping[str, Draft], start: StartSpec, data_type: type[Any]) -> None:
    """Refuse what reads a field before it can be set, and parallel branches that write the same one."""
    for both in _parallel(course):
        _check_lanes(both, drafts)
    for draft in drafts.values():
        if isinstance(draft, StepDraft) and draft.each is not None and draft.fold is not None:
            _refuse_overwriting(draft, draft.fold)
    given = given_of(start.fold, data_type)
    if given is None:
        return
    written = {name: _writes(draft) for name, draft in drafts.items()}
    if any(fields is None for fields in written.values()):
        return
    of_folds = frozenset(field for fields in written.values() for field in fields or ())
    for name, draft in drafts.items():
        if isinstance(draft, StepDraft):
            before = _set_by(course, name, written, "before")
            _check_reads(draft, draft.build, of_folds - given - before, "its command")
            if draft.each is not None:
                _check_reads(draft, draft.each.listed, of_folds - given - before, "its list")
            if draft.undo_build is not None:
                own = _set_by(course, name, written, "same", "before", "beside")
                _check_reads(draft, draft.undo_build, of_folds - given - own, "its undo")


def _refuse_overwriting(draft: StepDraft, fold: Callable[..., Any]) -> None:
    """Refuse a fold of items that keeps only what the last of them was answered."""
    lost = sorted(overwritten_by(fold))
    if lost:
        raise draft.refuse(
            f"its fold sets {', '.join(lost)} without reading it: the answer about each item overwrites the last one's",
            f"add to it: `replace(data, {lost[0]}={{**data.{lost[0]}, key: …}})`",
            where_of(fold),
        )


def _parallel(course: Course) -> Iterator[Both]:
    if isinstance(course, Both):
        yield course
    if not isinstance(course, Leaf):
        for part in course.in_line if isinstance(course, Fork) else course.parts:
            yield from _parallel(part)


def _check_lanes(both: Both, drafts: Mapping[str, Draft]) -> None:
    lanes = [[drafts[name] for name in part.names if _fold(drafts[name]) is not None] for part in both.parts]
    for draft in (draft for lane in lanes for draft in lane):
        if _writes(draft) is None:
            fold = _fold(draft)
            assert fold is not None
            raise draft.refuse(
                "it stands in a parallel branch, and its source does not show which fields its fold writes",
                f'return `replace(data, …)` from it, or say `@{draft.name}.reply(writes=("field",))`',
                where_of(fold),
            )
    for one, other in combinations(lanes, 2):
        for first in one:
            for second in other:
                _refuse_shared(first, second)
    asked = [[draft for name in part.names if isinstance(draft := drafts[name], StepDraft)] for part in both.parts]
    for reading, writing in permutations(range(len(lanes)), 2):
        for draft in asked[reading]:
            for beside in lanes[writing]:
                _refuse_read_beside(draft, beside)


def _refuse_shared(first: Draft, second: Draft) -> None:
    shared = (_writes(first) or frozenset()) & (_writes(second) or frozenset())
    if shared:
        fold = _fold(second)
        assert fold is not None
        raise second.refuse(
            f"its fold writes {', '.join(sorted(shared))}, and so does that of {first.name!r} in a parallel branch: "
            "the later answer would win",
            "give each a field of its own, or put one step after the other",
            where_of(fold),
        )


def _refuse_read_beside(draft: StepDraft, beside: Draft) -> None:
    """Refuse a command that reads what a branch beside it may write before it is asked for again, under the same id."""
    parts = ((draft.build, "its command"), *(((draft.each.listed, "its list"),) if draft.each is not None else ()))
    for function, what in parts:
        shared = sorted(reads_of(function) & (_writes(beside) or frozenset()))
        if shared:
            raise draft.refuse(
                f"{what} reads {', '.join(shared)}, which {beside.name!r} writes in a parallel branch: built again it "
                "may say something else",
                "read a field of its own, or put one step after the other",
                where_of(function),
            )


def _fold(draft: Draft) -> Callable[..., Any] | None:
    return draft.fold if isinstance(draft, StepDraft | WaitDraft) else None


def _writes(draft: Draft) -> Fields | None:
    """The fields its fold writes; none for what has no fold; None when that cannot be read."""
    if isinstance(draft, StepDraft | WaitDraft) and draft.writes is not None:
        return frozenset(draft.writes)
    fold = _fold(draft)
    return writes_of(fold) if fold is not None else frozenset()


def _set_by(course: Course, name: str, written: Mapping[str, Fields | None], *relations: Relation) -> Fields:
    """What the folds of those steps set that stand so to `name`: an answer beside it may come before its undo."""
    others = (
        other
        for other in course.names
        if relation(course, name, other) in relations and not _is_exclusive(course, name, other)
    )
    return frozenset(field for other in others for field in written[other] or ())


def _is_exclusive(course: Course, name: str, other: str) -> bool:
    """Whether the two stand in different branches of one fork: a run that comes to one has not been in the other."""
    part = course
    while not isinstance(part, Leaf):
        parts = part.in_line if isinstance(part, Fork) else part.parts
        mine, its = index_of(parts, name), index_of(parts, other)
        if mine != its:
            return isinstance(part, Fork) and mine > 0 and its > 0
        part = parts[mine]
    return False


def _check_reads(draft: StepDraft, build: Callable[..., object], unset: Fields, what: str) -> None:
    missing = sorted(reads_of(build) & unset)
    if missing:
        raise DefinitionError(
            draft.saga,
            draft.name,
            f"{what} reads {', '.join(missing)}, which no step before it has set",
            "set it in the start, or in the fold of a step before this one",
            where_of(build),
        )
