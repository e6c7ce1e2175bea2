"""What a saga's functions do, as a hash of their source: whether a fold, a predicate or a command was changed.

Theory of operation. A hash of byte code would differ from one Python to the next, and one of the text with every
comment. So the syntax tree is read: the parameters' names and the body, without positions, docstrings, annotations
and decorators. What a function reads from its module counts, too: the functions it calls, as deep as they
are the author's own, and plain values. A function whose source cannot be read is told by the names and constants in it.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, cast

import msgspec

from sagas.core.definition import ChoiceSpec, Definition, DelaySpec, StepSpec, WaitSpec
from sagas.core.hashing import short_hash

_DEPTH_MAX = 8
_PLAIN = (str, bytes, int, float, bool, type(None))
_NOT_CODE = ("ctx", "kind", "type_comment", "type_params", "annotation", "returns", "decorator_list")


def code_of(definition: Definition) -> dict[str, str]:
    """The hashes of its functions: `reserve.fold`, `reserve.undo`, `is_large`; 16 hexadecimal digits each."""
    return {name: _hash(functions) for name, functions in _functions(definition)}


def _functions(definition: Definition) -> Iterator[tuple[str, tuple[Callable[..., Any], ...]]]:
    for name in definition.course.names:
        spec = definition.leaf(name)
        match spec:
            case StepSpec():
                yield f"{name}.command", (spec.build,)
                yield f"{name}.fold", (spec.fold,)
                if spec.undo is not None:
                    yield f"{name}.undo", (spec.undo.build,)
                if spec.each is not None:
                    yield f"{name}.items", spec.each.written
            case WaitSpec():
                yield f"{name}.fold", (spec.fold,)
            case DelaySpec():
                yield name, (spec.seconds,)
            case ChoiceSpec():
                yield name, (spec.test,)


def changed_code(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The functions that both have, and that do something else; [] where one release did not write them down."""
    return [name for name, code in new.items() if old.get(name, code) != code]


def _hash(functions: tuple[Callable[..., Any], ...]) -> str:
    told = [_told(function, 0) for function in functions]
    return short_hash(msgspec.json.encode(told))[:8].hex()


def _told(function: Callable[..., Any], depth: int) -> Any:
    code = getattr(function, "__code__", None)
    if code is None or depth > _DEPTH_MAX:
        return getattr(function, "__qualname__", type(function).__name__)
    tree = _parsed(function)
    if tree is None:
        body: Any = [sorted(code.co_names), [repr(c) for c in code.co_consts if isinstance(c, _PLAIN)]]
    else:
        # The docstring is for people.
        told = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
        body = [_node(tree.args), [_node(statement) for statement in told]]
    return [body, [[name, _value(value, depth)] for name, value in _read(function)]]


def _parsed(function: Callable[..., Any]) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    return tree.body[0] if tree.body and isinstance(tree.body[0], ast.FunctionDef) else None


def _node(node: Any) -> Any:
    """A node as plain data. What is empty is left out: newer Pythons have fields that older ones lack."""
    if isinstance(node, ast.AST):
        fields = [(name, _node(value)) for name, value in ast.iter_fields(node) if name not in _NOT_CODE]
        return [type(node).__name__, [[name, value] for name, value in fields if value not in (None, [])]]
    if isinstance(node, list):
        return [_node(each) for each in cast("Sequence[Any]", node)]
    return None if node is None else repr(node)


def _read(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """What it reads from around it, by name: of its module, and of the function it was made in."""
    around = getattr(function, "__globals__", {})
    code = cast("Any", function).__code__
    yield from ((name, around[name]) for name in sorted(code.co_names) if name in around)
    for name, cell in zip(code.co_freevars, getattr(function, "__closure__", None) or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # not filled yet: a function that calls itself


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, Enum) or not callable(value):
        plain = isinstance(value, (*_PLAIN, tuple, frozenset, Enum))
        return repr(cast("object", value)) if plain else type(value).__name__
    is_own = inspect.isfunction(value) and not (value.__module__ or "").startswith("msgspec")
    return _told(value, depth + 1) if is_own else getattr(value, "__qualname__", "")
