"""Messages to check with: one of each type, taken from examples or made from the types alone.

A fold and a predicate are the author's code, so what they do may depend on what is in a message. Whoever
wants particular contents gives examples; for the rest a value that satisfies the type will do.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect

from sagas.core.messages import Message
from sagas.errors import SagaError

KEY = "k-1"
"""The business key of the run that is checked."""

_TEXTS = (
    "a",
    "1",
    "1.00",
    "A",
    "EUR",
    "a-1",
    "a@example.org",
    "https://example.org/a",
    "2025-01-01",
    "2025-01-01T00:00:00Z",
    "00000000-0000-7000-8000-000000000001",
    "+491234567",
    "DE89370400440532013000",
    "true",
    "",
)
"""Tried in this order where a pattern has to be met."""


class NoSample(SagaError):
    """No value could be made for a message: an example is needed."""


class Samples:
    """One message of each type. `examples` win over what is made."""

    def __init__(self, key_field: str, examples: Iterable[Message] = ()) -> None:
        self._key_field = key_field
        self._examples: Mapping[type[Message], Message] = {type(message): message for message in examples}
        self._made: dict[type[Message], Message] = {}

    def of(self, message_type: type[Message]) -> Any:
        """A message of this type, about the run that is checked. Raises NoSample."""
        known = self._made.get(message_type)
        if known is None:
            known = self._made[message_type] = self._make(message_type)
        return known

    def items(self, item_type: Any, count: int) -> list[tuple[str, Any]]:
        """Items of this type, each with its key, which it has in each of its texts that may be so. Raises NoSample."""
        info = inspect.type_info(item_type)
        made = _value(info, "an item")
        keys = [f"i{number}" for number in range(1, count + 1)]
        return [(key, _named(made, info, key)) for key in keys]

    def _make(self, message_type: type[Message]) -> Message:
        example = self._examples.get(message_type)
        if example is not None:
            return msgspec.structs.replace(example, **{self._key_field: KEY})
        info = inspect.type_info(message_type)
        assert isinstance(info, inspect.StructType)
        fields: dict[str, Any] = {}
        for field in info.fields:
            if field.name == self._key_field:
                fields[field.name] = KEY
            elif field.required:
                where = f"{message_type.__name__}.{field.name}"
                try:
                    fields[field.name] = _value(field.type, where)
                except RecursionError:
                    raise _no_sample(where, "its type has itself within it") from None
        try:
            # A bound that a made value does not meet shows only when it is read: no constructor checks it.
            return msgspec.json.decode(msgspec.json.encode(message_type(**fields)), type=message_type)
        except Exception as error:
            raise _no_sample(message_type.__name__, f"{type(error).__name__}: {error}") from error


def _named(item: Any, info: inspect.Type, key: str) -> Any:
    """The item with `key` in each text of its own that may be so."""
    if not isinstance(info, inspect.StructType):
        return key if isinstance(info, inspect.StrType) and _fits(info, key) else item
    texts = {f.name: key for f in info.fields if isinstance(f.type, inspect.StrType) and _fits(f.type, key)}
    return msgspec.structs.replace(item, **texts)


def _fits(wanted: inspect.StrType, text: str) -> bool:
    is_long_enough = (wanted.min_length or 0) <= len(text)
    is_short_enough = wanted.max_length is None or len(text) <= wanted.max_length
    return is_long_enough and is_short_enough and (wanted.pattern is None or bool(re.search(wanted.pattern, text)))


def _no_sample(where: str, why: str) -> NoSample:
    return NoSample(
        f"no sample can be made for {where} ({why}); give one: define EXAMPLES = (…,) with such a message in the "
        "saga's module"
    )


def _value(wanted: inspect.Type, where: str) -> Any:
    """Some value of this type."""
    match wanted:
        case inspect.StrType():
            return _text(wanted, where)
        case inspect.IntType() | inspect.FloatType():
            return _number(wanted)
        case inspect.UnionType():
            return _value(_easiest(wanted), where)
        case inspect.StructType():
            return wanted.cls(**{f.name: _value(f.type, f"{where}.{f.name}") for f in wanted.fields if f.required})
        case inspect.TupleType():
            return tuple(_value(item, where) for item in wanted.item_types)
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
            items = [_value(wanted.item_type, where) for _ in range(max(1, wanted.min_length or 0))]
            return _collected(wanted, items)
        case inspect.DictType():
            return {_value(wanted.key_type, where): _value(wanted.value_type, where)}
        case inspect.LiteralType():
            return wanted.values[0]
        case inspect.EnumType():
            return next(iter(wanted.cls))
        case _:
            return _plain_value(wanted, where)


def _plain_value(wanted: inspect.Type, where: str) -> Any:
    plain = _plain(wanted)
    if plain is None and not isinstance(wanted, inspect.NoneType | inspect.AnyType):
        raise _no_sample(where, f"type {type(wanted).__name__}")
    return plain


def _plain(wanted: inspect.Type) -> Any:
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    values: dict[type[inspect.Type], Any] = {
        inspect.BoolType: True,
        inspect.BytesType: b"a",
        inspect.DateTimeType: moment,
        inspect.DateType: date(2025, 1, 1),
        inspect.TimeType: time(12, tzinfo=UTC),
        inspect.TimeDeltaType: timedelta(days=1),
        inspect.UUIDType: UUID(int=1),
        inspect.DecimalType: Decimal(1),
    }
    return values.get(type(wanted))


def _easiest(union: inspect.UnionType) -> inspect.Type:
    return next((t for t in union.types if not isinstance(t, inspect.NoneType)), union.types[0])


def _collected(wanted: inspect.Type, items: list[Any]) -> Any:
    match wanted:
        case inspect.VarTupleType():
            return tuple(items)
        case inspect.SetType():
            return set(items)
        case inspect.FrozenSetType():
            return frozenset(items)
        case _:
            return items


def _number(wanted: inspect.IntType | inspect.FloatType) -> Any:
    number: float = 1
    if wanted.ge is not None:
        number = max(number, wanted.ge)
    if wanted.gt is not None:
        number = max(number, wanted.gt + 1)
    if wanted.le is not None:
        number = min(number, wanted.le)
    if wanted.lt is not None:
        number = min(number, wanted.lt - 1)
    if wanted.multiple_of:
        number = wanted.multiple_of
    return int(number) if isinstance(wanted, inspect.IntType) else float(number)


def _text(wanted: inspect.StrType, where: str) -> str:
    least, most = wanted.min_length or 0, wanted.max_length
    stretched = [text.ljust(least, text[-1:] or "a") for text in _TEXTS]
    for text in stretched:
        fits = most is None or len(text) <= most
        if fits and (wanted.pattern is None or re.search(wanted.pattern, text)):
            return text
    raise _no_sample(where, f"text of the pattern {wanted.pattern!r}")
