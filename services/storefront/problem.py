"""Errors of the storefront as RFC 9457 has them: `application/problem+json`, each wrong field by its JSON pointer."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field. `pointer` is a JSON pointer into the body, `#` being the whole of it."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as it is answered; without a `type` RFC 9457 reads it as `about:blank`, titled as the status is."""

    title: str
    status: int
    detail: str = ""
    errors: tuple[FieldError, ...] = ()


def problem(status: HTTPStatus, detail: str, errors: tuple[FieldError, ...] = ()) -> Problem:
    """The problem of this status."""
    return Problem(title=status.phrase, status=status.value, detail=detail, errors=errors)


def answer(said: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as a response."""
    return Response(msgspec.json.encode(said), said.status, headers, MEDIA_TYPE)
