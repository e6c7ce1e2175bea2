"""A plan's next version: a part added, taken away, renamed, moved, joined otherwise or changed."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.random_sagas.plans import How, Joined, Leaf, Part, Plan, Tree, When, changed, leaves, trees
from tests.random_sagas.smaller import smaller

_HOWS: list[How] = ["then", "both", "ways"]


def next_version(plan: Plan, random: Random) -> Plan:
    """Another plan, one version on, that differs in one to three ways. It may be one that is refused."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        plan = random.choice(_CHANGES)(plan, random)
    return replace(plan, version=plan.version + 1)


def _fresh(plan: Plan, random: Random) -> str:
    names = {each.name for each in trees(plan.tree) if isinstance(each, Leaf | When | Part)}
    return random.choice([letter for letter in "mnopqrstuvwxyz" if letter not in names])


def _put(plan: Plan, old: Tree, new: Tree) -> Plan:
    return replace(plan, tree=changed(plan.tree, lambda each: new if each == old else each))


def _add(plan: Plan, random: Random) -> Plan:
    name, old = _fresh(plan, random), random.choice(list(trees(plan.tree)))
    new = random.choice(
        (
            Leaf(name=name),
            Leaf(name=name, has_undo=False, unknown="ask"),
            Leaf(name=name, each=True),
            Leaf(name=name, kind="pivot", unknown="ask"),
            Leaf(name=name, kind="retriable", unknown="resend", can_refuse=False),
            Leaf(name=name, kind="wait", unknown="consent", signals=("Yes",)),
            Leaf(name=name, kind="delay"),
        )
    )
    parts = (old, new) if random.random() < 0.6 else (new, old)
    return _put(plan, old, Joined(random.choice(["then", "then", *_HOWS]), parts))


def _remove(plan: Plan, random: Random) -> Plan:
    count = len(list(leaves(plan.tree)))
    less = [each for each in smaller(plan) if len(list(leaves(each.tree))) < count]
    return random.choice(less) if less else plan


def _rename(plan: Plan, random: Random) -> Plan:
    old, name = random.choice(list(leaves(plan.tree))), _fresh(plan, random)

    def renamed(each: Tree) -> Tree:
        if not isinstance(each, Leaf):
            return each
        fields = {field: name for field in ("name", "reads", "undo_reads") if getattr(each, field) == old.name}
        return replace(each, **fields)  # type: ignore[arg-type]  # each of them is a name

    renames = plan.renames if random.random() < 0.15 else (*plan.renames, (old.name, name))
    return replace(plan, tree=changed(plan.tree, renamed), renames=renames)


def _joins(plan: Plan) -> list[Joined]:
    return [each for each in trees(plan.tree) if isinstance(each, Joined)]


def _reorder(plan: Plan, random: Random) -> Plan:
    if not _joins(plan):
        return plan
    old = random.choice(_joins(plan))
    return _put(plan, old, Joined(old.how, tuple(random.sample(old.parts, len(old.parts)))))


def _join(plan: Plan, random: Random) -> Plan:
    if not _joins(plan):
        return plan
    old = random.choice(_joins(plan))
    return _put(plan, old, Joined(random.choice(_HOWS), old.parts))


def _wrap(plan: Plan, random: Random) -> Plan:
    old = random.choice(list(leaves(plan.tree)))
    return _put(plan, old, When(_fresh(plan, random), old))


def _change(plan: Plan, random: Random) -> Plan:
    old = random.choice(list(leaves(plan.tree)))
    if old.kind != "step":
        return plan
    changes: list[dict[str, object]] = [
        {"each": not old.each},
        {"has_undo": not old.has_undo},
        {"unknown": "hold"},
        {"unknown": "ask"},
    ]
    return _put(plan, old, replace(old, expires=False, can_keep=False, **random.choice(changes)))  # type: ignore[arg-type]  # a field each


_CHANGES: list[Callable[[Plan, Random], Plan]] = [
    _add,
    _add,
    _remove,
    _rename,
    _rename,
    _reorder,
    _join,
    _wrap,
    _change,
]
"""As often as they stand here."""
