"""What a search is made of: lines, the moves of a world, the laws they break, and how each is to be told."""

from typing import NamedTuple

from sagas.check.assumptions import Assumptions
from sagas.check.events import OrchestratorEvent, Turned
from sagas.check.laws import Broken
from sagas.check.participant import PRISTINE, Delivery, Local, Outside
from sagas.core.definition import StepSpec

NODE_BITS = 24
LOCAL_BITS = 16
NODE_MASK = (1 << NODE_BITS) - 1
LOCAL_MASK = (1 << LOCAL_BITS) - 1


class Course(NamedTuple):
    """How a move went: what was delivered first, and then the orchestrator's event, if any, with what it led to."""

    deliveries: tuple[Delivery, ...]
    event: OrchestratorEvent | None = None
    turned: Turned | None = None


class Move(NamedTuple):
    """A way on: what to add to the world's number, how many messages it takes, and how it went."""

    delta: int
    cost: int
    course: Course


class Fault(NamedTuple):
    """A law is broken after this course, which takes so many messages."""

    broken: Broken
    cost: int
    course: Course


class Entry(NamedTuple):
    """What one line can do at one node. `acts` are a person's; `standing` and `undone` are the line's bit or 0."""

    moves: tuple[Move, ...]
    acts: tuple[Move, ...]
    standing: int
    undone: int
    faults: tuple[Fault, ...]


class Line:
    """One step's place in the number of a world."""

    def __init__(self, index: int, step: str, spec: StepSpec, assumptions: Assumptions) -> None:
        self.index = index
        self.step = step
        self.spec = spec
        self.shift = NODE_BITS + index * LOCAL_BITS
        self.bit = 1 << index
        self.outside = Outside(step, spec, assumptions)
        self.locals: list[Local] = [PRISTINE]
        self._numbers: dict[Local, int] = {PRISTINE: 0}
        self.settled: dict[tuple[int, Local], Local] = {}
        """What a local state comes to at a node, as far as it was asked."""
        self.deliveries: dict[tuple[Local, bool, bool], list[Delivery]] = {}
        """What can be delivered in a local state, by whether the do and the undo are out."""
        self._seen: set[object] = set()

    @property
    def leaves_nothing(self) -> bool:
        """Whether the step has said that nothing of it needs to be undone."""
        return self.spec.kind == "compensatable" and self.spec.undo is None

    def is_new(self, *situation: object) -> bool:
        """Whether this is asked for the first time."""
        known = len(self._seen)
        self._seen.add(situation)
        return len(self._seen) > known

    def number(self, local: Local) -> int:
        """The number of a local state, given when it is first met."""
        number = self._numbers.get(local)
        if number is None:
            number = self._numbers[local] = len(self.locals)
            self.locals.append(local)
            assert number < LOCAL_MASK, f"step {self.step!r} has too many local states"
        return number


class Row:
    """What is known of one node: its own moves, the lines that matter in it, and their entries so far."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines: list[tuple[Line, int, dict[int, Entry]]] = [(line, line.shift, {}) for line in lines]
        self.moves: list[Move] = []
        self.acts: list[Move] = []
        self.faults: list[Fault] = []
        self.is_ended = False
        self.is_stuck = False
