"""Everything that is wrong with a JSON body, each field by its pointer.

msgspec stops at the first mistake; somebody who fills in a form wants to know all of them. So a body is taken
apart field by field, each read by its own type, and only if nothing is wrong as a whole.
"""

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from services.storefront.problem import FieldError

ERRORS_MAX = 20
"""Of one body: a hundred items can each be wrong in two ways."""

DETAIL_MAX = 200

T = TypeVar("T", bound=msgspec.Struct)

# What bytes of any kind can make the decoder raise.
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def read_body(body: bytes, wanted: type[T]) -> T | tuple[FieldError, ...] | str:
    """The `wanted` struct in `body`; its mistakes, at most `ERRORS_MAX`; or in words why it is no JSON object."""
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except _DECODE_ERRORS as error:
        return f"the body is no JSON object: {_brief(error)}"
    errors = tuple(error for error, _ in zip(_of_struct(body, wanted, "#"), range(ERRORS_MAX), strict=False))
    if errors:
        return errors
    try:
        return msgspec.json.decode(body, type=wanted)
    except _DECODE_ERRORS as error:  # a rule of the whole struct
        return (FieldError("#", _brief(error)),)


def _of_struct(raw: bytes | msgspec.Raw, wanted: type[msgspec.Struct], pointer: str) -> Iterator[FieldError]:
    try:
        given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except _DECODE_ERRORS as error:
        yield FieldError(pointer, _brief(error))
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
    for name in given:
        if name not in fields:
            yield FieldError(f"{pointer}/{_escaped(name)}", f"there is no such field, only {', '.join(fields)}")
    for name, field in fields.items():
        if name in given:
            yield from _of_value(given[name], field.type, f"{pointer}/{name}")
        elif field.required:
            yield FieldError(f"{pointer}/{name}", "is missing")


def _of_value(raw: msgspec.Raw, wanted: Any, pointer: str) -> Iterator[FieldError]:
    element = _element(wanted)
    if element is not None:
        found = list(_of_elements(raw, element, pointer))
        if found:
            yield from found
            return
    try:
        msgspec.json.decode(raw, type=wanted)
    except _DECODE_ERRORS as error:
        yield FieldError(pointer, _brief(error))


def _of_elements(raw: msgspec.Raw, element: type[msgspec.Struct], pointer: str) -> Iterator[FieldError]:
    try:
        given = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except _DECODE_ERRORS:
        return  # that it is no list is said of the whole
    for number, part in enumerate(given[: ERRORS_MAX * 10]):
        yield from _of_struct(part, element, f"{pointer}/{number}")


def _element(wanted: Any) -> type[msgspec.Struct] | None:
    """The struct that a tuple of structs is made of, None of any other type."""
    plain = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    if get_origin(plain) is not tuple:
        return None
    member = get_args(plain)[0]
    return member if isinstance(member, type) and issubclass(member, msgspec.Struct) else None


def _escaped(name: str) -> str:
    return name[:64].replace("~", "~0").replace("/", "~1")


def _brief(error: Exception) -> str:
    return str(error).partition(" - at `$")[0][:DETAIL_MAX]
