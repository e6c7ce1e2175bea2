"""Plans of sagas: what an author would have in mind, a tree of leaves and of the ways to join them.

`drawing.py` draws them by chance, `smaller.py` makes them smaller once one has broken something, `written.py` writes
them down as a module.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Literal

Kind = Literal["step", "pivot", "retriable", "wait", "delay"]
How = Literal["then", "both", "ways"]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A step, wait or delay. `unknown` is what silence means, of a wait too; `each`: for the items of a list."""

    name: str
    kind: Kind = "step"
    unknown: str = "undo"
    has_undo: bool = True
    can_keep: bool = False
    can_refuse: bool = True
    undo_tries: int = 0
    tries: int = 0
    each: bool = False
    expires: bool = False
    signals: tuple[str, ...] = ("Yes", "No")
    aside: bool = False
    writes: bool = False
    reads: str = ""
    undo_reads: str = ""


@dataclass(frozen=True)
class Joined:
    """Parts, one after the other, at once, or each where the one before has failed."""

    how: How
    parts: tuple["Tree", ...]


@dataclass(frozen=True)
class Fork:
    """A leaf, and what follows some of its answers."""

    head: Leaf
    branches: tuple[tuple[str, "Tree"], ...]


@dataclass(frozen=True)
class When:
    """A decision, and what follows it."""

    name: str
    then: "Tree"
    otherwise: "Tree | None" = None


@dataclass(frozen=True)
class Part:
    """A sub-saga."""

    name: str
    tree: "Tree"


Tree = Leaf | Joined | Fork | When | Part


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A saga as it was drawn. `renames` says what its leaves were called in the version before."""

    tree: Tree
    deadline: float | None = None
    version: int = 1
    renames: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        bound = f"  deadline={self.deadline}" if self.deadline else ""
        return shown(self.tree) + bound


def inside(tree: Tree) -> tuple[Tree, ...]:
    """The trees that a tree is made of, one level down."""
    match tree:
        case Leaf():
            return ()
        case Joined(parts=parts):
            return parts
        case Fork(head=head, branches=branches):
            return (head, *(branch for _, branch in branches))
        case When(then=then, otherwise=otherwise):
            return (then,) if otherwise is None else (then, otherwise)
        case Part(tree=inner):
            return (inner,)


def trees(tree: Tree) -> Iterator[Tree]:
    """The tree and all that is in it."""
    yield tree
    for part in inside(tree):
        yield from trees(part)


def leaves(tree: Tree) -> Iterator[Leaf]:
    """Every step, wait and delay."""
    return (each for each in trees(tree) if isinstance(each, Leaf))


def changed(tree: Tree, change: Callable[[Tree], Tree]) -> Tree:
    """The tree with `change` applied to all that is in it, from the leaves up. A fork's head stays a leaf."""
    match tree:
        case Leaf():
            return change(tree)
        case Joined(how=how, parts=parts):
            return change(Joined(how, tuple(changed(part, change) for part in parts)))
        case Fork(head=head, branches=branches):
            new = change(head)
            inner = tuple((word, changed(branch, change)) for word, branch in branches)
            return change(Fork(new if isinstance(new, Leaf) else head, inner))
        case When(name=name, then=then, otherwise=otherwise):
            other = None if otherwise is None else changed(otherwise, change)
            return change(When(name, changed(then, change), other))
        case Part(name=name, tree=inner):
            return change(Part(name, changed(inner, change)))


SIGNS = {"then": " >> ", "both": " & ", "ways": " | "}


def shown(tree: Tree) -> str:
    """A tree in the words of the algebra."""
    match tree:
        case Leaf():
            return f"{tree.name}[{' '.join([tree.kind, *(f'{name}={value}' for name, value in said(tree))])}]"
        case Joined(how=how, parts=parts):
            return f"({SIGNS[how].join(map(shown, parts))})"
        case Fork(head=head, branches=branches):
            return shown(head) + "".join(f".on({word}, {shown(branch)})" for word, branch in branches)
        case When(name=name, then=then, otherwise=otherwise):
            return f"when({name}, {shown(then)}{', ' + shown(otherwise) if otherwise is not None else ''})"
        case Part(name=name, tree=inner):
            return f"part({name}: {shown(inner)})"


def said(leaf: Leaf) -> list[tuple[str, object]]:
    """What is said of a leaf that is not said of every one."""
    plain = Leaf(name=leaf.name, kind=leaf.kind)
    values = ((field.name, getattr(leaf, field.name)) for field in fields(leaf))
    return [(name, value) for name, value in values if value != getattr(plain, name)]


def answers(leaf: Leaf) -> list[str]:
    """The words that a branch may take up."""
    if leaf.each or leaf.kind == "delay":
        return []
    if leaf.kind == "wait":
        return list(leaf.signals)
    return ["Done", "Other", *(["Refused"] if leaf.can_refuse else [])]
