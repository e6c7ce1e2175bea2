"""The ways back on a course: what is undone when a part of it failed, and in which order.

Theory of operation. Back it goes in the reverse of the order of dependence. Lanes are undone side by side, and
what stands before them only when all are clear. A turn leaves every leaf at once: one that is under way is undone
like one whose outcome is unknown, for the participant's barrier makes that safe. Which branch of a fork was taken
the marking does not say once it is behind; the way back leads through all of them, and the kernel passes over what
the ledger says was never done.

A failure inside a way that is not the last one does not turn the run: what this way did is undone (phase
`reverting`, told apart from `undoing` because it leads forward again), then the next way begins.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from sagas.core.course import (
    NOWHERE,
    Both,
    Course,
    Fork,
    Leaf,
    Marking,
    Phase,
    Place,
    Then,
    Ways,
    index_of,
    part_of,
    start,
    within,
)


class Retreat:
    """The ways back on `course`; `undoable` are the steps that have an undo."""

    def __init__(self, course: Course, undoable: Collection[str]) -> None:
        self.course = course
        self._undoable = undoable

    def catcher(self, name: str) -> tuple[Ways, int] | None:
        """The ways of which `name` is in one that may fail, and its number; None when a failure turns the run."""
        found: tuple[Ways, int] | None = None
        part: Course = self.course
        while not isinstance(part, Leaf):
            parts = part.in_line if isinstance(part, Fork) else part.parts
            index = index_of(parts, name)
            if isinstance(part, Ways) and index < len(parts) - 1:
                found = (part, index)
            part = parts[index]
        return found

    def behind_a_way(self) -> set[str]:
        """The leaves in a way before which another was undone: when they fail, something had been done."""
        return {name for way in self._ways(self.course) for name in way}

    def _ways(self, course: Course) -> Iterator[tuple[str, ...]]:
        if isinstance(course, Leaf):
            return
        parts = course.in_line if isinstance(course, Fork) else course.parts
        for number, part in enumerate(parts):
            if isinstance(course, Ways) and any(self.last(p, "reverting") for p in parts[:number]):
                yield part.names
            yield from self._ways(part)

    def fail(self, at: Marking, name: str, *, is_refused: bool) -> Marking:
        """Where it stands once `name`, at which it is, has failed. `is_refused`: nothing of it remains."""
        caught = self.catcher(name)
        if caught is None:
            return self.turn(at, name if is_refused else "")
        ways, index = caught
        rest = self._from(ways.parts[index], at, name if is_refused else "", "reverting")
        return (at - within(ways, at)) | (rest or start(ways.parts[index + 1]))

    def turn(self, at: Marking, refused: str = "") -> Marking:
        """Where the way back begins for a whole run that stands at `at`; nowhere when there is nothing to undo."""
        return self._from(self.course, at, refused, "undoing")

    def cleared(self, at: Marking, name: str, phase: Phase) -> Marking:
        """Where it stands once the undo of `name` is answered."""
        if phase == "reverting":
            caught = self.catcher(name)
            assert caught is not None
            ways, index = caught
            rest = self._clear(ways.parts[index], at, name, phase)
            return (at - within(ways, at)) | (rest or start(ways.parts[index + 1]))
        return self._clear(self.course, at, name, phase)

    def last(self, course: Course, phase: Phase) -> Marking:
        """Where the way back through `course`, all of which is done, begins."""
        match course:
            case Leaf():
                return frozenset((Place(course.name, phase),)) if course.name in self._undoable else NOWHERE
            case Both():
                return NOWHERE.union(*(self.last(part, phase) for part in course.parts))
            case Fork():
                return self._before(course.in_line, len(course.in_line), phase)
            case _:
                return self._before(course.parts, len(course.parts), phase)

    def _before(self, parts: Sequence[Course], index: int, phase: Phase) -> Marking:
        return next((found for part in reversed(parts[:index]) if (found := self.last(part, phase))), NOWHERE)

    def _from(self, course: Course, at: Marking, refused: str, phase: Phase) -> Marking:
        here = within(course, at)
        if not here:
            return self.last(course, phase)  # a lane that has come to its end
        match course:
            case Leaf():
                return NOWHERE if course.name == refused else self.last(course, phase)
            case Both():
                return NOWHERE.union(*(self._from(part, here, refused, phase) for part in course.parts))
            case Fork():
                index = _marked(course.in_line, here)
                found = self._from(course.in_line[index], here, refused, phase)
                return found or (self.last(course.head, phase) if index else NOWHERE)
            case Then():
                index = _marked(course.parts, here)
                found = self._from(course.parts[index], here, refused, phase)
                return found or self._before(course.parts, index, phase)
            case Ways():  # those before it were undone when it began
                return self._from(course.parts[_marked(course.parts, here)], here, refused, phase)

    def _clear(self, course: Course, at: Marking, name: str, phase: Phase) -> Marking:
        match course:
            case Leaf():
                return NOWHERE
            case Both():
                own = within(part_of(course.parts, name), at)
                return (within(course, at) - own) | self._clear(part_of(course.parts, name), own, name, phase)
            case _:
                parts = course.in_line if isinstance(course, Fork) else course.parts
                index = index_of(parts, name)
                return self._clear(parts[index], at, name, phase) or self._before(parts, index, phase)


Relation = Literal["same", "before", "after", "beside"]


def relation(course: Course, name: str, other: str) -> Relation:
    """How `other` stands to `name`: branches and ways count in the order in which the way back passes them."""
    if name == other:
        return "same"
    part = course
    while True:
        assert not isinstance(part, Leaf)
        parts = part.in_line if isinstance(part, Fork) else part.parts
        mine, its = index_of(parts, name), index_of(parts, other)
        if mine != its:
            return "beside" if isinstance(part, Both) else "before" if its < mine else "after"
        part = parts[mine]


def lane_mates(course: Course, name: str) -> Mapping[str, tuple[Course, ...]]:
    """The lanes beside the one of `name`: those inside the way that may fail, and all others."""
    inner: list[Course] = []
    outer: list[Course] = []
    part = course
    while not isinstance(part, Leaf):
        parts = part.in_line if isinstance(part, Fork) else part.parts
        index = index_of(parts, name)
        if isinstance(part, Ways) and index < len(parts) - 1:
            outer, inner = [*outer, *inner], []
        if isinstance(part, Both):
            inner += [other for number, other in enumerate(parts) if number != index]
        part = parts[index]
    return {"inner": tuple(inner), "outer": tuple(outer)}


def _marked(parts: Sequence[Course], at: Marking) -> int:
    return next(number for number, part in enumerate(parts) if within(part, at))
