"""Values as Python text, with the imports they need: for scenario tests that are written by the checker."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgspec

_AROUND: Mapping[type[Any], tuple[str, str]] = {
    tuple: ("(", ")"),
    list: ("[", "]"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


class Code:
    """Writes values and remembers what has to be imported for them."""

    def __init__(self) -> None:
        self.wanted: dict[str, set[str]] = {}

    def name(self, named: type) -> str:
        """A class by its name, to be imported from where it is defined."""
        self.wanted.setdefault(named.__module__, set()).add(named.__qualname__.split(".")[0])
        return named.__qualname__

    def of(self, value: Any) -> str:
        """The text that makes `value`."""
        kind = cast("type[Any]", value.__class__)
        if issubclass(kind, Enum):
            return f"{self.name(kind)}.{value.name}"
        if issubclass(kind, msgspec.Struct):
            fields = (f"{n}={self.of(getattr(value, n))}" for n in value.__struct_fields__)
            return f"{self.name(kind)}({', '.join(fields)})"
        if issubclass(kind, dict):
            return f"{{{', '.join(f'{self.of(key)}: {self.of(item)}' for key, item in value.items())}}}"
        around = _AROUND.get(kind)
        if around is not None:
            return f"{around[0]}{self._all(value)}{',' if kind is tuple and len(value) == 1 else ''}{around[1]}"
        if kind in (datetime, date, time):
            return f"{self.name(kind)}.fromisoformat({value.isoformat()!r})"
        if kind is timedelta:
            return f"{self.name(kind)}(seconds={value.total_seconds()})"
        return f"{self.name(kind)}({str(value)!r})" if kind in (Decimal, UUID) else repr(value)

    def _all(self, values: Iterable[Any]) -> str:
        return ", ".join(self.of(value) for value in values)

    @property
    def imports(self) -> str:
        """The import lines, sorted."""
        wanted: Mapping[str, set[str]] = {m: names for m, names in self.wanted.items() if m != "builtins"}
        return "\n".join(f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(wanted.items()))
