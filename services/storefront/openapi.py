"""`GET /openapi.json`: the API as OpenAPI 3.1, its schemas made from the msgspec types that are served.

So a field that is added to a type is in the description; what is written here by hand are only the addresses.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sagas import __version__
from services.readmodel.tables import State
from services.storefront.orders_api import KEY_HEADER, KEY_LENGTH_MAX
from services.storefront.parts import Parts
from services.storefront.problem import MEDIA_TYPE, Problem
from services.storefront.queries import PAGE_DEFAULT, PAGE_MAX
from services.storefront.shapes import (
    Health,
    OrderAccepted,
    OrderEvent,
    OrderShown,
    OrdersPage,
    PlaceOrder,
    ProductsPage,
)

Json = dict[str, Any]

_TYPES = (PlaceOrder, OrderAccepted, OrderShown, OrdersPage, OrderEvent, ProductsPage, Health, Problem)


async def show_openapi(parts: Parts, request: Request) -> Response:
    """The description."""
    return Response(msgspec.json.encode(description()), media_type="application/json")


def description() -> Json:
    """The API as OpenAPI 3.1 describes one."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Storefront",
            "version": __version__,
            "description": "Place orders and watch what becomes of them: all of it is done, or none of it.",
        },
        "paths": {
            "/orders": {"post": _place(), "get": _list()},
            "/orders/{order_id}": {"get": _operation("showOrder", "An order", _json("OrderShown"), 404, order=True)},
            "/orders/{order_id}/events": {"get": _stream()},
            "/products": {"get": _operation("listProducts", "What is on sale", _json("ProductsPage"), limited=False)},
            "/health/live": {"get": _operation("live", "Whether the process runs", _json("Health"), limited=False)},
            "/health/ready": {"get": _ready()},
        },
        "components": {"schemas": schemas},
    }


def _place() -> Json:
    key = {
        "name": KEY_HEADER,
        "in": "header",
        "required": True,
        "description": "The same for the same order, however often it is sent; another one for every other order.",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX},
    }
    location = {"Location": {"description": "The order's address.", "schema": {"type": "string"}}}
    accepted = {"202": {**_json("OrderAccepted")["200"], "description": "It will be carried out.", "headers": location}}
    return {
        **_operation("placeOrder", "Place an order", accepted, 400, 408, 409, 413, 415, 422, 503),
        "parameters": [key],
        "requestBody": {"required": True, "content": _content("application/json", _ref("PlaceOrder"))},
    }


def _list() -> Json:
    query: Sequence[tuple[str, str, Json]] = (
        ("state", "Only orders in this state.", msgspec.json.schema(State)),
        ("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT}),
        ("after", "Where the page before ended; it stands in its `next`.", {"type": "string"}),
    )
    parameters = [{"name": name, "in": "query", "description": what, "schema": schema} for name, what, schema in query]
    return {**_operation("listOrders", "Orders, newest first", _json("OrdersPage"), 400, 503), "parameters": parameters}


def _stream() -> Json:
    events: dict[str, Json] = {
        "200": {
            "description": "An event `order` for each thing that happens, whose data is an OrderEvent; then `end`.",
            "content": _content("text/event-stream", {"type": "string"}),
        },
        "204": {"description": "The order has ended, and the client has seen all of it."},
    }
    last = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The last event that was seen: what came after it is told.",
        "schema": {"type": "string"},
    }
    found = _operation("streamEvents", "What happens to an order, live", events, 404, 503, order=True)
    return {**found, "parameters": [*found["parameters"], last]}


def _ready() -> Json:
    found = _operation("ready", "Whether orders can be taken and go out", _json("Health"), limited=False)
    failing = {"description": "Something it needs cannot be had.", "content": _json("Health")["200"]["content"]}
    return {**found, "responses": {**found["responses"], "503": failing}}


def _operation(
    name: str, summary: str, answers: Mapping[str, Json], *problems: int, order: bool = False, limited: bool = True
) -> Json:
    refused = {str(status): _problem(status) for status in (*problems, *((429,) if limited else ()))}
    order_id = {"name": "order_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {**answers, **refused},
        **({"parameters": [order_id]} if order else {}),
    }


def _problem(status: int) -> Json:
    return {"description": HTTPStatus(status).phrase, "content": _content(MEDIA_TYPE, _ref("Problem"))}


def _json(schema: str) -> dict[str, Json]:
    return {"200": {"description": "Here it is.", "content": _content("application/json", _ref(schema))}}


def _content(media_type: str, schema: Json) -> Json:
    return {media_type: {"schema": schema}}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
