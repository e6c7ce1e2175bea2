"""What no message may hold, whatever its type allows: numbers nobody can keep, NUL, times without a zone.

A field that says only `int` would take 2**64, which no database column holds and JavaScript reads as
another number; one that says only `str` would take a NUL, at which half of the tools stop reading; a
`datetime` without a zone means another moment on each machine. Types that exclude all that themselves
cost nothing here: only the others are walked through, and NUL is looked for in the bytes first.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import msgspec
from msgspec import inspect

INTEGER_MAX = 2**53 - 1
"""Of a whole number in a message, either way: a program that reads numbers as doubles reads this one right."""

DECIMAL_EXPONENT_MAX = 100
"""Of a decimal number, either way: arithmetic on 1e1000000000 raises or fills the memory."""

_NUL = b"\\u0000"  # in valid JSON there is no other way to write it


def needs_walk(message_type: type[Any]) -> bool:
    """Whether the type lets something through that `refuse_excess` has to look for."""
    return _is_loose(inspect.type_info(message_type), set())


def refuse_excess(message: object, data: bytes, *, is_loose: bool) -> None:
    """Raise ValueError for what no message may hold. `is_loose` is what `needs_walk` said of its type."""
    if is_loose or _NUL in data:
        _walk(message)


def _is_loose(kind: inspect.Type, seen: set[type[Any]]) -> bool:
    match kind:
        case inspect.IntType():
            low, high = kind.ge if kind.ge is not None else kind.gt, kind.le if kind.le is not None else kind.lt
            return low is None or high is None or low < -INTEGER_MAX or high > INTEGER_MAX
        case inspect.DateTimeType() | inspect.TimeType():
            return kind.tz is not True
        case inspect.AnyType() | inspect.RawType() | inspect.DecimalType() | inspect.CustomType():
            return True
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            if kind.cls in seen:
                return False
            seen.add(kind.cls)
            return any(_is_loose(field.type, seen) for field in kind.fields)
        case inspect.UnionType():
            return any(_is_loose(member, seen) for member in kind.types)
        case inspect.TupleType():
            return any(_is_loose(member, seen) for member in kind.item_types)
        case inspect.CollectionType():
            return _is_loose(kind.item_type, seen)
        case inspect.DictType():
            return _is_loose(kind.key_type, seen) or _is_loose(kind.value_type, seen)
        case _:
            return False


def _walk(value: object) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise ValueError(f"a whole number of {value.bit_length()} bits, at most 53 can be kept")
    elif isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text with NUL in it")
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without a time zone; write it as 2025-01-31T12:00:00Z")
    elif isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > DECIMAL_EXPONENT_MAX:
            raise ValueError("a decimal number that is none or has too many places")
    else:
        for part in _parts(value):
            _walk(part)


def _parts(value: object) -> list[object]:
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return [part for pair in pairs for part in pair]
    if isinstance(value, list | tuple | set | frozenset):
        return list(cast("list[object]", value))
    if hasattr(value, "__dataclass_fields__"):
        return list(vars(value).values())
    return []
