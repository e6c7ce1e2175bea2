"""What the services decide, without any service running."""

from collections.abc import Callable

import pytest

from services.contracts import Item
from services.inventory import rules as inventory
from services.inventory.tables import DEMO_STOCK
from services.orders import rules as orders
from services.payments import rules as payments
from services.shipping import rules as shipping

KETTLES = (Item("kettle", 2),)
LONGEST_ID = "o" * 64


def test_an_order_with_a_total_is_accepted() -> None:
    assert orders.accept(KETTLES, "59.98") == orders.Acceptance(5998, '[{"product_id":"kettle","quantity":2}]')


@pytest.mark.parametrize("total", ["0", "0.0", "0.00"])
def test_an_order_of_nothing_to_pay_is_refused(total: str) -> None:
    assert orders.accept(KETTLES, total) == orders.Refusal(f"nothing to pay: the total is {total}")


def test_what_is_on_the_shelf_can_be_taken_to_the_last_piece() -> None:
    assert inventory.reserve(KETTLES, {"kettle": 2}) == (inventory.Line("kettle", 2),)


def test_a_product_that_is_short_refuses_the_whole_order() -> None:
    items = (Item("kettle", 2), Item("unicorn", 3))
    refusal = inventory.reserve(items, {"kettle": 5, "unicorn": 0})
    assert refusal == inventory.Refusal("out of stock: product 'unicorn', 3 wanted, 0 on the shelf")


def test_a_product_nobody_has_heard_of_is_out_of_stock() -> None:
    refusal = inventory.reserve((Item("dragon", 1),), {})
    assert refusal == inventory.Refusal("out of stock: product 'dragon', 1 wanted, 0 on the shelf")


def test_a_product_named_twice_is_wanted_once_with_both_quantities() -> None:
    items = (Item("kettle", 2), Item("mug", 1), Item("kettle", 3))
    assert inventory.wanted(items) == (inventory.Line("kettle", 5), inventory.Line("mug", 1))
    assert isinstance(inventory.reserve(items, {"kettle": 4, "mug": 1}), inventory.Refusal)


def test_the_demo_shelf_holds_a_million_pieces_plenty_of_123_and_no_unicorn() -> None:
    assert sum(DEMO_STOCK.values()) == 1_000_000
    assert (DEMO_STOCK["123"], DEMO_STOCK["unicorn"]) == (999_000, 0)


@pytest.mark.parametrize(
    ("card", "outcome"),
    [
        ("card-ok", "captured"),
        ("4111 1111 1111 1111", "captured"),
        ("", "captured"),
        ("card-declined", "declined"),
        ("card-declined-42", "declined"),
        ("card-silent", "no answer"),
        ("card-silent-7", "no answer"),
    ],
)
def test_the_card_alone_decides_what_becomes_of_a_payment(card: str, outcome: str) -> None:
    assert payments.outcome(card) == outcome


@pytest.mark.parametrize("address", ["nowhere", "Nowhere 7", "NOWHERE"])
def test_nowhere_cannot_be_delivered_to(address: str) -> None:
    assert not shipping.can_deliver(address)


def test_everywhere_else_can_be_delivered_to() -> None:
    assert shipping.can_deliver("1 Harbour Street, near nowhere")


@pytest.mark.parametrize("derive", [payments.payment_id, shipping.tracking])
def test_ids_are_the_same_for_ever_and_within_a_key_however_long_the_order_id(derive: Callable[[str], str]) -> None:
    assert derive("o-1") == derive("o-1") != derive("o-2")
    assert len(derive(LONGEST_ID)) <= 64
