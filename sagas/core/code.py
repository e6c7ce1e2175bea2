"""What a saga's functions do, as a hash of their source: whether a fold, a predicate or a command was changed.

Theory of operation. A hash of byte code would differ from one Python to the next, and one of the text with every
comment. So the syntax tree is read: the parameters' names and the body, without positions, docstrings, annotations
and decorators. A function whose source cannot be read is told by the names and constants in it.

What a function reads from around it counts, too (`code_values.py`), and of the functions among that the same is asked.
They are gone through breadth first, each once: where it is come to again it is told by its number. What Python and
msgspec bring along is told by its name. Not noticed is what no name leads to: a method of an object that came out of a
call, an attribute whose name is made at run time.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any, cast

import msgspec

from sagas.core.code_values import PLAIN, Values, codes_of, read_by
from sagas.core.definition import ChoiceSpec, Definition, DelaySpec, StepSpec, WaitSpec
from sagas.core.hashing import short_hash

FUNCTIONS_MAX = 200
"""Told behind one function of a definition; what is farther away is told by its name."""

_NOT_CODE = ("ctx", "kind", "type_comment", "type_params", "annotation", "returns", "decorator_list")
_Trees = dict[CodeType, ast.FunctionDef | None]


def code_of(definition: Definition) -> dict[str, str]:
    """The hashes of its functions: `reserve.fold`, `reserve.undo`, `is_large`; 16 hexadecimal digits each."""
    trees: _Trees = {}
    return {name: _hash(functions, trees) for name, functions in _functions(definition)}


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


def _hash(functions: tuple[Callable[..., Any], ...], trees: _Trees) -> str:
    found: list[FunctionType] = []
    numbers: dict[int, int] = {}

    def number(function: FunctionType) -> int | str:
        if id(function) not in numbers:
            if len(found) == FUNCTIONS_MAX:
                return function.__qualname__
            numbers[id(function)] = len(found)
            found.append(function)
        return numbers[id(function)]

    values = Values(number)
    first = [values.told(function) for function in functions]
    told = [_told(function, values, trees) for function in found]  # it grows meanwhile, by what is read
    return short_hash(msgspec.json.encode([first, told]))[:8].hex()


def _told(function: FunctionType, values: Values, trees: _Trees) -> Any:
    code = function.__code__
    if code not in trees:
        trees[code] = _parsed(code)
    tree = trees[code]
    if tree is None:
        body: Any = [
            [sorted(c.co_names), [repr(v) for v in c.co_consts if isinstance(v, PLAIN)]] for c in codes_of(code)
        ]
    else:
        # The docstring is for people.
        told = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
        body = [_node(tree.args), [_node(statement) for statement in told]]
    return [body, [[name, values.told(value)] for name, value in read_by(function)]]


def _parsed(code: CodeType) -> ast.FunctionDef | None:
    try:
        # Of the code: of a function that wraps another the other's source would be given.
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
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
