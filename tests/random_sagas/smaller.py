"""Plans with a little less in them: how the smallest is found that still breaks what a drawn one has broken."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.random_sagas.plans import Fork, Joined, Leaf, Part, Plan, Tree, When, said

_FIXED = {"pivot": ("unknown",), "retriable": ("unknown", "can_refuse"), "wait": ("unknown",)}
"""What a leaf of this kind cannot do without."""


def smallest(plan: Plan, breaks: Callable[[Plan], bool], *, seconds_max: float) -> Plan:
    """The smallest plan that is found in this time for which `breaks` still says so."""
    until = time.monotonic() + seconds_max
    while time.monotonic() < until:
        less = next((less for less in smaller(plan) if time.monotonic() < until and breaks(less)), None)
        if less is None:
            break
        plan = less
    return plan


def smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with a little less in them, the boldest first."""
    if plan.deadline is not None:
        yield replace(plan, deadline=None)
    for tree in _smaller(plan.tree):
        yield replace(plan, tree=tree)


def _smaller(tree: Tree) -> Iterator[Tree]:
    match tree:
        case Leaf():
            yield from _plainer(tree)
        case Joined(how=how, parts=parts):
            yield from parts
            for number, part in enumerate(parts):
                if len(parts) > 2:
                    yield Joined(how, (*parts[:number], *parts[number + 1 :]))
                for less in _smaller(part):
                    yield Joined(how, (*parts[:number], less, *parts[number + 1 :]))
        case Fork(head=head, branches=branches):
            yield head
            for number, (word, branch) in enumerate(branches):
                yield branch
                if len(branches) > 1:
                    yield Fork(head, (*branches[:number], *branches[number + 1 :]))
                for less in _smaller(branch):
                    yield Fork(head, (*branches[:number], (word, less), *branches[number + 1 :]))
            yield from (Fork(less, branches) for less in _plainer(head))
        case When(name=name, then=then, otherwise=otherwise):
            yield then
            if otherwise is not None:
                yield otherwise
                yield When(name, then)
                yield from (When(name, then, less) for less in _smaller(otherwise))
            yield from (When(name, less, otherwise) for less in _smaller(then))
        case Part(name=name, tree=inner):
            yield inner
            yield from (Part(name, less) for less in _smaller(inner))


def _plainer(leaf: Leaf) -> Iterator[Leaf]:
    for name, _ in said(leaf):
        if name not in _FIXED.get(leaf.kind, ()):
            # Every name is one of a field, and the value is the one that it has anyhow.
            yield replace(leaf, **{name: getattr(Leaf(name=leaf.name, kind=leaf.kind), name)})
    if leaf.kind == "wait" and leaf.signals == ("Yes", "No"):
        yield replace(leaf, signals=("Yes",))
    if leaf.kind == "pivot" and leaf.unknown == "hold":
        yield replace(leaf, unknown="ask")
