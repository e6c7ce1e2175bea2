"""Every legal move of a saga, found by walking its course from where it starts.

Theory of operation. From each marking that is reached (`sagas/core/course.py`) each of its leaves can move: on
by an answer, back by a refusal or an unknown outcome, into `stuck`. What that leads to is walked in turn, until
nothing new is found. A refusal at step *s* goes to the undo of what stands before it, an unknown outcome to the
undo of *s* itself, and each undo's answer to the undo before it. So a run that has turned never turns again.

`late` edges are for a success that arrives although the step was refused before: whatever the run
has come to, it goes back to undo that step, and from there down the line once more, passing over
what is undone already. A run that is complete without that step sweeps it out (`s.sweeping`).

`s.Undeliverable` is the engine's own refusal, which no command declares: the participant could not read the
command. It goes where the step's refusals go; behind the pivot, and for an undo, it goes to `stuck`.

`operator` edges are a person's: out of `stuck` forward, back or to another try, and into `abandoned`. `stuck` is one
state, whatever the other branches have come to. A move out of it begins those at their first leaf, or on the way
back at their last, and the kernel passes over what the ledger has already.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sagas.core.course import (
    NOWHERE,
    Course,
    Marking,
    Phase,
    Place,
    finish,
    leaves,
    ordered,
    start,
    state_name,
)
from sagas.core.definition import ChoiceSpec, DelaySpec, LeafSpec, StepSpec, WaitSpec
from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, ENDS, REJECTED, STUCK
from sagas.core.machine import NEW, UNDELIVERABLE, UNDO_UNDELIVERABLE, Edge, EdgeKind
from sagas.core.messages import Rejection
from sagas.core.outcomes import ABSENT, NO, OVER, YES, by_hand, handled_refusals
from sagas.core.retreat import Retreat, lane_mates, relation
from sagas.errors import SagaError

STATES_MAX = 500
"""Of one machine: parallel branches multiply, and it is made when the saga's module is imported. 500 take a second."""


class TooManyStates(SagaError):
    """The branches multiply to more states than a machine may have."""


class Edges(NamedTuple):
    """The moves, and what each state means."""

    edges: tuple[Edge, ...]
    lanes: Mapping[str, tuple[Place, ...]]


def edges_of(course: Course, specs: Mapping[str, LeafSpec], turnable: Collection[str]) -> Edges:
    """Every legal move on `course`. `turnable` are the leaves before the point of no return.

    Raises TooManyStates.
    """
    walk = _Walk(course, specs, turnable)
    walk.run()
    return Edges(walk.in_order(), walk.lanes)


# Within one leaf the moves are listed, and drawn, in this order.
_REPLIES, _TIMEOUTS, _DEADLINE, _BROKEN, _UNDOS, _LATE, _OPERATOR = range(7)


class _Walk:
    def __init__(self, course: Course, specs: Mapping[str, LeafSpec], turnable: Collection[str]) -> None:
        self.lanes: dict[str, tuple[Place, ...]] = {}
        self._course = course
        self._specs = specs
        self._turnable = turnable
        self._steps = [spec for spec in specs.values() if isinstance(spec, StepSpec)]
        self._retreat = Retreat(course, {step.name for step in self._steps if step.undo is not None})
        self._begins: dict[str, Phase] = {leaf.name: leaf.begins for leaf in leaves(course)}
        self._handled = set(handled_refusals(course, specs))
        self._second_ways = self._retreat.behind_a_way()
        self._todo: list[Marking] = []
        self._edges: list[tuple[int, int, Edge]] = []

    def run(self) -> None:
        self._add("", 0, "start", NEW, start(self._course), "forward")
        self._walk()
        for name in self._course.names:
            self._out_of_stuck(name)
        for step in self._steps:
            self._late_after_the_end(step)
        self._walk()

    def in_order(self) -> tuple[Edge, ...]:
        edges = [edge for _, _, edge in sorted(self._edges, key=lambda found: found[:2])]
        states = dict.fromkeys(edge.source for edge in edges if edge.source != NEW and edge.source not in ENDS)
        edges += [Edge("operator.abandon", state, ABANDONED, "operator") for state in (*states, STUCK)]
        return tuple(dict.fromkeys(edges))

    def _walk(self) -> None:
        while self._todo:
            at = self._todo.pop(0)
            for place in ordered(self._course, at):
                self._moves(at, place, self._specs[place.step])
            if all(place.phase == "undoing" for place in at):
                for step in self._steps:
                    self._late_on_the_way_back(at, step)

    def _moves(self, at: Marking, place: Place, spec: LeafSpec) -> None:
        match spec:
            case StepSpec() if place.phase in ("pending", "resolving"):
                self._replies(at, place, spec)
                self._timeouts(at, place, spec)
            case StepSpec():
                self._undo_replies(at, place, spec)
            case WaitSpec():
                self._signals(at, spec)
            case DelaySpec() | ChoiceSpec():
                for outcome in (OVER,) if isinstance(spec, DelaySpec) else (YES, NO):
                    dest = finish(self._course, at, spec.name, outcome)
                    self._add(spec.name, _REPLIES, f"{spec.name}.{outcome}", self._name(at), dest, "forward")
        source, end = self._name(at), self._refused_end(spec.name)
        self._add(spec.name, _BROKEN, f"{spec.name}.broken", source, STUCK, "stuck")
        if spec.name in self._turnable and place.phase not in ("undoing", "sweeping", "deciding"):
            back = self._retreat.turn(at)
            self._add(spec.name, _DEADLINE, f"{spec.name}.deadline", source, back, "undo", end)
            self._add(spec.name, _OPERATOR, f"{spec.name}.cancel", source, back, "operator", end)

    # ----------------------------------------------------------------- forward

    def _replies(self, at: Marking, place: Place, step: StepSpec) -> None:
        source = self._name(at)
        for reply in step.replies.values():
            self._reply(step, reply.__name__, source, at, at, is_refusal=issubclass(reply, Rejection))
        if step.kind == "retriable":
            self._add(step.name, _REPLIES, f"{step.name}.{UNDELIVERABLE}", source, STUCK, "undeliverable")
        else:
            self._undeliverable(step, source, at)

    def _reply(
        self, step: LeafSpec, word: str, source: str, on: Marking, back_from: Marking, *, is_refusal: bool
    ) -> None:
        """`on`, `back_from`: where the run stands for going on and for turning back; from `stuck` they differ."""
        name, trigger = step.name, f"{step.name}.{word}"
        if is_refusal and (name, word) not in self._handled:
            dest = self._retreat.fail(back_from, name, is_refused=True)
            self._add(name, _REPLIES, trigger, source, dest, "refuse", self._refused_end(name))
        else:
            self._add(name, _REPLIES, trigger, source, finish(self._course, on, name, word), "forward")

    def _undeliverable(self, step: StepSpec, source: str, at: Marking) -> None:
        dest = self._retreat.fail(at, step.name, is_refused=True)
        trigger = f"{step.name}.{UNDELIVERABLE}"
        self._add(step.name, _REPLIES, trigger, source, dest, "undeliverable", self._refused_end(step.name))

    def _timeouts(self, at: Marking, place: Place, step: StepSpec) -> None:
        if place.phase != "pending" or step.unknown == "resend":
            return
        source = self._name(at)
        for word in ("timeout", "exhausted"):
            trigger = f"{step.name}.{word}"
            if step.unknown == "undo":
                dest = self._retreat.fail(at, step.name, is_refused=False)
                self._add(step.name, _TIMEOUTS, trigger, source, dest, "undo", self._refused_end(step.name))
            elif step.unknown == "ask" and word == "timeout":
                resolving = (at - {place}) | {Place(step.name, "resolving")}
                self._add(step.name, _TIMEOUTS, trigger, source, resolving, "resolve")
            else:
                self._add(step.name, _TIMEOUTS, trigger, source, STUCK, "stuck")

    def _signals(self, at: Marking, wait: WaitSpec) -> None:
        source = self._name(at)
        for signal in wait.signals.values():
            self._reply(wait, signal.__name__, source, at, at, is_refusal=issubclass(signal, Rejection))
        trigger = f"{wait.name}.{ABSENT}"
        if wait.absence == "hold":
            self._add(wait.name, _TIMEOUTS, trigger, source, STUCK, "stuck")
        elif wait.absence == "consent":
            self._add(wait.name, _TIMEOUTS, trigger, source, finish(self._course, at, wait.name, ABSENT), "resolve")
        else:
            dest = self._retreat.fail(at, wait.name, is_refused=True)
            self._add(wait.name, _TIMEOUTS, trigger, source, dest, "undo", self._refused_end(wait.name))

    # ----------------------------------------------------------------- back

    def _undo_replies(self, at: Marking, place: Place, step: StepSpec) -> None:
        assert step.undo is not None
        name, source = step.name, self._name(at)
        for reply in step.undo.replies.values():
            trigger = f"{name}.{reply.__name__}"
            if issubclass(reply, Rejection):
                self._add(name, _UNDOS, trigger, source, STUCK, "stuck")
            elif place.phase == "sweeping":
                self._add(name, _UNDOS, trigger, source, COMPLETED, "undo")
            else:
                cleared = self._retreat.cleared(at, name, place.phase)
                self._add(name, _UNDOS, trigger, source, cleared, "undo", COMPENSATED)
        # A trigger of its own: in `undoing` the same word about the do is only a late refusal.
        self._add(name, _UNDOS, f"{name}.{UNDO_UNDELIVERABLE}", source, STUCK, "undeliverable")
        if step.undo.retry.attempts_max:
            self._add(name, _UNDOS, f"{name}.undo-exhausted", source, STUCK, "stuck")

    def _late_on_the_way_back(self, at: Marking, step: StepSpec) -> None:
        if step.kind == "retriable":
            return  # every other step can be refused: by its own words, or because nobody could read its command
        relations = {place: relation(self._course, step.name, place.step) for place in at}
        if any(is_to in ("same", "after") for is_to in relations.values()):
            return  # the way back has still to come to it
        beside = frozenset(place for place, is_to in relations.items() if is_to == "beside")
        self._late(step, self._name(at), beside | {Place(step.name, "undoing")})

    def _late_after_the_end(self, step: StepSpec) -> None:
        if step.kind == "retriable":
            return
        for source in (COMPENSATED, REJECTED):
            self._late(step, source, frozenset((Place(step.name, "undoing"),)))
        if self._can_be_passed(step.name):
            self._late(step, COMPLETED, frozenset((Place(step.name, "sweeping"),)))

    def _late(self, step: StepSpec, source: str, dest: Marking) -> None:
        has_undo = step.undo is not None
        self._add(step.name, _LATE, f"{step.name}.late", source, dest if has_undo else STUCK, "late")

    def _can_be_passed(self, name: str) -> bool:
        return self._retreat.catcher(name) is not None or any(head == name for head, _ in self._handled)

    # ----------------------------------------------------------------- a person

    def _out_of_stuck(self, name: str) -> None:
        """Where a run goes from `stuck`: by the answer that is still awaited, or by a person's word."""
        spec = self._specs[name]
        mates = lane_mates(self._course, name)
        is_caught = self._retreat.catcher(name) is not None
        here = frozenset((Place(name, self._begins[name]),))
        ahead = here.union(*map(start, (*mates["inner"], *mates["outer"])))
        back = here.union(*map(start, mates["outer"])) if is_caught else here
        refused = self._retreat.fail(back, name, is_refused=True)
        end = COMPENSATED if isinstance(spec, StepSpec) and spec.undo is not None else self._refused_end(name)
        if isinstance(spec, StepSpec) and spec.unknown != "undo":
            for reply in spec.replies.values():
                self._reply(spec, reply.__name__, STUCK, ahead, back, is_refusal=issubclass(reply, Rejection))
            if spec.kind != "retriable":
                self._undeliverable(spec, STUCK, back)
        elif isinstance(spec, WaitSpec) and spec.absence == "hold":
            for signal in spec.signals.values():
                self._reply(spec, signal.__name__, STUCK, ahead, back, is_refusal=issubclass(signal, Rejection))
        self._by_hand(name, "retry", ahead)
        if not isinstance(spec, ChoiceSpec):
            self._by_hand(name, "resolve-done", finish(self._course, ahead, name, by_hand(spec)), COMPLETED)
            self._by_hand(name, "resolve-undone", refused, end)
        if isinstance(spec, StepSpec) and spec.undo is not None:
            self._undo_by_hand(spec, is_caught, back)
        if self._can_be_passed(name):
            self._by_hand(name, "resolve-swept", NOWHERE)

    def _undo_by_hand(self, step: StepSpec, is_caught: bool, back: Marking) -> None:
        mates = lane_mates(self._course, step.name)
        lanes = (self._retreat.last(lane, "undoing") for lane in (*mates["inner"], *mates["outer"]))
        undoing = frozenset((Place(step.name, "undoing"),)).union(*lanes)
        self._by_hand(step.name, "retry-undo", undoing)
        if is_caught:
            inner = (self._retreat.last(lane, "reverting") for lane in mates["inner"])
            outer = frozenset(p for p in back if p.step != step.name)
            self._by_hand(step.name, "retry-revert", outer.union((Place(step.name, "reverting"),), *inner))
            cleared = self._retreat.cleared(undoing, step.name, "undoing")
            self._by_hand(step.name, "resolve-cleared", cleared, COMPENSATED)
        if self._can_be_passed(step.name):
            self._by_hand(step.name, "retry-sweep", frozenset((Place(step.name, "sweeping"),)))

    def _by_hand(self, name: str, word: str, dest: Marking, end: str = COMPLETED) -> None:
        self._add(name, _OPERATOR, f"{name}.{word}", STUCK, dest, "operator", end)

    # ----------------------------------------------------------------- taking them up

    def _refused_end(self, name: str) -> str:
        # Refused with nothing before it that could be undone: there was no effect anywhere.
        return COMPENSATED if name in self._second_ways else REJECTED

    def _add(
        self, name: str, rank: int, trigger: str, source: str, dest: Marking | str, kind: EdgeKind, end: str = COMPLETED
    ) -> None:
        """A move; `end` is the state it leads to when no place is left."""
        found = dest if isinstance(dest, str) else self._name(dest) if dest else end
        index = self._course.names.index(name) if name else -1
        self._edges.append((index, rank, Edge(trigger, source, found, kind)))

    def _name(self, at: Marking) -> str:
        state = state_name(self._course, at)
        if state not in self.lanes:
            if len(self.lanes) == STATES_MAX:
                raise TooManyStates(f"more than {STATES_MAX} states")
            self.lanes[state] = ordered(self._course, at)
            self._todo.append(at)
        return state
