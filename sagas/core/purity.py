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
_IMPURE_MODULES = frozenset({"os", "random", "secrets", "socket", "time", "uuid"})
_FIXED = (type, str, bytes, int, float, complex, tuple, frozenset)
"""What does not change, so that what is bound to it depends on its arguments alone."""

_DEPTH_MAX = 8


def impurity(function: Callable[..., object], depth: int = 0) -> str:
    """What makes the function depend on more than its arguments, in words; "" when nothing was found."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType) or not isinstance(function, types.FunctionType):
        return ""
    arguments = code.co_varnames[: code.co_argcount]
    is_given = False
    for instruction in _instructions(code):
        found = _looked_at(instruction, function, depth)
        if found:
            return found
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            # A field of what it is given may be called so: an attribute of anything else looks at a clock.
            if instruction.argval in _IMPURE_ATTRIBUTES and not is_given:
                return f"it uses {instruction.argval!r}"
        else:
            is_given = "LOAD_FAST" in instruction.opname and instruction.argval in arguments
    return ""


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
    if isinstance(value, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
        return _call(name, value, depth)
    if isinstance(value, dict | list | set | bytearray):
        return f"it reads {name!r}, which can change"
    if isinstance(value, (*_FIXED, Enum, types.NoneType)):
        return ""
    return "" if getattr(value, "__hash__", None) is not None else f"it reads {name!r}, which can change"


def _call(name: str, value: types.FunctionType | types.MethodType | types.BuiltinFunctionType, depth: int) -> str:
    module = (value.__module__ or "builtins").partition(".")[0]
    owner = getattr(value, "__self__", None)
    if module in _IMPURE_MODULES or value.__name__ in _IMPURE_ATTRIBUTES:
        return f"it calls {name!r}"
    # As `random.randint` is: a method of an object that remembers something. One that is compared by value does not.
    if not isinstance(owner, (*_FIXED, types.ModuleType, types.NoneType)) and _by_identity(owner):
        return f"it calls {name!r}, which is bound to what can change"
    if isinstance(value, types.BuiltinFunctionType):
        is_known = module in (*_PURE_MODULES, "builtins", "_operator", "_functools")
        return "" if is_known or not isinstance(owner, types.ModuleType) else f"it calls {name!r}"
    function = value.__func__ if isinstance(value, types.MethodType) else value
    inner = impurity(function, depth + 1) if depth < _DEPTH_MAX else ""
    return f"it calls {name!r}, and {inner.removeprefix('it ')}" if inner else ""


def _by_identity(owner: Any) -> bool:
    how: object = type(owner).__hash__
    return how is object.__hash__
