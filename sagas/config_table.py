"""The table of settings as rows: what reads, checks, shows and explains settings goes through these.

Made from the fields of `Settings`; nothing here knows one setting from another.
"""

from collections.abc import Mapping
from functools import cache
from typing import cast

import msgspec
from msgspec import inspect

from sagas.config import Secret, Settings


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `key` is its field, `expected` says in words what may be written."""

    key: str
    variable: str
    purpose: str
    expected: str
    default: object
    type: object
    is_secret: bool
    is_list: bool

    @property
    def option(self) -> str:
        """Its option on the command line; of a secret, that of the file it is in."""
        return f"--{self.key.replace('_', '-')}{'-file' if self.is_secret else ''}"

    @property
    def file_variable(self) -> str:
        """The variable that names a file with its value; "" for what is no secret."""
        return f"{self.variable}_FILE" if self.is_secret else ""

    @property
    def default_shown(self) -> str:
        """The default as it is written in the environment, a secret masked."""
        return shown(self.default)


@cache
def table() -> tuple[Setting, ...]:
    """The rows, in the order in which a reader meets them."""
    struct = inspect.type_info(Settings)
    assert isinstance(struct, inspect.StructType)
    rows: list[Setting] = []
    for field in struct.fields:
        assert isinstance(field.type, inspect.Metadata)
        extra = cast("Mapping[str, str]", field.type.extra)  # pyright: ignore[reportUnknownMemberType]  # msgspec says dict
        rows.append(
            Setting(
                key=field.name,
                variable=extra["variable"],
                purpose=extra["purpose"],
                expected=extra["expected"] or _expected(field.type.type),
                default=field.default,
                type=Settings.__annotations__[field.name],
                is_secret=isinstance(field.default, Secret),
                is_list=isinstance(field.type.type, inspect.VarTupleType),
            )
        )
    return tuple(rows)


def shown(value: object) -> str:
    """A value as it is written in the environment, a secret masked."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)


def _expected(kind: object) -> str:
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    assert isinstance(kind, inspect.BoolType), kind
    return "true or false"
