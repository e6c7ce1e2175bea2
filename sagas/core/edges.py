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

`way-failed` edges are for a run that was stuck in another branch and begins this one anew: a way that had failed
before is not gone once more, it goes back to where its undo was (`sagas/core/passing.py`).

A fan-out is one leaf, and moves when its items together have come to something (`sagas/core/fanout.py`).

`operator` edges are a person's: out of `stuck` forward, back or to another try (`sagas/core/edges_by_hand.py`), and
into `abandoned`.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sagas.core.course import Course, Marking, Place, finish, ordered, start
from sagas.core.definition import ChoiceSpec, DelaySpec, LeafSpec, StepSpec, WaitSpec
from sagas.core.edge_list import BROKEN, DEADLINE, LATE, OPERATOR, REPLIES, TIMEOUTS, UNDOS, EdgeList
from sagas.core.edges_by_hand import out_of_stuck
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK
from sagas.core.machine import NEW, UNDELIVERABLE, UNDO_UNDELIVERABLE, Edge
from sagas.core.messages import Rejection
from sagas.core.outcomes import ABSENT, DONE, LIST_REFUSED, NO, OVER, PARTLY_REFUSED, REFUSED, WAY_FAILED, YES
from sagas.core.retreat import lane_mates, relation


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


class _Walk(EdgeList):
    def run(self) -> None:
        self.add("", 0, "start", NEW, start(self.course), "forward")
        self._walk()
        for name in self.course.names:
            out_of_stuck(self, name)
        for step in self.steps:
            self._late_after_the_end(step)
        self._walk()

    def _walk(self) -> None:
        while self.todo:
            at = self.todo.pop(0)
            for place in ordered(self.course, at):
                self._moves(at, place, self.specs[place.step])
            if all(place.phase == "undoing" for place in at):
                for step in self.steps:
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
                    dest = finish(self.course, at, spec.name, outcome)
                    self.add(spec.name, REPLIES, f"{spec.name}.{outcome}", self.state(at), dest, "forward")
        source, end = self.state(at), self.refused_end(spec.name)
        if place.phase in ("pending", "waiting", "delaying") and self._may_be_entered_anew(spec.name):
            dest = self.retreat.fail(at, spec.name, is_refused=False)
            self.add(spec.name, TIMEOUTS, f"{spec.name}.{WAY_FAILED}", source, dest, "undo")
        self.add(spec.name, BROKEN, f"{spec.name}.broken", source, STUCK, "stuck")
        # A whole run is turned back over the first of its places: the others' moves would be the same.
        if place == next((p for p in ordered(self.course, at) if self._can_turn(p)), None):
            back = self.retreat.turn(at)
            self.add(spec.name, DEADLINE, f"{spec.name}.deadline", source, back, "undo", end)
            self.add(spec.name, OPERATOR, f"{spec.name}.cancel", source, back, "operator", end)

    def _may_be_entered_anew(self, name: str) -> bool:
        """Whether it is in a way that may fail, and the run may be stuck in a branch beside those ways meanwhile."""
        return self.retreat.catcher(name) is not None and bool(lane_mates(self.course, name)["outer"])

    def _can_turn(self, place: Place) -> bool:
        return place.step in self.turnable and place.phase not in ("undoing", "sweeping", "deciding")

    # ----------------------------------------------------------------- forward

    def _replies(self, at: Marking, place: Place, step: StepSpec) -> None:
        source = self.state(at)
        if step.each is not None:
            self._items(at, step, source)
            return
        for reply in step.replies.values():
            self.reply(step, reply.__name__, source, at, at, is_refusal=issubclass(reply, Rejection))
        if step.kind == "retriable":
            self.add(step.name, REPLIES, f"{step.name}.{UNDELIVERABLE}", source, STUCK, "undeliverable")
        else:
            self.undeliverable(step, source, at)

    def _items(self, at: Marking, step: StepSpec, source: str) -> None:
        name, end = step.name, self.refused_end(step.name)
        self.add(name, REPLIES, f"{name}.{DONE}", source, finish(self.course, at, name, DONE), "forward")
        if step.kind == "retriable":
            self.add(name, REPLIES, f"{name}.{UNDELIVERABLE}", source, STUCK, "undeliverable")
            self.add(name, REPLIES, f"{name}.{LIST_REFUSED}", source, STUCK, "stuck")
            return
        nothing_remains = self.retreat.fail(at, name, is_refused=True)
        self.add(name, REPLIES, f"{name}.{REFUSED}", source, nothing_remains, "refuse", end)
        self.add(name, REPLIES, f"{name}.{LIST_REFUSED}", source, nothing_remains, "refuse", end)
        others_remain = self.retreat.fail(at, name, is_refused=False)
        self.add(name, REPLIES, f"{name}.{PARTLY_REFUSED}", source, others_remain, "refuse", end)

    def _timeouts(self, at: Marking, place: Place, step: StepSpec) -> None:
        if place.phase != "pending" or step.unknown == "resend":
            return
        source = self.state(at)
        for word in ("timeout", "exhausted"):
            trigger = f"{step.name}.{word}"
            if step.unknown == "undo":
                dest = self.retreat.fail(at, step.name, is_refused=False)
                self.add(step.name, TIMEOUTS, trigger, source, dest, "undo", self.refused_end(step.name))
            elif step.unknown == "ask" and word == "timeout":
                if step.each is not None:
                    continue  # the ledger says which of its items are asked about
                resolving = (at - {place}) | {Place(step.name, "resolving")}
                self.add(step.name, TIMEOUTS, trigger, source, resolving, "resolve")
            else:
                self.add(step.name, TIMEOUTS, trigger, source, STUCK, "stuck")

    def _signals(self, at: Marking, wait: WaitSpec) -> None:
        source = self.state(at)
        for signal in wait.signals.values():
            self.reply(wait, signal.__name__, source, at, at, is_refusal=issubclass(signal, Rejection))
        trigger = f"{wait.name}.{ABSENT}"
        if wait.absence == "hold":
            self.add(wait.name, TIMEOUTS, trigger, source, STUCK, "stuck")
        elif wait.absence == "consent":
            self.add(wait.name, TIMEOUTS, trigger, source, finish(self.course, at, wait.name, ABSENT), "resolve")
        else:
            dest = self.retreat.fail(at, wait.name, is_refused=True)
            self.add(wait.name, TIMEOUTS, trigger, source, dest, "undo", self.refused_end(wait.name))

    # ----------------------------------------------------------------- back

    def _undo_replies(self, at: Marking, place: Place, step: StepSpec) -> None:
        assert step.undo is not None
        name, source = step.name, self.state(at)
        for reply in step.undo.replies.values():
            trigger = f"{name}.{reply.__name__}"
            if issubclass(reply, Rejection):
                self.add(name, UNDOS, trigger, source, STUCK, "stuck")
            elif place.phase == "sweeping":
                self.add(name, UNDOS, trigger, source, COMPLETED, "undo")
            else:
                cleared = self.retreat.cleared(at, name, place.phase)
                self.add(name, UNDOS, trigger, source, cleared, "undo", COMPENSATED)
        # A trigger of its own: in `undoing` the same word about the do is only a late refusal.
        self.add(name, UNDOS, f"{name}.{UNDO_UNDELIVERABLE}", source, STUCK, "undeliverable")
        if step.undo.retry.attempts_max:
            self.add(name, UNDOS, f"{name}.undo-exhausted", source, STUCK, "stuck")

    def _late_on_the_way_back(self, at: Marking, step: StepSpec) -> None:
        if not _may_stand_late(step):
            return
        relations = {place: relation(self.course, step.name, place.step) for place in at}
        if any(is_to in ("same", "after") for is_to in relations.values()):
            return  # the way back has still to come to it
        beside = frozenset(place for place, is_to in relations.items() if is_to == "beside")
        self._late(step, self.state(at), beside | {Place(step.name, "undoing")})

    def _late_after_the_end(self, step: StepSpec) -> None:
        if not _may_stand_late(step):
            return
        for source in (COMPENSATED, REJECTED):
            self._late(step, source, frozenset((Place(step.name, "undoing"),)))
        if self.can_be_passed(step.name):
            self._late(step, COMPLETED, frozenset((Place(step.name, "sweeping"),)))

    def _late(self, step: StepSpec, source: str, dest: Marking) -> None:
        has_undo = step.undo is not None
        self.add(step.name, LATE, f"{step.name}.late", source, dest if has_undo else STUCK, "late")


def _may_stand_late(step: StepSpec) -> bool:
    """Whether something of the step may stand that was done after its refusal."""
    # A retriable one is never refused; any other is, by its own words or because nobody could read its command.
    return step.undo is not None or step.kind == "pivot"
