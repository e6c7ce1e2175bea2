"""The moves out of `stuck`, and what a person can do: a part of `sagas/core/edges.py`.

Theory of operation. `stuck` is one state, whatever the other branches have come to. A move out of it begins those at
their first leaf, or on the way back at their last, and the kernel passes over what the ledger has already. So a
fan-out begins anew, too, and asks only for the items that are open.
"""

from sagas.core.course import NOWHERE, Marking, Place, finish, start
from sagas.core.definition import ChoiceSpec, LeafSpec, StepSpec, WaitSpec
from sagas.core.edge_list import OPERATOR, REPLIES, UNDOS, EdgeList
from sagas.core.instance import COMPENSATED, COMPLETED, STUCK
from sagas.core.machine import EdgeKind
from sagas.core.messages import Rejection
from sagas.core.outcomes import ANSWERED, UNDONE, by_hand, resolved_as
from sagas.core.retreat import lane_mates


def out_of_stuck(edges: EdgeList, name: str) -> None:
    """Where a run goes from `stuck` over `name`: by the answer that is still awaited, or by a person's word."""
    spec = edges.specs[name]
    mates = lane_mates(edges.course, name)
    is_caught = edges.retreat.catcher(name) is not None
    here = frozenset((Place(name, edges.begins[name]),))
    ahead = here.union(*map(start, (*mates["inner"], *mates["outer"])))
    back = here.union(*map(start, mates["outer"])) if is_caught else here
    _by_the_answer(edges, spec, ahead, back)
    _by_hand(edges, name, "retry", ahead)
    if not isinstance(spec, ChoiceSpec):
        is_fanout = isinstance(spec, StepSpec) and spec.each is not None
        on = ahead if is_fanout else finish(edges.course, ahead, name, by_hand(spec))
        # Of a fan-out one item was resolved: what stands of the others is undone.
        refused = edges.retreat.fail(back, name, is_refused=not is_fanout)
        end = COMPENSATED if isinstance(spec, StepSpec) and spec.undo is not None else edges.refused_end(name)
        _by_hand(edges, name, "resolve-done", on, COMPLETED)
        if isinstance(spec, StepSpec) and not is_fanout:
            _as_answered(edges, spec, ahead, on)
        _past_it(edges, spec, "resolve-undone", refused, end)
    if isinstance(spec, StepSpec) and spec.undo is not None:
        _over_its_undo(edges, spec, back, is_caught=is_caught)
    if edges.can_be_passed(name):
        _past_it(edges, spec, "resolve-swept", NOWHERE, COMPLETED)


def _by_the_answer(edges: EdgeList, spec: LeafSpec, ahead: Marking, back: Marking) -> None:
    if isinstance(spec, StepSpec) and spec.unknown != "undo":
        if spec.each is not None:
            edges.add(spec.name, REPLIES, f"{spec.name}.{ANSWERED}", STUCK, ahead, "forward")
            return
        for reply in spec.replies.values():
            edges.reply(spec, reply.__name__, STUCK, ahead, back, is_refusal=issubclass(reply, Rejection))
        if spec.kind != "retriable":
            edges.undeliverable(spec, STUCK, back)
    elif isinstance(spec, WaitSpec) and spec.absence == "hold":
        for signal in spec.signals.values():
            edges.reply(spec, signal.__name__, STUCK, ahead, back, is_refusal=issubclass(signal, Rejection))


def _as_answered(edges: EdgeList, step: StepSpec, ahead: Marking, on: Marking) -> None:
    """Where a person says "done" of a step whose answer is known, and a branch takes that answer up."""
    for reply in step.replies.values():
        dest = finish(edges.course, ahead, step.name, reply.__name__)
        if not issubclass(reply, Rejection) and dest != on:
            edges.add(step.name, OPERATOR, resolved_as(step.name, reply.__name__), STUCK, dest, "operator")


def _over_its_undo(edges: EdgeList, step: StepSpec, back: Marking, *, is_caught: bool) -> None:
    mates = lane_mates(edges.course, step.name)
    lanes = (edges.retreat.last(lane, "undoing") for lane in (*mates["inner"], *mates["outer"]))
    undoing = frozenset((Place(step.name, "undoing"),)).union(*lanes)
    _by_hand(edges, step.name, "retry-undo", undoing)
    if is_caught:
        inner = (edges.retreat.last(lane, "reverting") for lane in mates["inner"])
        outer = frozenset(p for p in back if p.step != step.name)
        _by_hand(edges, step.name, "retry-revert", outer.union((Place(step.name, "reverting"),), *inner))
        cleared = undoing if step.each is not None else edges.retreat.cleared(undoing, step.name, "undoing")
        _past_it(edges, step, "resolve-cleared", cleared, COMPENSATED)
    if edges.can_be_passed(step.name):
        _by_hand(edges, step.name, "retry-sweep", frozenset((Place(step.name, "sweeping"),)))


def _past_it(edges: EdgeList, spec: LeafSpec, word: str, dest: Marking, end: str) -> None:
    """Nothing of it remains: a person says so, or the answer to its undo, which comes after all."""
    _by_hand(edges, spec.name, word, dest, end)
    if isinstance(spec, StepSpec) and spec.undo is not None:
        # Every undo may be stuck because nobody could read it; that is drawn with what is rare.
        may_be_stuck = spec.undo.retry.attempts_max or any(issubclass(r, Rejection) for r in spec.undo.replies.values())
        kind: EdgeKind = "undo" if may_be_stuck else "undeliverable"
        edges.add(spec.name, UNDOS, f"{spec.name}.{UNDONE[word]}", STUCK, dest, kind, end)


def _by_hand(edges: EdgeList, name: str, word: str, dest: Marking, end: str = COMPLETED) -> None:
    edges.add(name, OPERATOR, f"{name}.{word}", STUCK, dest, "operator", end)
