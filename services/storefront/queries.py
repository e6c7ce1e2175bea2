"""Reading orders: from the read model, and from our own table what the projector has not seen yet.

An order is in the read model only once its event went through a topic. So that a customer who was told 202 finds
the order at once, what is missing there is looked up where it was accepted.
"""

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import cast, get_args
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sagas.ports import ParticipantStore
from services.contracts import Item
from services.money import to_amount
from services.readmodel.reader import Place, Reader
from services.readmodel.steps import StepView, steps_of
from services.readmodel.tables import EntryRow, OrderRow, State
from services.storefront import desk
from services.storefront.catalog import CATALOG
from services.storefront.orders_api import too_many
from services.storefront.parts import Parts
from services.storefront.problem import FieldError, answer, problem
from services.storefront.shapes import (
    ItemView,
    OrderAccepted,
    OrderListed,
    OrderShown,
    OrdersPage,
    ProductsPage,
    StepShown,
    links_of,
)

PAGE_DEFAULT = 20
PAGE_MAX = 100
ORDER_ID_MAX = 64

_PLACE = re.compile(r"\A([0-9]{1,16})-([A-Za-z0-9][A-Za-z0-9_.:-]{0,63})\Z")
_NUMBER = re.compile(r"\A[0-9]{1,4}\Z")
_STATES = cast("tuple[str, ...]", get_args(State))


async def show_order(parts: Parts, request: Request) -> Response:
    """`GET /orders/{order_id}`."""
    refused = too_many(parts.reading, parts)
    if refused is not None:
        return refused
    order_id = request.path_params["order_id"]
    shown = await parts.looking(find_order, parts.reader, order_id)
    if shown is None:
        shown = await parts.offload(_accepted_order, parts.store, order_id)
    if shown is None:
        return answer(problem(HTTPStatus.NOT_FOUND, f"there is no order {order_id[:ORDER_ID_MAX]!r}"))
    return _json(shown)


async def list_orders(parts: Parts, request: Request) -> Response:
    """`GET /orders`: newest first; `state`, `limit`, and `after` as the page before says in `next`."""
    refused = too_many(parts.reading, parts)
    if refused is not None:
        return refused
    wanted = request.query_params
    state, limit, after = wanted.get("state", ""), wanted.get("limit", str(PAGE_DEFAULT)), wanted.get("after", "")
    place = _PLACE.match(after)
    errors = [
        FieldError("state", f"is {state[:40]!r}; expected one of {', '.join(_STATES)}")
        for _ in "1"
        if state and state not in _STATES
    ]
    if not _NUMBER.match(limit) or not 1 <= int(limit) <= PAGE_MAX:
        errors.append(FieldError("limit", f"is {limit[:40]!r}; expected a whole number from 1 to {PAGE_MAX}"))
    if after and place is None:
        errors.append(FieldError("after", "is no place in the list; take it from `next` of the page before"))
    if errors:
        return answer(problem(HTTPStatus.BAD_REQUEST, "the list cannot be asked for so", tuple(errors)))
    behind = Place(int(place[1]), place[2]) if place is not None else None
    rows = await parts.looking(_page, parts.reader, int(limit) + 1, state, behind)
    return _json(_page_of(rows, int(limit), state))


async def list_products(parts: Parts, request: Request) -> Response:
    """`GET /products`: what is on sale."""
    return _json(ProductsPage(tuple(CATALOG.values())))


def find_order(reader: Reader, order_id: str) -> OrderShown | None:
    """An order as the read model has it."""
    row = reader.order(order_id)
    return None if row is None else _shown(row, reader.entries(order_id))


def step_shown(step: StepView) -> StepShown:
    """A step as it is answered."""
    return StepShown(
        step=step.step,
        operation=step.operation,
        outcome=step.outcome,
        why=step.why,
        asked_at=moment(step.asked_ms),
        answered_at=moment(step.answered_ms) if step.answered_ms else None,
    )


def moment(time_ms: int) -> datetime:
    """A time in Unix ms, in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def accepted(store: ParticipantStore, order_id: str) -> OrderAccepted | None:
    """What was answered for an order that was placed here."""
    placement = desk.find(store, order_id)
    return None if placement is None else msgspec.json.decode(placement.answer, type=OrderAccepted)


def _accepted_order(store: ParticipantStore, order_id: str) -> OrderShown | None:
    known = accepted(store, order_id)
    if known is None:
        return None
    return OrderShown(
        order_id=order_id,
        state="accepted",
        placed_at=known.accepted_at,
        updated_at=known.accepted_at,
        total=known.total,
        links=known.links,
    )


def _page(reader: Reader, count_max: int, state: str, after: Place | None) -> list[OrderRow]:
    return reader.page(count_max, state=state, after=after)


def _page_of(rows: list[OrderRow], limit: int, state: str) -> OrdersPage:
    shown = rows[:limit]
    following = None
    if len(rows) > limit:
        asked = {"limit": str(limit), "after": f"{shown[-1].listed_ms}-{shown[-1].order_id}"}
        following = f"/orders?{urlencode({**asked, **({'state': state} if state else {})})}"
    return OrdersPage(
        orders=tuple(
            OrderListed(
                order_id=row.order_id,
                state=row.state,
                placed_at=moment(row.listed_ms),
                total=to_amount(row.total),
                cause=row.cause,
                links=links_of(row.order_id),
            )
            for row in shown
        ),
        next=following,
    )


def _shown(row: OrderRow, entries: list[EntryRow]) -> OrderShown:
    items = msgspec.json.decode(row.items, type=tuple[Item, ...])
    return OrderShown(
        order_id=row.order_id,
        state=row.state,
        placed_at=moment(row.listed_ms),
        updated_at=moment(row.updated_ms or row.listed_ms),
        total=to_amount(row.total),
        items=tuple(ItemView(i.product_id, i.quantity, _name(i.product_id)) for i in items),
        address=row.address,
        cause=row.cause,
        payment_id=row.payment_id,
        tracking=row.tracking,
        steps=tuple(step_shown(step) for step in steps_of(entries)),
        events=row.revision,
        links=links_of(row.order_id),
    )


def _name(product_id: str) -> str:
    product = CATALOG.get(product_id)
    return product.name if product is not None else product_id


def _json(shown: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(shown), headers={"Cache-Control": "no-store"}, media_type="application/json")
