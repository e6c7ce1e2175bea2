"""The inventory service behind its barrier."""

from msgspec.structs import replace

from services.contracts import InventoryFailed, Item, ReleaseInventory, ReserveInventory
from services.inventory.tables import put_back
from tests.services.desk import Desk, reply_in, same_message

KETTLES = ReserveInventory(order_id="o-1", items=(Item("kettle", 4), Item("mug", 1)))
RELEASE = ReleaseInventory(order_id="o-1")

SHELF = "SELECT product_id, on_shelf FROM products ORDER BY product_id"
RESERVATIONS = "SELECT product_id, quantity, state FROM reservations ORDER BY product_id"
FULL = [("kettle", 10), ("mug", 3), ("unicorn", 0)]


def test_a_reservation_moves_the_items_from_the_shelf_to_the_order(inventory_desk: Desk) -> None:
    (answer,) = inventory_desk.hand(KETTLES, "reserve")
    assert (answer.event_type, answer.topic, answer.key) == ("inventory.reserved", "inventory", "o-1")
    assert inventory_desk.rows(SHELF) == [("kettle", 6), ("mug", 2), ("unicorn", 0)]
    assert inventory_desk.rows(RESERVATIONS) == [("kettle", 4, "reserved"), ("mug", 1, "reserved")]


def test_a_reservation_sent_again_is_answered_byte_for_byte_and_takes_nothing_more(inventory_desk: Desk) -> None:
    (first,) = inventory_desk.hand(KETTLES, "reserve")
    (second,) = inventory_desk.hand(KETTLES, "reserve", attempt=2)
    assert same_message(first, second)
    assert inventory_desk.rows(SHELF) == [("kettle", 6), ("mug", 2), ("unicorn", 0)]


def test_a_release_puts_back_exactly_what_was_taken_however_often_it_is_sent(inventory_desk: Desk) -> None:
    inventory_desk.hand(KETTLES, "reserve")
    (first,) = inventory_desk.hand(RELEASE, "reserve", "undo")
    (second,) = inventory_desk.hand(RELEASE, "reserve", "undo", attempt=2)
    assert first.event_type == "inventory.released"
    assert same_message(first, second)
    assert inventory_desk.rows(SHELF) == FULL
    assert inventory_desk.rows(RESERVATIONS) == [("kettle", 4, "released"), ("mug", 1, "released")]


def test_the_table_itself_puts_nothing_back_twice(inventory_desk: Desk) -> None:
    inventory_desk.hand(KETTLES, "reserve")
    with inventory_desk.store.transaction() as transaction:
        put_back(transaction.sql, "o-1")
        put_back(transaction.sql, "o-1")
    assert inventory_desk.rows(SHELF) == FULL


def test_a_product_that_is_short_leaves_the_shelf_as_it_was(inventory_desk: Desk) -> None:
    wanted = ReserveInventory(order_id="o-1", items=(Item("kettle", 4), Item("unicorn", 1)))
    (answer,) = inventory_desk.hand(wanted, "reserve")
    assert reply_in(answer, InventoryFailed).reason == "out of stock: product 'unicorn', 1 wanted, 0 on the shelf"
    assert inventory_desk.rows(SHELF) == FULL
    assert inventory_desk.rows(RESERVATIONS) == []


def test_a_refusal_is_remembered_even_when_the_stock_has_come_back(inventory_desk: Desk) -> None:
    everything = ReserveInventory(order_id="o-1", items=(Item("kettle", 10),))
    second = ReserveInventory(order_id="o-2", items=(Item("kettle", 1),))
    inventory_desk.hand(everything, "reserve")
    (refused,) = inventory_desk.hand(second, "reserve")
    inventory_desk.hand(RELEASE, "reserve", "undo")
    (again,) = inventory_desk.hand(second, "reserve", attempt=2)
    assert refused.event_type == "inventory.failed"
    assert same_message(refused, again)
    assert inventory_desk.rows(SHELF) == FULL


def test_a_release_after_a_refusal_says_released_and_puts_nothing_back(inventory_desk: Desk) -> None:
    inventory_desk.hand(replace(KETTLES, items=(Item("unicorn", 1),)), "reserve")
    (answer,) = inventory_desk.hand(RELEASE, "reserve", "undo")
    assert answer.event_type == "inventory.released"
    assert inventory_desk.rows(SHELF) == FULL


def test_a_release_that_overtook_its_reservation_says_released_and_blocks_it(inventory_desk: Desk) -> None:
    (answer,) = inventory_desk.hand(RELEASE, "reserve", "undo")
    assert answer.event_type == "inventory.released"
    assert inventory_desk.hand(KETTLES, "reserve") == []
    assert inventory_desk.rows(SHELF) == FULL
    assert inventory_desk.dead_letters() == []


def test_a_reservation_repeated_after_its_release_takes_nothing(inventory_desk: Desk) -> None:
    inventory_desk.hand(KETTLES, "reserve")
    inventory_desk.hand(RELEASE, "reserve", "undo")
    inventory_desk.hand(KETTLES, "reserve", attempt=2)
    assert inventory_desk.rows(SHELF) == FULL


def test_the_same_operation_with_another_body_goes_to_the_dead_letters(inventory_desk: Desk) -> None:
    inventory_desk.hand(KETTLES, "reserve")
    assert inventory_desk.hand(replace(KETTLES, items=(Item("kettle", 1),)), "reserve") == []
    (letter,) = inventory_desk.dead_letters()
    assert "same id as before, another body" in letter.reason
    assert inventory_desk.rows(SHELF)[0] == ("kettle", 6)


def test_a_payload_that_is_no_message_goes_to_the_dead_letters_and_the_next_one_is_served(inventory_desk: Desk) -> None:
    assert inventory_desk.hand_raw(b"\xff{", {}) == []
    assert inventory_desk.dead_letters()[0].payload == b"\xff{"
    assert len(inventory_desk.hand(KETTLES, "reserve")) == 1


def test_an_order_that_names_a_product_twice_holds_one_line_of_it(inventory_desk: Desk) -> None:
    inventory_desk.hand(replace(KETTLES, items=(Item("kettle", 2), Item("kettle", 3))), "reserve")
    assert inventory_desk.rows(RESERVATIONS) == [("kettle", 5, "reserved")]
    inventory_desk.hand(RELEASE, "reserve", "undo")
    assert inventory_desk.rows(SHELF) == FULL
