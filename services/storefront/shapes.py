"""What goes in and out of the storefront, as msgspec types: `/openapi.json` is made from them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from services.contracts import Items
from services.money import Amount
from services.readmodel.tables import Operation, Outcome, State
from services.storefront.catalog import Product

Card = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[ -~]+\Z", description="A token of the bank's.")]
# No NUL, which \S would let through: the saga's `Text` has none, and what it cannot read starts nothing.
Address = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A\s*[^\s\0][^\0]*\Z")]


class PlaceOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order to place. `total` is what the customer was told it costs; when it costs something else it is refused."""

    items: Items
    card: Card
    address: Address
    total: Amount | None = None


class Links(msgspec.Struct, frozen=True):
    """Where to look further: the order, and what happens to it as server-sent events."""

    self: str
    events: str


class OrderAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The order is written down and will be carried out, all of it or none of it."""

    order_id: str
    state: Literal["accepted"] = "accepted"
    total: Amount
    accepted_at: datetime
    links: Links


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the storefront works, and what each part of it says: "ok", or what is wrong."""

    status: Literal["ok", "failing"]
    checks: dict[str, str] = {}


def links_of(order_id: str) -> Links:
    """The addresses of an order."""
    return Links(f"/orders/{order_id}", f"/orders/{order_id}/events")


class ItemView(msgspec.Struct, frozen=True):
    """One line of an order, with the product's name."""

    product_id: str
    quantity: int
    name: str


class StepShown(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was asked of a service and its answer. `outcome` is "" while there is none, `why` its reason."""

    step: str
    operation: Operation
    outcome: Outcome
    why: str = ""
    asked_at: datetime
    answered_at: datetime | None = None


class OrderShown(msgspec.Struct, frozen=True, kw_only=True):
    """An order and what became of it. `cause` is why it turned back, `events` the number of the last event."""

    order_id: str
    state: State
    placed_at: datetime
    updated_at: datetime
    total: str
    items: tuple[ItemView, ...] = ()
    address: str = ""
    cause: str = ""
    payment_id: str = ""
    tracking: str = ""
    steps: tuple[StepShown, ...] = ()
    events: int = 0
    links: Links


class OrderListed(msgspec.Struct, frozen=True, kw_only=True):
    """An order in a list."""

    order_id: str
    state: State
    placed_at: datetime
    total: str
    cause: str = ""
    links: Links


class OrdersPage(msgspec.Struct, frozen=True, kw_only=True):
    """Orders, newest first. `next` is the address of the page behind this one, null on the last."""

    orders: tuple[OrderListed, ...]
    next: str | None = None


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One server-sent event of an order: where it stands after it, and all its steps so far.

    `event` is its number, which is also its SSE id: an order's first is 1. `words` say what happened.
    """

    order_id: str
    event: int
    at: datetime
    state: State
    cause: str = ""
    words: str = ""
    steps: tuple[StepShown, ...] = ()


class ProductsPage(msgspec.Struct, frozen=True):
    """What is on sale."""

    products: tuple[Product, ...]
