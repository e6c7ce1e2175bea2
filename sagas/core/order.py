"""What may follow what on a course: the point of no return, on every path.

Theory of operation. The course is walked with what is true of the paths that lead to a part: whether on one of
them the point of no return is passed, and by which step. A branch behind a refusal that it takes up has not
passed the step that was refused; a way begins where the one before it began, for what that did is undone. Branches
with a retriable step have passed it from where they begin: it is done whatever the branch beside it is at.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sagas.core.course import Both, Course, Fork, Leaf, Then, Ways
from sagas.core.drafts import Draft, StepDraft
from sagas.core.messages import Rejection
from sagas.core.pauses import WaitDraft


@dataclass(frozen=True)
class _Path:
    """What is true of the paths to a part; `past` is the step that passed the point of no return on one of them."""

    past: StepDraft | None = None

    def or_else(self, other: "_Path") -> "_Path":
        return self if self.past is not None else other


def check_order(course: Course, drafts: Mapping[str, Draft]) -> frozenset[str]:
    """Refuse what stands in the wrong order; the leaves at which a run can still turn back."""
    order = _Order(drafts)
    order.pass_through(course, _Path())
    return frozenset(order.turnable)


class _Order:
    def __init__(self, drafts: Mapping[str, Draft]) -> None:
        self._drafts = drafts
        self.turnable: set[str] = set()

    def pass_through(self, course: Course, path: _Path) -> _Path:
        match course:
            case Leaf(name=name):
                return self._leaf(self._drafts[name], path)
            case Then(parts=parts):
                for part in parts:
                    path = self.pass_through(part, path)
                return path
            case Both():
                return self._lanes(course, path)
            case Fork():
                return self._fork(course, path)
            case Ways():
                return self._ways(course, path)

    def _leaf(self, draft: Draft, path: _Path) -> _Path:
        match draft:
            case StepDraft(kind="retriable"):
                return _Path(path.past or draft)
            case StepDraft(kind="pivot"):
                _refuse_second_pivot(draft, path)
                return _Path(draft)
            case StepDraft():
                _refuse_behind_the_pivot(draft, path)
            case WaitDraft() if draft.can_refuse and path.past is not None:
                raise draft.refuse(
                    f"it can turn the run back and stands after {path.past.name!r}, which cannot be undone",
                    f'put it before, or say absence="consent" or "hold" and take no Rejection ({path.past.where})',
                )
            case _:
                pass
        if path.past is None:
            self.turnable.add(draft.name)
        return path

    def _lanes(self, both: Both, path: _Path) -> _Path:
        ends = [self.pass_through(part, path) for part in both.parts]
        for name in both.names:
            draft = self._drafts[name]
            if isinstance(draft, StepDraft) and draft.kind == "pivot":
                raise draft.refuse(
                    "a pivot cannot stand in a parallel branch: what is beside it could not be undone any more",
                    "put it after the branches are joined: `(a & b) >> pivot`",
                )
        retriable = next((end.past for end in ends if end.past is not None), None)
        if path.past is None and retriable is not None and self._can_fail(both):
            raise retriable.refuse(
                "it cannot be undone and a branch beside it can be refused",
                "put it after the branches are joined, or make it `@saga.step` with an undo",
            )
        if retriable is None:
            return path
        # Whatever the other branches are at, it may be done by now.
        self.turnable.difference_update(both.names)
        return _Path(path.past or retriable)

    def _fork(self, fork: Fork, path: _Path) -> _Path:
        after = self.pass_through(fork.head, path)
        draft = self._drafts[fork.head.name]
        answers = (
            draft.replies if isinstance(draft, StepDraft) else draft.signals if isinstance(draft, WaitDraft) else ()
        )
        refusals = {answer.__name__ for answer in answers if issubclass(answer, Rejection)}
        end = after
        for outcome, branch in fork.branches:
            end = end.or_else(self.pass_through(branch, path if outcome in refusals else after))
        return end

    def _ways(self, ways: Ways, path: _Path) -> _Path:
        end = _Path()
        for number, part in enumerate(ways.parts):
            end = end.or_else(self.pass_through(part, path))
            if number == len(ways.parts) - 1:
                break
            following = self._drafts[ways.parts[number + 1].names[0]]
            if not self._can_fail(part):
                raise following.refuse(
                    "it is never reached: the way before it cannot fail", "remove it, or let that way be refused"
                )
            inner = _ways_within(part)
            if inner is not None:
                raise self._drafts[inner.names[0]].refuse(
                    "a save-point stands inside a way that may itself be undone",
                    "write the ways in one line: `a | b | c`",
                )
        return end

    def _can_fail(self, course: Course) -> bool:
        for name in course.names:
            draft = self._drafts[name]
            if isinstance(draft, StepDraft) and draft.kind != "retriable":
                return True
            if isinstance(draft, WaitDraft) and draft.can_refuse:
                return True
        return False


def _ways_within(course: Course) -> Ways | None:
    match course:
        case Leaf():
            return None
        case Ways():
            return course
        case Fork():
            parts = course.in_line
        case _:
            parts = course.parts
    return next((found for part in parts if (found := _ways_within(part)) is not None), None)


def _refuse_second_pivot(draft: StepDraft, path: _Path) -> None:
    if path.past is None:
        return
    if path.past.kind == "retriable":
        raise _too_early(path.past)
    raise draft.refuse(
        f"it is the second pivot; the first is {path.past.name!r} ({path.past.where})",
        "what follows the pivot must be `@saga.retriable`",
    )


def _refuse_behind_the_pivot(draft: StepDraft, path: _Path) -> None:
    if path.past is None:
        return
    if path.past.kind == "retriable":
        raise _too_early(path.past)
    raise draft.refuse(
        f"it can be undone and stands after the pivot {path.past.name!r}, which cannot",
        "put it before the pivot, or make it `@saga.retriable`",
    )


def _too_early(retriable: StepDraft) -> Exception:
    return retriable.refuse(
        "it cannot be undone and stands before a step that can be refused",
        "put it after the pivot, or make it `@saga.step` with an undo",
    )
