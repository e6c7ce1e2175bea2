"""A plan written down as the module that an author would write, and that module loaded."""

import linecache
import sys
import types
from collections.abc import Iterator
from itertools import count
from typing import Any

from tests.random_sagas.plans import SIGNS, Fork, Joined, Leaf, Part, Plan, Tree, When, inside, leaves

_HEAD = """\
import msgspec
from sagas import CannotUndo, Command, Event, Participant, Rejection, Retry, Saga, unchanged
from sagas.ports import Sql
from sagas.runtime.participant import Service
from tests.random_sagas.saying import chosen, undone

PLACE, SIDE = Participant("place", key="k"), Participant("side", key="k")

class Begun(Event, tag="begun"):
    k: str
    n: int = 0
class Yes(Event, tag="yes"): k: str
class Also(Event, tag="also"): k: str
class No(Rejection, tag="no"):
    k: str
    reason: str = ""
"""

_numbers = count()


def source(plan: Plan, name: str = "course") -> str:
    """The module of a plan."""
    return _HEAD + "".join(line + "\n" for line in _Writer(plan, name).lines())


def load(plan: Plan, name: str = "course") -> Any:
    """The module of a plan, loaded. Raises DefinitionError for what is refused."""
    text = source(plan, name)
    module = types.ModuleType(f"random_saga_{next(_numbers)}")
    file = f"<{module.__name__}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module.__file__ = file
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, file, "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__], linecache.cache[file]
    return module


class _Writer:
    def __init__(self, plan: Plan, name: str) -> None:
        self._plan, self._name = plan, name

    def lines(self) -> Iterator[str]:
        yield f"# {self._plan}"
        steps = [leaf for leaf in leaves(self._plan.tree) if leaf.kind in ("step", "pivot", "retriable")]
        for leaf in steps:
            yield from _messages(leaf)
        yield from self._saga(self._plan.tree, "")
        yield from _services(steps)

    def _saga(self, tree: Tree, part: str) -> Iterator[str]:
        """The saga of a tree; `part` is the name that its parent has for it, "" for the whole."""
        own = list(_own(tree))
        for inner in (each for each in own if isinstance(each, Part)):
            yield from self._saga(inner.tree, inner.name)
        var, data, event = (f"saga_{part}", f"Data_{part}", f"Begun_{part}") if part else ("saga", "Data", "Begun")
        yield from _data(own, data)
        if part:
            yield f"class {event}(Event, tag='begun.{part}'): k: str; n: int = 0"
            yield f"{var} = Saga('child_{part}', {data}, version=1, key='k')"
        else:
            bounds = f", deadline={self._plan.deadline}, renames={dict(self._plan.renames)!r}"
            yield f"{var} = Saga('{self._name}', {data}, version={self._plan.version}, key='k'{bounds})"
        yield f"@{var}.start(on=PLACE)"
        yield f"def begin{part}(event: {event}) -> {data}: return {data}(event.k, event.n)"
        written = {leaf.name for leaf in own if isinstance(leaf, Leaf) and leaf.writes}
        for each in own:
            yield from _written(each, var, data, written)
        yield f"{var}.flow({_expression(tree, var)})"


def _data(own: list[Tree], data: str) -> Iterator[str]:
    yield f"class {data}(msgspec.Struct, frozen=True):"
    yield from ("    k: str", "    n: int = 0")
    for each in own:
        if isinstance(each, Leaf) and each.writes:
            yield f"    got_{each.name}: bool = False"
        elif isinstance(each, Part):
            yield f"    {each.name}: Data_{each.name} | None = None"


def _written(tree: Tree, var: str, data: str, written: set[str]) -> Iterator[str]:
    match tree:
        case Leaf():
            yield from _leaf(tree, var, data, written)
        case When(name=name):
            yield f"def {name}(data: {data}) -> bool: return data.n & {1 << (ord(name) % 4)} == 0"
        case Part(name=name):
            yield f"@{var}.part(saga_{name})"
            yield f"def {name}(data: {data}) -> Data_{name}: return Data_{name}(data.k, data.n)"
        case _:
            pass


def _own(tree: Tree) -> Iterator[Tree]:
    """What a saga has itself: its parts, and not what is in them."""
    yield tree
    for each in () if isinstance(tree, Part) else inside(tree):
        yield from _own(each)


def _expression(tree: Tree, var: str) -> str:
    match tree:
        case Leaf(name=name) | Part(name=name):
            return name
        case Joined(how=how, parts=parts):
            return f"({SIGNS[how].join(_expression(part, var) for part in parts)})"
        case Fork(head=head, branches=branches):
            return head.name + "".join(
                f".on({_word(head, word)}, {_expression(branch, var)})" for word, branch in branches
            )
        case When(name=name, then=then, otherwise=otherwise):
            other = f", {_expression(otherwise, var)}" if otherwise is not None else ""
            return f"{var}.when({name}, {_expression(then, var)}{other})"


def _word(leaf: Leaf, word: str) -> str:
    return word if leaf.kind == "wait" else f"{word}{leaf.name.upper()}"


def _replies(leaf: Leaf) -> str:
    big = leaf.name.upper()
    return f"Done{big} | Other{big}" + (f" | Refused{big}" if leaf.can_refuse else "")


def _messages(leaf: Leaf) -> Iterator[str]:
    name, big = leaf.name, leaf.name.upper()
    yield f"class Done{big}(Event, tag='{name}.done'): k: str"
    yield f"class Other{big}(Event, tag='{name}.other'): k: str"
    if leaf.can_refuse:
        yield f"class Refused{big}(Rejection, tag='{name}.refused'):"
        yield "    k: str"
        yield "    reason: str = ''"
    yield f"class Undone{big}(Event, tag='{name}.undone'): k: str"
    yield f"class Do{big}(Command[{_replies(leaf)}], tag='{name}.do'):"
    yield from ("    k: str", "    said: bool = False", "    item: str = ''")
    keeps = " | CannotUndo" if leaf.can_keep else ""
    yield f"class Undo{big}(Command[Undone{big}{keeps}], tag='{name}.undo'):"
    yield from ("    k: str", "    said: bool = False", "    item: str = ''")


def _leaf(leaf: Leaf, var: str, data: str, written: set[str]) -> Iterator[str]:
    name, big = leaf.name, leaf.name.upper()
    if leaf.kind == "delay":
        yield f"@{var}.delay"
        yield f"def {name}(data: {data}) -> float: return (data.n % 3) * 0.4"
        return
    if leaf.kind == "wait":
        signals = " | ".join(leaf.signals)
        yield f"@{var}.wait(on={'SIDE' if leaf.aside else 'PLACE'}, timeout=2, absence='{leaf.unknown}')"
        yield f"def {name}(data: {data}, signal: {signals}) -> {data}: return data"
        return
    given, item = f"data: {data}", ""
    of = var
    if leaf.each:
        # Behind the pivot a list with one key twice needs a person.
        items = ("x", "y", "z") if leaf.kind == "retriable" else ("x", "y", "x")
        yield f"def list_{name}(data: {data}) -> tuple[str, ...]: return {items}[: data.n % 4]"
        yield f"def key_{name}(item: str) -> str: return item"
        of = f"{var}.for_each(list_{name}, key=key_{name}, at_most=5)"
        given, item = f"data: {data}, item: str", ", item=item"
    yield f"@{of}.{leaf.kind}(to=PLACE, timeout=0.7{_said(leaf)})"
    yield f"def {name}({given}) -> Do{big}: return Do{big}(k=data.k{_read(leaf.reads, written)}{item})"
    if leaf.kind == "step" and leaf.has_undo:
        yield f"@{name}.undo"
        yield f"def _({given}) -> Undo{big}: return Undo{big}(k=data.k{_read(leaf.undo_reads, written)}{item})"
    if leaf.writes:
        yield f"@{name}.reply"
        yield f"def _({given}, reply: {_replies(leaf)}) -> {data}:"
        yield f"    return msgspec.structs.replace(data, got_{name}=True)"
    else:
        yield f"{name}.reply(unchanged)"


def _read(name: str, written: set[str]) -> str:
    return f", said=data.got_{name}" if name in written else ""


def _said(leaf: Leaf) -> str:
    said = ""
    if leaf.kind != "retriable":
        said += f", unknown='{leaf.unknown}'"
    if leaf.tries:
        said += f", retry=Retry(attempts_max={leaf.tries}, first_ms=100)"
    if leaf.kind == "step":
        if leaf.undo_tries:
            said += f", undo_retry=Retry(attempts_max={leaf.undo_tries}, first_ms=100)"
        if not leaf.has_undo:
            said += ", leaves_nothing=True"
        if leaf.expires:
            said += ", expires=True"
    return said


def _services(steps: list[Leaf]) -> Iterator[str]:
    yield from ("def services() -> list[Service]:", "    service = Service(PLACE)")
    for leaf in steps:
        name, big = leaf.name, leaf.name.upper()
        replies = _replies(leaf)
        said = f"chosen('{name}', command, ({replies.replace(' | ', ', ')}))"
        yield "    @service.handles"
        yield f"    def do_{name}(sql: Sql, command: Do{big}) -> {replies}: return {said}"
        if leaf.kind == "step" and leaf.has_undo:
            keeps, word = (" | CannotUndo", ", CannotUndo") if leaf.can_keep else ("", ",")
            said = f"undone('{name}', command, (Undone{big}{word}))"
            yield "    @service.undoes"
            yield f"    def undo_{name}(sql: Sql, command: Undo{big}) -> Undone{big}{keeps}: return {said}"
    yield "    return [service, Service(SIDE)]"
