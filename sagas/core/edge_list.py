"""The list of a machine's edges in the making: what every rule that adds one shares.

Theory of operation. An edge is added with the leaf it is about and a rank, by which they are listed and drawn in the
end, whatever order they were found in. A marking that is named for the first time is a new state: it is put
down to be walked from, until nothing new is found (`sagas/core/edges.py`).
"""

from collections.abc import Collection, Mapping

from sagas.core.course import Course, Marking, Phase, Place, finish, leaves, ordered, state_name
from sagas.core.definition import LeafSpec, StepSpec
from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, ENDS, REJECTED, STUCK
from sagas.core.machine import NEW, UNDELIVERABLE, Edge, EdgeKind
from sagas.core.outcomes import handled_refusals
from sagas.core.retreat import Retreat
from sagas.errors import SagaError

STATES_MAX = 500
"""Of one machine: parallel branches multiply, and it is made when the saga's module is imported. 500 take a second."""

# Within one leaf the moves are listed, and drawn, in this order.
REPLIES, TIMEOUTS, DEADLINE, BROKEN, UNDOS, LATE, OPERATOR = range(7)


class TooManyStates(SagaError):
    """The branches multiply to more states than a machine may have."""


class EdgeList:
    """The edges found so far on a course, and `lanes`: what each state means. `todo` are markings to walk from."""

    def __init__(self, course: Course, specs: Mapping[str, LeafSpec], turnable: Collection[str]) -> None:
        self.lanes: dict[str, tuple[Place, ...]] = {}
        self.course = course
        self.specs = specs
        self.turnable = turnable
        self.steps = [spec for spec in specs.values() if isinstance(spec, StepSpec)]
        self.retreat = Retreat(course, {step.name for step in self.steps if step.undo is not None})
        self.begins: dict[str, Phase] = {leaf.name: leaf.begins for leaf in leaves(course)}
        self.todo: list[Marking] = []
        self._handled = set(handled_refusals(course, specs))
        self._second_ways = self.retreat.behind_a_way()
        self._edges: list[tuple[int, int, Edge]] = []

    def in_order(self) -> tuple[Edge, ...]:
        """The edges, each once, as they are listed and drawn."""
        edges = [edge for _, _, edge in sorted(self._edges, key=lambda found: found[:2])]
        states = dict.fromkeys(edge.source for edge in edges if edge.source != NEW and edge.source not in ENDS)
        edges += [Edge("operator.abandon", state, ABANDONED, "operator") for state in (*states, STUCK)]
        return tuple(dict.fromkeys(edges))

    def add(
        self, name: str, rank: int, trigger: str, source: str, dest: Marking | str, kind: EdgeKind, end: str = COMPLETED
    ) -> None:
        """A move; `end` is the state it leads to when no place is left. Raises TooManyStates."""
        found = dest if isinstance(dest, str) else self.state(dest) if dest else end
        index = self.course.names.index(name) if name else -1
        self._edges.append((index, rank, Edge(trigger, source, found, kind)))

    def reply(
        self, step: LeafSpec, word: str, source: str, on: Marking, back_from: Marking, *, is_refusal: bool
    ) -> None:
        """`on`, `back_from`: where the run stands for going on and for turning back; from `stuck` they differ."""
        name, trigger = step.name, f"{step.name}.{word}"
        if is_refusal and (name, word) not in self._handled:
            dest = self.retreat.fail(back_from, name, is_refused=True)
            self.add(name, REPLIES, trigger, source, dest, "refuse", self.refused_end(name))
        else:
            self.add(name, REPLIES, trigger, source, finish(self.course, on, name, word), "forward")

    def undeliverable(self, step: StepSpec, source: str, at: Marking) -> None:
        """Nobody could read the step's command: nothing of it remains."""
        dest = self.retreat.fail(at, step.name, is_refused=True)
        trigger = f"{step.name}.{UNDELIVERABLE}"
        self.add(step.name, REPLIES, trigger, source, dest, "undeliverable", self.refused_end(step.name))

    def refused_end(self, name: str) -> str:
        """How a run ends that `name` turned back with nothing before it that could be undone: no effect anywhere."""
        return COMPENSATED if name in self._second_ways else REJECTED

    def can_be_passed(self, name: str) -> bool:
        """Whether a run can be completed although the step failed."""
        return self.retreat.catcher(name) is not None or any(head == name for head, _ in self._handled)

    def state(self, at: Marking) -> str:
        """The state of a marking."""
        state = state_name(self.course, at)
        if state not in self.lanes:
            if len(self.lanes) == STATES_MAX:
                raise TooManyStates(f"more than {STATES_MAX} states")
            self.lanes[state] = ordered(self.course, at)
            self.todo.append(at)
        return state
