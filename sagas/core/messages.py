"""The kinds of message, and what can be known of a message class without running anything.

A command carries the union of its replies in its type, so that a type checker can refuse the reply
of another step and a reply that a `match` leaves out. The same union is read at run time from
`__orig_bases__`. Replies are events; a rejection is an event that says: refused, nothing remains.
"""

import types
from functools import cache
from typing import Annotated, Any, Generic, TypeVar, Union, dataclass_transform, get_args, get_origin

import msgspec
from msgspec import Meta

from sagas.errors import MessageError

KEY_LENGTH_MAX = 64
"""Of business keys and names on the wire, in characters: they are indexed, logged and drawn."""

TEXT_LENGTH_MAX = 1_000
"""Of free text such as a reason, in characters."""

KEY_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.:-]*"
"""Of business keys and names on the wire, whole."""

Key = Annotated[str, Meta(min_length=1, max_length=KEY_LENGTH_MAX, pattern=rf"\A{KEY_PATTERN}\Z")]
"""A business key or a name: checked when a message is decoded."""

Text = Annotated[str, Meta(max_length=TEXT_LENGTH_MAX, pattern=r"\A[^\0]*\Z")]
"""Free text, bounded and without NUL."""

R = TypeVar("R", covariant=True)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class MessageMeta(msgspec.StructMeta):
    """Makes every message class frozen and keyword-only, and tells the type checkers so."""

    __message_version__: int
    __message_untagged__: int

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        version: int = 1,
        untagged: int = 1,
        kw_only: bool = True,
        **options: Any,
    ) -> Any:
        """A message class; `options` are those of `msgspec.Struct`.

        `version` counts the shapes the message has had, `untagged` is the version of one that says none
        (`sagas/core/upcasting.py`). `kw_only` is true anyhow. Raises MessageError for a number out of range, and for
        `kw_only=False`, and for a field that has the name of the tag's.
        """
        if not 1 <= untagged <= version:
            raise MessageError(
                name, f"says version={version}, untagged={untagged}", "count versions from 1, untagged up to version"
            )
        if not kw_only:
            raise MessageError(name, "says kw_only=False", "leave it out: fields are given by name")
        try:
            made = super().__new__(mcls, name, bases, namespace, frozen=True, kw_only=True, **options)
        except ValueError as error:
            if "tag_field" not in str(error):
                raise
            field = options.get("tag_field") or "type"
            raise MessageError(
                name,
                f"has a field `{field}`, as the field of its tag is called",
                'say tag_field="message_type" in the class, which never stands in a message',
            ) from error
        made.__message_version__, made.__message_untagged__ = version, untagged
        if version > 1 and "version" in made.__struct_fields__:
            raise MessageError(name, f"says version={version} and has a field `version` of its own", "rename the field")
        return made


# Said of the class, too: mypy takes what it finds among the bases, msgspec.Struct's own, before the metaclass's.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, metaclass=MessageMeta):
    """The root of all messages: an immutable record with a tag such as "inventory.reserve"."""


class Command(Message, Generic[R]):
    """Asks a participant to do something: `class ReserveInventory(Command[InventoryReserved | InventoryFailed], …)`.

    `R` is the union of its replies.
    """


class Event(Message):
    """Something happened. As a reply it means: done."""


class Rejection(Event):
    """A reply that means: refused for good, and nothing of the command remains."""


class InProgress(Event, tag="sagas.in-progress"):
    """A participant's word that the command is being carried out and the answer will follow."""


class Fault(Event, tag="sagas.fault"):
    """A participant's word that it failed for now: send the command again later. Nothing was done."""

    reason: Text = ""


class Undeliverable(Rejection, tag="sagas.undeliverable"):
    """A participant's word that it cannot read the command, or does not know it: nothing was done.

    No command declares it, and every command can be answered with it.
    """

    reason: Text = ""


class CannotUndo(Rejection, tag="sagas.cannot-undo"):
    """An undo's word that it cannot be undone, for good: the run gets stuck, and a person looks at it.

    Declared by the undos that may say it: `class FreeRoom(Command[RoomFreed | CannotUndo], tag=…)`, or as a class of
    one's own derived from it.
    """

    reason: Text = ""


@cache
def tag_of(message_type: type[Message]) -> str:
    """The tag under which a message class travels, "" when it has none. Asked several times a message."""
    tag = message_type.__struct_config__.tag
    return tag if isinstance(tag, str) else ""


def field_names(message_type: type[Message]) -> tuple[str, ...]:
    """The fields of a message class in the order of their declaration."""
    return message_type.__struct_fields__


def reply_types(command_type: type[Command[Any]]) -> tuple[type[Event], ...]:
    """The replies a command declares, in the order they are written; () when it declares none.

    Read from the class itself or the nearest base that is written as `Command[…]`.
    """
    return tuple(m for m in declared_replies(command_type) if isinstance(m, type) and issubclass(m, Event))


def declared_replies(command_type: type[Command[Any]]) -> tuple[object, ...]:
    """What stands between the brackets of `Command[…]`, whatever it is; () without brackets."""
    for base in command_type.__mro__:
        for origin in getattr(base, "__orig_bases__", ()):
            if get_origin(origin) is Command:
                union = get_args(origin)[0]
                return get_args(union) if get_origin(union) in (Union, types.UnionType) else (union,)
    return ()
