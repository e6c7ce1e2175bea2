"""What the storefront sells, and what an order costs: the price is ours, never the client's."""

from collections.abc import Mapping

import msgspec

from services.contracts import Items
from services.money import Amount, to_amount, to_cents
from services.storefront.problem import FieldError


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on sale."""

    product_id: str
    name: str
    note: str
    price: Amount


CATALOG: Mapping[str, Product] = {
    product.product_id: product
    for product in (
        Product(product_id="kettle", name="Whistling kettle", note="Brushed steel", price="59.98"),
        Product(product_id="teapot", name="Glass teapot", note="With an infuser", price="35.20"),
        Product(product_id="mug", name="Stoneware mug", note="Glazed by hand", price="8.50"),
        Product(product_id="unicorn", name="Tame unicorn", note="Sold out for ages", price="120.00"),
        Product(product_id="123", name="The guide's product", note="As the guide's example orders it", price="29.99"),
    )
}


def total_of(items: Items, expected: str | None) -> Amount | tuple[FieldError, ...]:
    """What `items` cost, or why they cannot be sold so. `expected` is what the customer was told, None for nothing."""
    unknown = tuple(
        FieldError(f"#/items/{number}/product_id", f"there is no product {item.product_id!r}")
        for number, item in enumerate(items)
        if item.product_id not in CATALOG
    )
    if unknown:
        return unknown
    cents = sum(to_cents(CATALOG[item.product_id].price) * item.quantity for item in items)
    total = to_amount(cents)
    if expected is not None and to_cents(expected) != cents:
        return (FieldError("#/total", f"the items cost {total}, not {expected}; leave it out, or ask again"),)
    return total
