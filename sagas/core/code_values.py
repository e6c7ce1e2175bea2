"""What a function reads from around it, as plain data: values by their contents, and which names lead to which.

Theory of operation. A function's names are those of its code and of all code inside it: generators, lambdas, functions.
What they mean is looked up in its module, in the function it was made in, and in each of the author's modules and
classes that is come to so, or that is written at a parameter: there every name is looked up, whether or not
it stands behind that module. So now and then one too many is told, and none too few.

Values are told by what is in them, in an order that is the same in every process: no address, no order of a set.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import islice
from sys import stdlib_module_names
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

PLAIN = (str, bytes, int, float, complex, bool, type(None), Decimal, Fraction, timedelta, timezone, ZoneInfo, UUID)
"""What is told as it is written."""

PARTS_MAX = 10_000
"""Parts of one value that are told: of a longer table the rest is its length."""

DEPTH_MAX = 16
"""How deep a value is looked into: a list may contain itself."""

_HOLDERS_MAX = 200
"""Modules and classes that one function's names are looked up in."""

_UNNAMED = ("__call__", "__init__", "__post_init__")
"""What a class or an object does when it is called."""

_ABSENT = object()


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """The code and all code inside it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from codes_of(inner)


# --------------------------------------------------------------------------- which names lead to what


def read_by(function: FunctionType) -> list[tuple[str, Any]]:
    """What it reads from around it, each with the names that lead there."""
    names = sorted({name for code in codes_of(function.__code__) for name in code.co_names})
    around = function.__globals__
    found = [(name, around[name]) for name in names if name in around]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:
            continue  # not filled yet: a function that calls itself
    found += [("=", function.__defaults__), ("=", function.__kwdefaults__)]
    looked_in = [*found, *(("@", _annotated(said, around)) for said in function.__annotations__.values())]
    known: set[int] = set()
    for path, value in looked_in:  # it grows meanwhile: a module has modules in it
        holder = _holder(value)
        if holder is None or id(holder) in known or len(known) == _HOLDERS_MAX:
            continue
        known.add(id(holder))
        members = [(f"{path}.{name}", _member(holder, name)) for name in (*names, *_UNNAMED)]
        inside = [(name, member) for name, member in members if member is not _ABSENT]
        found += inside
        looked_in += inside
    return found


def _annotated(said: object, around: dict[str, Any]) -> object:
    return around.get(said) if isinstance(said, str) else said


def _holder(value: object) -> ModuleType | type | None:
    """Where names behind this value are looked up: a module or class of the author's, None for no such."""
    if isinstance(value, ModuleType):
        return value if _is_own(value.__name__) else None
    kind = value if isinstance(value, type) else type(value)
    return kind if _is_own(kind.__module__) else None


def _member(holder: ModuleType | type, name: str) -> object:
    if isinstance(holder, ModuleType):
        return vars(holder).get(name, _ABSENT)
    if issubclass(holder, Enum) and name in holder.__members__:
        return holder.__members__[name]
    return next(
        (vars(kind)[name] for kind in holder.__mro__ if _is_own(kind.__module__) and name in vars(kind)), _ABSENT
    )


def _is_own(module: str | None) -> bool:
    top = (module or "").partition(".")[0]
    return top not in stdlib_module_names and top not in ("msgspec", "")


# --------------------------------------------------------------------------- what is in a value


class Values:
    """Tells values as plain data. `number` takes up a function of the author's, and says what it is told by."""

    def __init__(self, number: Callable[[FunctionType], int | str]) -> None:
        self._number = number
        self._left = 0

    def told(self, value: object) -> Any:
        """What is in it, as far as `PARTS_MAX` goes."""
        self._left = PARTS_MAX
        return self._told(value, 0)

    def _told(self, value: object, depth: int) -> Any:
        self._left -= 1
        if depth > DEPTH_MAX:
            return type(value).__name__
        match value:
            case Enum():
                return [type(value).__qualname__, value.name, self._told(value.value, depth + 1)]
            case _ if isinstance(value, PLAIN):
                return repr(value)
            case date() | time():
                return [type(value).__name__, str(value)]  # not as it is written: its zone may be anything
            case ModuleType():
                return "module"
            case _ if callable(value) or isinstance(value, staticmethod | classmethod | property):
                return self._called(cast("Any", value), depth)
            case _:
                parts = _parts(value)
                told = [self._told(part, depth + 1) for part in islice(parts, max(self._left, 0))]
                return [type(value).__name__, len(parts), told]

    def _called(self, value: Any, depth: int) -> Any:
        """A function, or what has one in it; anything else by its name."""
        match value:
            case FunctionType():
                return self._number(value) if _is_own(value.__module__) else value.__qualname__
            case MethodType() | staticmethod() | classmethod():
                return self._told(cast("Any", value).__func__, depth + 1)
            case property():
                return self._told(value.fget, depth + 1)
            case functools.partial():
                return ["partial", *(self._told(each, depth + 1) for each in (value.func, value.args, value.keywords))]
            case _:
                wrapped = inspect.getattr_static(value, "__wrapped__", None)
                if isinstance(value, type) or wrapped is None:
                    return _named(value)
                return self._told(wrapped, depth + 1)


def _parts(value: object) -> Sequence[object]:
    """What is in it, in an order that is the same in every process; () of what cannot be looked into."""
    match value:
        case list() | tuple():
            return cast("Sequence[object]", value)
        case dict():
            return list(cast("dict[object, object]", value).items())
        case set() | frozenset():
            return sorted(cast("Iterable[object]", value), key=_order)
        case re.Pattern():
            return [getattr(cast("object", value), name) for name in ("pattern", "flags")]
        case msgspec.Struct():
            return [getattr(value, name) for name in value.__struct_fields__]
        case _ if is_dataclass(value):
            return [getattr(value, each.name, None) for each in fields(value)]
        case _:
            return ()


def _order(value: object) -> str:
    """Where it stands in a set that is told: by what it says, never by where it lies in memory."""
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, tuple | frozenset):
        parts = [_order(part) for part in cast("Iterable[object]", value)]
        return repr(sorted(parts) if isinstance(value, frozenset) else parts)
    return _named(value)


def _named(value: object) -> str:
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else type(value).__name__
