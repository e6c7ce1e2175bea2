"""The page and its files: read once, served with what keeps a browser from loading anything else."""

from collections.abc import Mapping
from hashlib import blake2b
from http import HTTPStatus
from importlib.resources import files

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.storefront.parts import Parts
from services.storefront.problem import answer, problem

_MEDIA_TYPES: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

SECURITY: Mapping[str, str] = {
    # Everything is ours: no script, style, font or picture of anybody else, and no frame around it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

INDEX = "index.html"


class StaticFile(msgspec.Struct, frozen=True):
    """A file as it is sent."""

    content: bytes
    media_type: str
    tag: str


def read_files() -> dict[str, StaticFile]:
    """The files of the page, by name."""
    found: dict[str, StaticFile] = {}
    for entry in files("services.storefront").joinpath("static").iterdir():
        suffix = entry.name.rpartition(".")[2]
        if suffix in _MEDIA_TYPES:
            content = entry.read_bytes()
            tag = f'"{blake2b(content, digest_size=8).hexdigest()}"'
            found[entry.name] = StaticFile(content, _MEDIA_TYPES[suffix], tag)
    return found


_FILES = read_files()


async def show_page(parts: Parts, request: Request) -> Response:
    """`GET /`: the page."""
    return _send(request, _FILES[INDEX])


async def show_file(parts: Parts, request: Request) -> Response:
    """`GET /static/{name}`: a file of the page."""
    name = request.path_params["name"]
    found = _FILES.get(name)
    if found is None:
        return answer(problem(HTTPStatus.NOT_FOUND, f"there is no file {name[:80]!r}"))
    return _send(request, found)


def _send(request: Request, found: StaticFile) -> Response:
    headers = {**SECURITY, "Cache-Control": "no-cache", "ETag": found.tag}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED.value, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
