"""The storefront as an ASGI application: its addresses, and its errors as problems."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sagas.errors import StoreError
from services.storefront.health import live, ready
from services.storefront.openapi import show_openapi
from services.storefront.orders_api import place_order
from services.storefront.pages import show_file, show_page
from services.storefront.parts import Parts
from services.storefront.problem import answer, problem
from services.storefront.queries import list_orders, list_products, show_order
from services.storefront.stream import stream_events

Handler = Callable[[Parts, Request], Awaitable[Response]]

RETRY_S = 1
"""After which a client may come again when the database could not be written: most such troubles pass."""


def storefront(parts: Parts) -> Starlette:
    """The application over these parts."""

    def route(path: str, get: Handler | None = None, post: Handler | None = None) -> Route:
        handlers = {method: handler for method, handler in (("GET", get), ("POST", post)) if handler is not None}
        return Route(path, partial(_handle, handlers, parts), methods=list(handlers))

    return Starlette(
        routes=[
            route("/orders", list_orders, place_order),
            route("/orders/{order_id}", show_order),
            route("/orders/{order_id}/events", stream_events),
            route("/products", list_products),
            route("/", show_page),
            route("/static/{name}", show_file),
            route("/openapi.json", show_openapi),
            route("/health/live", live),
            route("/health/ready", ready),
        ],
        exception_handlers={
            HTTPException: _on_http_error,
            StoreError: _on_store_error,
            ClientDisconnect: _on_client_gone,
            Exception: _on_error,
        },
    )


async def _handle(handlers: Mapping[str, Handler], parts: Parts, request: Request) -> Response:
    # Whoever asks for the headers alone is answered like GET; the server leaves the body out.
    return await handlers["GET" if request.method == "HEAD" else request.method](parts, request)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path[:200]!r}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} cannot be done with {request.url.path[:200]!r}",
    }
    status = HTTPStatus(error.status_code)
    return answer(problem(status, told.get(status, error.detail)), error.headers)


async def _on_store_error(request: Request, error: Exception) -> Response:
    # A database is locked, full or gone: nothing was done, and its path is nobody's business.
    told = (
        "the storefront cannot write just now; nothing was done, send the same request again"
        if request.method == "POST"
        else "what is asked for cannot be read just now; ask again soon"
    )
    return answer(problem(HTTPStatus.SERVICE_UNAVAILABLE, told), {"Retry-After": str(RETRY_S)})


async def _on_client_gone(request: Request, error: Exception) -> Response:
    # In the middle of a body, as clients do: no fault of anybody's, and nobody is there to read this.
    return answer(problem(HTTPStatus.BAD_REQUEST, "the body did not arrive"))


async def _on_error(request: Request, error: Exception) -> Response:
    told = "this is a fault of ours"
    if request.method == "POST":
        told += "; with the same Idempotency-Key the request can be sent again"
    return answer(problem(HTTPStatus.INTERNAL_SERVER_ERROR, told))
