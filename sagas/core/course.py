"""The course of a saga as a tree, and where on it a run can stand.

Theory of operation. The tree has leaves (steps, waits, delays, decisions) and four ways to join parts: one
`Then` the other, `Both` at once, a `Fork` behind a leaf whose outcome chooses the branch, and `Ways`, of which
the next is gone when one failed. Where a run stands is a *marking*: the set of the leaves it is at, each in a
phase. A part that begins marks all its lanes, so a lane without a mark has come to its end, and the lanes are
joined when none is marked. Nothing else has to be remembered: the flat machine's states are the markings.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Phase = Literal["pending", "resolving", "undoing", "reverting", "sweeping", "waiting", "delaying", "deciding"]
"""What a leaf is doing.

pending     the command is out
resolving   the answer did not come; asking
undoing     the undo is out, the run has turned back
reverting   the undo is out, and then the next way begins
sweeping    the undo is out of what was done after it had been refused, the run being complete
waiting     for a signal from outside
delaying    until a time has passed
deciding    a predicate is being asked; no stored instance is ever in it
"""

BACKWARD: Collection[Phase] = ("undoing", "reverting", "sweeping")
"""The phases in which an undo is out."""


class Place(NamedTuple):
    """One mark: a leaf in a phase."""

    step: str
    phase: Phase

    def __str__(self) -> str:
        return f"{self.step}.{self.phase}"


Marking = frozenset[Place]
"""Where a run stands. Empty: at the end it was heading for."""

NOWHERE: Marking = frozenset()


@dataclass(frozen=True)
class Leaf:
    """A step, wait, delay or decision; `begins` is the phase it is entered in."""

    name: str
    begins: Phase = "pending"
    names: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", (self.name,))


class _Joined:
    parts: tuple["Course", ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(name for part in self.parts for name in part.names))


@dataclass(frozen=True)
class Then(_Joined):
    """Each part after the one before."""

    parts: tuple["Course", ...]
    names: tuple[str, ...] = field(init=False, compare=False)


@dataclass(frozen=True)
class Both(_Joined):
    """All parts at once; it ends when each has."""

    parts: tuple["Course", ...]
    names: tuple[str, ...] = field(init=False, compare=False)


@dataclass(frozen=True)
class Ways(_Joined):
    """The first part; the next when it failed and was undone, and so on."""

    parts: tuple["Course", ...]
    names: tuple[str, ...] = field(init=False, compare=False)


@dataclass(frozen=True)
class Fork:
    """A leaf, and what follows each of its outcomes; an outcome that is not named goes on at once."""

    head: Leaf
    branches: tuple[tuple[str, "Course"], ...]
    names: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        inner = (name for _, branch in self.branches for name in branch.names)
        object.__setattr__(self, "names", (self.head.name, *inner))

    def branch(self, outcome: str) -> "Course | None":
        """What follows `outcome`."""
        return next((branch for name, branch in self.branches if name == outcome), None)

    @property
    def in_line(self) -> tuple["Course", ...]:
        """The head and the branches as the way back passes them."""
        return (self.head, *(branch for _, branch in self.branches))


Course = Leaf | Then | Both | Fork | Ways


def leaves(course: Course) -> Iterator[Leaf]:
    """Every leaf, in the order of the course."""
    match course:
        case Leaf():
            yield course
        case Fork():
            for part in course.in_line:
                yield from leaves(part)
        case _:
            for part in course.parts:
                yield from leaves(part)


def start(course: Course) -> Marking:
    """Where it begins."""
    match course:
        case Leaf():
            return frozenset((Place(course.name, course.begins),))
        case Both():
            return NOWHERE.union(*map(start, course.parts))
        case Fork():
            return start(course.head)
        case _:
            return start(course.parts[0])


def finish(course: Course, at: Marking, name: str, outcome: str) -> Marking:
    """Where it stands once the leaf `name`, which it is at, has ended with `outcome`."""
    match course:
        case Leaf():
            return NOWHERE
        case Then():
            index = index_of(course.parts, name)
            rest = finish(course.parts[index], at, name, outcome)
            following = course.parts[index + 1 : index + 2]
            return rest or (start(following[0]) if following else NOWHERE)
        case Both():
            index = index_of(course.parts, name)
            own = within(course.parts[index], at)
            others = within(course, at) - own
            return others | finish(course.parts[index], own, name, outcome)
        case Fork():
            if name == course.head.name:
                branch = course.branch(outcome)
                return start(branch) if branch is not None else NOWHERE
            return finish(part_of(course.in_line, name), at, name, outcome)
        case Ways():
            return finish(part_of(course.parts, name), at, name, outcome)


def within(course: Course, at: Marking) -> Marking:
    """Those marks that are on `course`."""
    return frozenset(place for place in at if place.step in course.names)


def ordered(course: Course, at: Marking) -> tuple[Place, ...]:
    """The marks in the order of the course."""
    return tuple(sorted(at, key=lambda place: course.names.index(place.step)))


def state_name(course: Course, at: Marking) -> str:
    """The flat state's name of a marking: `a.pending`, or `a.pending|b.waiting` with lanes."""
    return "|".join(map(str, ordered(course, at)))


def index_of(parts: Sequence[Course], name: str) -> int:
    """Which of the parts has the leaf `name`."""
    return next(number for number, part in enumerate(parts) if name in part.names)


def part_of(parts: Sequence[Course], name: str) -> Course:
    """The part that has the leaf `name`."""
    return parts[index_of(parts, name)]
