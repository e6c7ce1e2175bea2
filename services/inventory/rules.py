"""What can be taken from the shelf. Pure: the order and the shelf decide, nothing else."""

from collections.abc import Mapping

import msgspec

from services.contracts import Items


class Refusal(msgspec.Struct, frozen=True):
    """The items cannot be set aside, and why."""

    reason: str


class Line(msgspec.Struct, frozen=True):
    """How much of one product to take."""

    product_id: str
    quantity: int


def wanted(items: Items) -> tuple[Line, ...]:
    """The items as one line a product: an order may name a product twice."""
    quantities: dict[str, int] = {}
    for item in items:
        quantities[item.product_id] = quantities.get(item.product_id, 0) + item.quantity
    return tuple(Line(product_id, quantity) for product_id, quantity in quantities.items())


def reserve(items: Items, shelf: Mapping[str, int]) -> tuple[Line, ...] | Refusal:
    """The lines to take from `shelf`: all of them or, when one is short, none."""
    lines = wanted(items)
    for line in lines:
        # A product nobody has heard of is one of which there are none.
        on_shelf = shelf.get(line.product_id, 0)
        if on_shelf < line.quantity:
            return Refusal(
                f"out of stock: product {line.product_id!r}, {line.quantity} wanted, {on_shelf} on the shelf"
            )
    return lines
