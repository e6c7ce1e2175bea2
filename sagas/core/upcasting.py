"""Versions of messages: reading what an older release, or another program, wrote in an older shape.

Theory of operation. A message class is one version of its message: `class OrderCreated(Event,
tag="order.created", version=2)`. On the wire the version stands in the field "version" of `data`, or of the
envelope, as text or as a number; version 1 is not written. What is older than the class is turned into
its shape before it is read as it, by pure functions from fields to fields, one for each version:

    @upcast(OrderCreated, from_version=1)
    def _(data: dict[str, object]) -> dict[str, object]: ...

They are chained, so that each knows two neighbouring versions only. A message that says no version is of the
version `untagged`, 1 unless its class says otherwise. A version that no chain leads from is refused with its
name and those known: to read version 3 as if it were version 2 is how money is lost.

A class that has a field `version` of its own is left alone: the word is its author's there.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from sagas.core.messages import Message, tag_of
from sagas.errors import MessageError, told

Fields = dict[str, object]
"""The fields of a message as JSON has them, without the business key unless the message repeats it there."""

U = TypeVar("U", bound=Callable[[Fields], Fields])

VERSION_FIELD = "version"

_chains: dict[type[Message], dict[int, Callable[[Fields], Fields]]] = {}


def upcast(message_type: type[Message], *, from_version: int) -> Callable[[U], U]:
    """Register the decorated function as what turns version `from_version` of a message into the next one.

    It is given the fields as plain JSON values and must be pure; what it raises makes the message unreadable, with
    its words as the reason. Raises MessageError when the class has no such earlier version, or one already.
    """
    current = version_of(message_type)
    if is_unversioned(message_type):
        raise MessageError(message_type.__name__, "has a field `version` of its own", "rename the field")
    if not 1 <= from_version < current:
        raise MessageError(
            message_type.__name__,
            f"is of version {current} and is given an upcaster from version {from_version}",
            f"say `version={from_version + 1}` in the class, or an earlier from_version",
        )

    def register(function: U) -> U:
        if inspect.iscoroutinefunction(function):
            raise MessageError(
                message_type.__name__,
                f"has an upcaster from version {from_version} that is async, and nobody would await it",
                "write it without `async`",
            )
        chain = _chains.setdefault(message_type, {})
        if from_version in chain:
            raise MessageError(message_type.__name__, f"has two upcasters from version {from_version}", "keep one")
        chain[from_version] = function
        return function

    return register


def version_of(message_type: type[Message]) -> int:
    """Which version of its message a class is."""
    return message_type.__message_version__


def is_unversioned(message_type: type[Message]) -> bool:
    """Whether the class has a field `version` of its own, which the engine then leaves alone."""
    return VERSION_FIELD in message_type.__struct_fields__


def known_versions(message_type: type[Message]) -> tuple[int, ...]:
    """The versions that are read as this class, the oldest first."""
    chain = _chains.get(message_type, {})
    oldest = version_of(message_type)
    while oldest - 1 in chain:
        oldest -= 1
    return tuple(range(oldest, version_of(message_type) + 1))


def chain_problem(message_type: type[Message]) -> tuple[str, str] | None:
    """What is wrong with the versions of a class, and what to write instead; None when nothing is."""
    known, untagged = known_versions(message_type), message_type.__message_untagged__
    lost = sorted(set(_chains.get(message_type, {})) - set(known))
    if lost:
        return (
            f"has an upcaster from version {lost[-1]} and none from version {known[0] - 1}",
            f"add `@upcast({message_type.__name__}, from_version={known[0] - 1})`",
        )
    if untagged not in known:
        return (
            f"is read as version {untagged} when it says none, and nothing turns that into version {known[0]}",
            f"add `@upcast({message_type.__name__}, from_version={known[0] - 1})`, or say `untagged={known[-1]}`",
        )
    return None


def version_said(message_type: type[Message], said: object) -> int:
    """The version a message says to be of (None: it says none). Raises ValueError for one that is not read."""
    if said is None:
        return message_type.__message_untagged__
    text = str(said)
    if text == str(message_type.__message_version__):
        return message_type.__message_version__
    known = known_versions(message_type)
    if text.isascii() and text.isdecimal() and text == str(int(text)) and int(text) in known:
        return int(text)
    raise ValueError(f"version {text[:20]!r} is unknown, known: {', '.join(map(str, known))}")


def raise_version(message_type: type[Message], data: bytes, version: int) -> bytes:
    """`data` of an older version as JSON of the class's own. Raises ValueError, also for what an upcaster raises."""
    chain: Mapping[int, Callable[[Fields], Fields]] = _chains.get(message_type, {})
    fields = msgspec.json.decode(data, type=dict[str, object])
    fields.pop(VERSION_FIELD, None)
    for number in range(version, version_of(message_type)):
        try:
            fields = chain[number](fields)
        except Exception as error:  # the author's code, given what anybody may have written
            raise ValueError(f"version {number}: {told(error)}") from error
    if not isinstance(fields, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - an untyped upcaster may
        last = version_of(message_type) - 1
        raise ValueError(f"the upcaster of {tag_of(message_type)} from version {last} returned no dict")  # noqa: TRY004
    return msgspec.json.encode(fields)


def with_version(data: bytes, version: int | str) -> bytes:
    """`data` with the version that its envelope says; its own, if it says one, stands behind it and counts."""
    inside = data.strip().removeprefix(b"{").lstrip()
    if len(inside) == len(data.strip()):
        return data  # no object: it is refused as what it is
    said = msgspec.json.encode(version)
    return b'{"' + VERSION_FIELD.encode() + b'":' + said + (b"" if inside.startswith(b"}") else b",") + inside
