"""What carries a command out: a service's functions, read from their annotations and checked at import."""

import inspect
from collections.abc import Callable
from typing import Any, TypeGuard, cast, get_args

import msgspec

from sagas.core.envelope import DECODE_ERRORS, PAYLOAD_BYTES_MAX, encode_data, read_data
from sagas.core.instance import Operation
from sagas.core.messages import Command, Event, InProgress, Rejection, field_names, reply_types, tag_of
from sagas.core.upcasting import chain_problem
from sagas.core.wellformed import fields_problem, replies_problem
from sagas.errors import SagaError, told

DATA_BYTES_MAX = PAYLOAD_BYTES_MAX - 2 * 1024
"""Of a reply's fields: around them stand its id, its key and its type."""


_NOTHING = b"{}"
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class HandlerError(SagaError):
    """A handler is written wrong: says which, where, and what to write instead."""


class Ticket(msgspec.Struct, frozen=True):
    """Which operation a command is for. A handler that answers `InProgress` keeps it for `Service.settle`."""

    instance_id: str
    step: str


class Handler(msgspec.Struct, frozen=True):
    """A registered function. `nothing` makes the reply of an undo whose do never took effect."""

    command_type: type[Command[Any]]
    function: Callable[..., Event]
    operation: Operation
    takes_ticket: bool
    nothing: Callable[[Any], Event] | None
    replies: frozenset[type[Event]]

    def encoded_reply(self, reply: Event, key_field: str) -> bytes:
        """The reply's fields as JSON. Raises HandlerError for what the saga could not read as an answer.

        Once remembered it would be given for ever.
        """
        if type(reply) not in self.replies:
            said = " | ".join(sorted(known.__name__ for known in self.replies))
            raise HandlerError(f"{self.function.__name__} answered with {type(reply).__name__}, expected {said}")
        return readable_data(reply, key_field)

    def reply_to_nothing(self, command: Command[Any], key_field: str, key: str) -> Event:
        """The reply of an undo that has nothing to undo."""
        if self.nothing is not None:
            return self.nothing(command)
        return _done_reply(self.command_type)(**{key_field: key})


def read_handler(
    function: Callable[..., Event], key_field: str, operation: Operation, nothing: Callable[[Any], Event] | None
) -> Handler:
    """The handler that `function` is. Raises HandlerError."""
    problem = function_problem(function)
    if problem:
        raise HandlerError(f"handler {problem}")
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    signature = signature_of(function, where)
    parameters = list(signature.parameters.values())
    if len(parameters) not in (2, 3):
        raise HandlerError(
            f"handler {function.__name__!r} ({where}) takes {len(parameters)} parameters; "
            "write it as `def reserve(sql: Sql, command: ReserveInventory) -> InventoryReserved | InventoryFailed`"
        )
    given = given_otherwise(parameters[2], Ticket) if len(parameters) == 3 else ""
    if given:
        raise HandlerError(f"handler {function.__name__!r} ({where}): {given}")
    command_type = parameters[1].annotation
    if not _is_command_type(command_type):
        raise HandlerError(f"handler {function.__name__!r} ({where}): annotate its second parameter with a command")
    if not tag_of(command_type) or key_field not in field_names(command_type):
        raise HandlerError(f"command {command_type.__name__} ({where}) needs a tag and the field {key_field!r}")
    problems = (replies_problem(command_type), fields_problem(command_type, key_field), chain_problem(command_type))
    for said in problems:
        if said is not None:
            raise HandlerError(f"command {command_type.__name__} ({where}) {said[0]}; {said[1]}")
    _check_return(function.__name__, where, command_type, signature.return_annotation, operation)
    if operation == "undo" and nothing is None:
        missing = [
            f.name for f in msgspec.structs.fields(_done_reply(command_type)) if f.required and f.name != key_field
        ]
        if missing:
            raise HandlerError(
                f"undo handler {function.__name__!r} ({where}): when there is nothing to undo its reply "
                f"{_done_reply(command_type).__name__} still needs {', '.join(missing)}; "
                "register it with `@service.undoes(nothing=lambda command: …)`"
            )
    replies: set[type[Event]] = set(reply_types(command_type))
    if operation == "do":
        replies.add(InProgress)
    return Handler(command_type, function, operation, len(parameters) == 3, nothing, frozenset(replies))


def signature_of(function: Callable[..., object], where: str) -> inspect.Signature:
    """A handler's signature with its annotations read. Raises HandlerError where one names what is not there."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise HandlerError(
            f"handler {function.__name__!r} ({where}): an annotation cannot be read: {error}; "
            "import it, or define it above the function, at module level and not under TYPE_CHECKING"
        ) from None
    for parameter in signature.parameters.values():
        if parameter.kind not in _BY_PLACE:
            raise HandlerError(
                f"handler {function.__name__!r} ({where}): it is called with values by place; write its parameter "
                f"`{parameter}` without stars"
            )
    return signature


def given_otherwise(parameter: inspect.Parameter, given: type) -> str:
    """What is wrong with a parameter that is always given a `given`; "" where its annotation leaves room for that."""
    annotation = parameter.annotation
    if annotation in (given, Any, object, inspect.Parameter.empty):
        return ""
    return f"its parameter `{parameter}` is given a {given.__module__}.{given.__qualname__}; annotate it so"


def function_problem(function: Callable[..., object], *, needs_code: bool = True) -> str:
    """What keeps a function from being a handler, and what to write instead; "" when nothing does.

    A handler is called in the middle of a transaction and has to be done when it returns. `needs_code`: it has to be
    one that was written with `def`, whose line can be said.
    """
    code = getattr(function, "__code__", None)
    if code is None and needs_code:
        return f"{function!r} is no function: write one with `def` that calls it"
    calls = (function, cast("Any", function).__call__)  # of an object that can be called, the second is what counts
    found = f"{getattr(function, '__name__', function)!r}"
    if code is not None:
        found += f" ({code.co_filename}:{code.co_firstlineno})"
    if any(inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called) for called in calls):
        return f"{found} is an `async def`, and nobody would await it: it is part of a transaction, write `def`"
    if any(inspect.isgeneratorfunction(called) for called in calls):
        return f"{found} has a `yield` in it, so nothing of it would ever run: write it without"
    return ""


def readable_data(reply: Event, key_field: str) -> bytes:
    """A reply's fields as JSON. Raises HandlerError where they break the bounds of its type, or those of any message.

    msgspec holds a message against its type when it is read, not when it is made.
    """
    data = encode_data(reply, key_field)
    if data == _NOTHING:
        return data  # the business key is the command's
    if len(data) > DATA_BYTES_MAX:
        raise HandlerError(f"reply {type(reply).__name__} has {len(data)} bytes, at most {DATA_BYTES_MAX} can be sent")
    try:
        read_data(type(reply), key_field, data)
    except DECODE_ERRORS as error:
        raise HandlerError(f"reply {type(reply).__name__} could not be read by its saga: {told(error)}") from error
    return data


def refusals_of(command_type: type[Command[Any]]) -> set[str]:
    """The tags of the rejections among the replies of `command_type`."""
    return {tag_of(reply) for reply in reply_types(command_type) if issubclass(reply, Rejection)}


def _is_command_type(annotation: object) -> TypeGuard[type[Command[Any]]]:
    return isinstance(annotation, type) and issubclass(annotation, Command)


def _done_reply(command_type: type[Command[Any]]) -> type[Event]:
    return next(r for r in reply_types(command_type) if not issubclass(r, Rejection))


def _check_return(
    name: str, where: str, command_type: type[Command[Any]], returned: object, operation: Operation
) -> None:
    declared = {*reply_types(command_type), InProgress}
    replies = " | ".join(r.__name__ for r in reply_types(command_type))
    if returned is inspect.Signature.empty:
        raise HandlerError(f"handler {name!r} ({where}) does not say what it returns; annotate it `-> {replies}`")
    for member in get_args(returned) or (returned,):
        if member is InProgress and operation == "undo":
            # `Service.settle` answers a do only: an undo remembered without an answer would hang its saga for ever.
            raise HandlerError(
                f"undo handler {name!r} ({where}) may return InProgress, and nothing settles an undo later; "
                "answer it when it is done, or raise so that it is asked for again"
            )
        if member not in declared:
            raise HandlerError(
                f"handler {name!r} ({where}) may return {getattr(member, '__name__', member)!s}, which is no reply of "
                f"{command_type.__name__}; annotate it `-> {replies}`"
            )


class Refused(Exception):
    """Leaves the handler's savepoint: whoever refuses says that nothing remains, and no undo would take it back."""

    def __init__(self, reply: Rejection, data: bytes) -> None:
        super().__init__()
        self.reply = reply
        self.data = data
