"""What keeps a message class, or a saga's own data, from being written as JSON and read again: said at import.

msgspec says it as well, but when the first message is on its way, and without the message's name. Some of it is never
said: the business key is put into its field as the text it is, whatever type that field has.
"""

from collections.abc import Iterator
from typing import Any, ForwardRef

from msgspec import inspect

from sagas.core.machine import UNDELIVERABLE
from sagas.core.messages import Command, Event, Message, declared_replies, field_names, tag_of
from sagas.core.upcasting import chain_problem

WORDS_OF_THE_ENGINE = frozenset(
    {"timeout", "exhausted", "deadline", "broken", "late", "cancel", "retry", "absent", "over", "yes", "no", "start"}
)
"""The engine's own moves are called `reserve.timeout`; a reply's are called by its class."""

_IN_JSON = (str, int, float, bool, list, dict, type(None))
"""What JSON is read as where a type says nothing of its own."""

Problem = tuple[str, str]
"""What is wrong, and the remedy."""


def message_problem(message_type: type[Message], key: str) -> Problem | None:
    """What is wrong with a message class whose business key is the field `key`."""
    if not tag_of(message_type):
        return "has no tag", f'write `class {message_type.__name__}(…, tag="category.event")`'
    if tag_of(message_type).startswith("sagas."):
        return f"has the reserved tag {tag_of(message_type)!r}", "choose a tag that does not begin with `sagas.`"
    if message_type.__name__ == UNDELIVERABLE or message_type.__name__ in WORDS_OF_THE_ENGINE:
        return "has a name of the engine's own", "choose another name: the machine's moves are called by it"
    if key not in field_names(message_type):
        return f"has no field {key!r}, the saga's business key", f"add `{key}: str`, or give the saga another `key=`"
    return fields_problem(message_type, key) or chain_problem(message_type)


def fields_problem(message_type: type[Message], key: str) -> Problem | None:
    """What is wrong with the types of a message's fields; `key` is the one that holds the business key."""
    problem = type_problem(message_type)
    if problem is not None:
        return problem
    kind = inspect.type_info(message_type)
    assert isinstance(kind, inspect.StructType), "a message is a Struct"
    of_key = next((field.type for field in kind.fields if field.name == key), None)
    if of_key is None or _is_text(of_key):
        return None
    said = type(of_key).__name__.removesuffix("Type")
    return (
        f"holds its business key {key!r} as {said}, and it is read as text",
        f"write `{key}: str`, and make another type of it where that is needed",
    )


def type_problem(kept: object) -> Problem | None:
    """What JSON cannot hold of a type, or what could not be told apart in it."""
    try:
        kind = inspect.type_info(kept)
    except NameError as error:
        return f"has a field whose type cannot be read: {error}", "define or import it at module level, above the class"
    except (TypeError, ValueError) as error:
        return f"cannot be read from JSON: {error}", "give the field one type that msgspec can read"
    for path, unknown in _unknown_types(kind, "", set()):
        at = f"its field `{path}`" if path else "it"
        return (
            f"cannot be read from JSON: {at} is of type {unknown.__name__}, which is no type that msgspec knows",
            f"make {unknown.__name__} a `msgspec.Struct` or a dataclass",
        )
    return None


def replies_problem(command_type: type[Command[Any]]) -> Problem | None:
    """What is wrong with the replies that a command declares."""
    name, replies = command_type.__name__, declared_replies(command_type)
    if not replies:
        return "declares no replies", f"write `class {name}(Command[Done | Refused], tag=…)`"
    for reply in replies:
        if isinstance(reply, type) and issubclass(reply, Event):
            continue
        if isinstance(reply, ForwardRef):
            return (
                f'declares its replies as text, "{reply.__forward_arg__}"',
                "define them above it, and name the classes",
            )
        called = reply.__name__ if isinstance(reply, type) else str(reply)
        return f"declares the reply {called}, which is no Event", f'write `class {called}(Event, tag="category.event")`'
    return None


def _is_text(kind: inspect.Type) -> bool:
    match kind:
        case inspect.StrType() | inspect.AnyType():
            return True
        case inspect.Metadata():
            return _is_text(kind.type)
        case inspect.LiteralType():
            return all(isinstance(value, str) for value in kind.values)
        case inspect.UnionType():
            return any(_is_text(member) for member in kind.types)
        case _:
            return False


def _unknown_types(kind: inspect.Type, path: str, seen: set[type[Any]]) -> Iterator[tuple[str, type[Any]]]:
    """The classes within a type that msgspec does not know, and the fields they stand in."""
    match kind:
        case inspect.CustomType():
            if not any(issubclass(known, kind.cls) for known in _IN_JSON):
                yield path, kind.cls
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            if kind.cls not in seen:
                seen.add(kind.cls)
                for field in kind.fields:
                    yield from _unknown_types(field.type, f"{path}.{field.name}".removeprefix("."), seen)
        case inspect.Metadata() | inspect.CollectionType() | inspect.UnionType() | inspect.TupleType():
            for member in _inside(kind):
                yield from _unknown_types(member, path, seen)
        case inspect.DictType():
            yield from _unknown_types(kind.key_type, path, seen)
            yield from _unknown_types(kind.value_type, path, seen)
        case _:
            return


def _inside(
    kind: inspect.Metadata | inspect.CollectionType | inspect.UnionType | inspect.TupleType,
) -> tuple[inspect.Type, ...]:
    match kind:
        case inspect.Metadata():
            return (kind.type,)
        case inspect.UnionType():
            return tuple(kind.types)
        case inspect.TupleType():
            return tuple(kind.item_types)
        case inspect.CollectionType():
            return (kind.item_type,)
