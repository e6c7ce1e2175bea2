"""What makes an order acceptable. Pure: the order alone decides, so every story can be repeated."""

import msgspec

from services.contracts import Items
from services.money import to_cents


class Refusal(msgspec.Struct, frozen=True):
    """The order cannot be taken, and why."""

    reason: str


class Acceptance(msgspec.Struct, frozen=True):
    """The order as it is written down; `items` as JSON."""

    cents: int
    items: str


CURRENCY = "USD"
"""What the shop's books are kept in; another currency is refused, not converted."""


def accept(items: Items, total: str, currency: str = CURRENCY) -> Acceptance | Refusal:
    """Whether an order of `items` for `total` can be taken."""
    if currency != CURRENCY:
        return Refusal(f"prices are in {CURRENCY}, not {currency}")
    cents = to_cents(total)
    if cents == 0:
        return Refusal(f"nothing to pay: the total is {total}")
    return Acceptance(cents, msgspec.json.encode(items).decode())
