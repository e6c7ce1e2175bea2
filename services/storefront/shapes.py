"""What goes in and out of the storefront, as msgspec types: `/openapi.json` is made from them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from services.contracts import Items
from services.money import Amount

Card = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[ -~]+\Z", description="A token of the bank's.")]
Address = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\0]*\S[^\0]*\Z")]


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
