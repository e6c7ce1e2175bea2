"""Whether a function depends on its arguments alone, as far as its byte code shows.

Theory of operation. A decision is made again when a journal is replayed, and must come out the same. So a
predicate may read its arguments, constants, classes, and functions that are pure in the same sense; it may
not read what can change (modules, mutable objects, enclosing variables), nor call what looks at a clock.
This is a net with holes: a method of a class is not looked into.
"""

import dis
import types
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

_PURE_MODULES = frozenset({"decimal", "enum", "fractions", "functools", "math", "msgspec", "operator", "re", "string"})
_IMPURE_BUILTINS = frozenset(
    {"open", "input", "print", "id", "hash", "eval", "exec", "globals", "locals", "vars", "compile"}
)
_IMPURE_ATTRIBUTES = frozenset({"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "getenv", "environ"})
_DEPTH_MAX = 8


def impurity(function: Callable[..., object], depth: int = 0) -> str:
    """What makes the function depend on more than its arguments, in words; "" when nothing was found."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType) or not isinstance(function, types.FunctionType):
        return ""
    names = {*code.co_names, *code.co_freevars}
    for instruction in _instructions(code):
        found = _looked_at(instruction, function, depth)
        if found:
            return found
    return next((f"it uses {name!r}" for name in sorted(names & _IMPURE_ATTRIBUTES)), "")


def constant(function: Callable[..., object]) -> bool | None:
    """What the function always says, None when it depends on something."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType):
        return None
    if any(i.opname.startswith(("LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME")) for i in _instructions(code)):
        return None
    said = {c for c in code.co_consts if isinstance(c, bool)}
    return said.pop() if len(said) == 1 else None


def _instructions(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)


def _looked_at(instruction: dis.Instruction, function: types.FunctionType, depth: int) -> str:
    name = str(instruction.argval)
    match instruction.opname:
        case "STORE_GLOBAL" | "DELETE_GLOBAL":
            return f"it changes {name!r}, which is not its own"
        case "STORE_DEREF" if name in function.__code__.co_freevars:
            return f"it changes {name!r}, which is not its own"
        case "STORE_ATTR" | "STORE_SUBSCR" | "DELETE_ATTR" | "DELETE_SUBSCR":
            return "it changes what it is given"
        case "IMPORT_NAME":
            return "" if name.partition(".")[0] in _PURE_MODULES else f"it imports {name!r}"
        case "LOAD_GLOBAL" | "LOAD_NAME":
            return _global(name, function, depth)
        case "LOAD_DEREF" if name in function.__code__.co_freevars:
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            return _value(name, cells[name].cell_contents, depth) if _is_filled(cells.get(name)) else ""
        case _:
            return ""


def _is_filled(cell: types.CellType | None) -> bool:
    try:
        return cell is not None and cell.cell_contents is not cell
    except ValueError:
        return False


def _global(name: str, function: types.FunctionType, depth: int) -> str:
    if name in function.__globals__:
        return _value(name, function.__globals__[name], depth)
    return f"it calls {name!r}" if name in _IMPURE_BUILTINS else ""


def _value(name: str, value: Any, depth: int) -> str:
    if isinstance(value, types.ModuleType):
        is_pure = value.__name__.partition(".")[0] in _PURE_MODULES
        return "" if is_pure else f"it uses the module {name!r}"
    if isinstance(value, types.FunctionType):
        inner = impurity(value, depth + 1) if depth < _DEPTH_MAX else ""
        return f"it calls {name!r}, and {inner.removeprefix('it ')}" if inner else ""
    if isinstance(value, types.BuiltinFunctionType):
        module = (value.__module__ or "builtins").partition(".")[0]
        return "" if module in (*_PURE_MODULES, "builtins", "_operator", "_functools") else f"it calls {name!r}"
    if isinstance(value, dict | list | set | bytearray):
        return f"it reads {name!r}, which can change"
    if isinstance(value, type | Enum | str | bytes | int | float | complex | tuple | frozenset | None):
        return ""
    return "" if getattr(value, "__hash__", None) is not None else f"it reads {name!r}, which can change"
