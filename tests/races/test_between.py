"""Races between two sagas, and what an undo does to the others."""

from collections.abc import Iterator

import msgspec
import pytest

from sagas import Command, Event, Participant, Rejection
from sagas.ports import Sql
from sagas.runtime.participant import Service
from services.contracts import Item, PaymentProcessed, ProcessPayment, RefundPayment, ReleaseInventory, ReserveInventory
from services.payments.handlers import bank_says_yes, payments
from tests.services.desk import NOW_MS, Desk, same_message, ticket_for

CATALOGUE = Participant("catalogue", key="order_id")


class PriceHeld(Event, tag="price.held"):
    order_id: str


class PriceMoved(Rejection, tag="price.moved"):
    order_id: str


class HoldPrice(Command[PriceHeld | PriceMoved], tag="price.hold"):
    order_id: str
    seen_version: int


def _create(sql: Sql) -> None:
    sql.execute("CREATE TABLE prices (version INTEGER NOT NULL, held INTEGER NOT NULL) STRICT")
    sql.execute("INSERT INTO prices VALUES (7, 0)")


catalogue = Service(CATALOGUE)


@catalogue.handles
def hold_price(sql: Sql, command: HoldPrice) -> PriceHeld | PriceMoved:
    held = sql.execute("UPDATE prices SET held = held + 1 WHERE version = ? RETURNING held", [command.seen_version])
    return PriceHeld(order_id=command.order_id) if held.fetchall() else PriceMoved(order_id=command.order_id)


@pytest.fixture
def prices() -> Iterator[Desk]:
    """A catalogue whose price stands at version 7."""
    desk = Desk(catalogue, [("001-prices", _create)])
    yield desk
    desk.store.close()


def test_race_66_an_undo_takes_back_its_own_part_and_not_what_another_saga_did_since(stock: Desk) -> None:
    mine = ReserveInventory(order_id="o-1", items=(Item("kettle", 4),))
    stock.hand(mine, "reserve")
    stock.hand(msgspec.structs.replace(mine, order_id="o-2"), "reserve")
    stock.hand(ReleaseInventory(order_id="o-1"), "reserve", "undo")
    # Put back to what it was, the shelf would have ten again and the other order's four twice.
    assert stock.rows("SELECT on_shelf FROM products WHERE product_id = 'kettle'") == [(6,)]
    assert stock.rows("SELECT quantity FROM reservations WHERE state = 'reserved'") == [(4,)]


def test_race_67_what_a_saga_holds_is_nobody_elses_until_it_has_given_it_back(stock: Desk) -> None:
    # The reservation is the lock, kept by the participant: it refuses whoever comes meanwhile.
    mine = ReserveInventory(order_id="o-1", items=(Item("mug", 3),))
    stock.hand(mine, "reserve")
    (refused,) = stock.hand(msgspec.structs.replace(mine, order_id="o-2"), "reserve")
    assert refused.event_type == "inventory.failed"
    stock.hand(ReleaseInventory(order_id="o-1"), "reserve", "undo")
    (held,) = stock.hand(msgspec.structs.replace(mine, order_id="o-3"), "reserve")
    assert held.event_type == "inventory.reserved"
    assert stock.rows("SELECT order_id FROM reservations WHERE state = 'reserved'") == [("o-3",)]
    (again,) = stock.hand(msgspec.structs.replace(mine, order_id="o-2"), "reserve", attempt=2)
    assert same_message(refused, again), "whoever was refused has turned back, and takes nothing later"


def test_race_68_a_command_that_names_the_version_it_was_decided_on_is_refused_when_that_has_passed(
    prices: Desk,
) -> None:
    with prices.store.transaction() as transaction:
        transaction.sql.execute("UPDATE prices SET version = 8")
    (refused,) = prices.hand(HoldPrice(order_id="o-1", seen_version=7), "hold")
    assert refused.event_type == "price.moved"
    assert prices.rows("SELECT held FROM prices") == [(0,)]
    (held,) = prices.hand(HoldPrice(order_id="o-2", seen_version=8), "hold")
    assert held.event_type == "price.held"
    # Back at the old version the refusal still stands: its saga has turned back.
    with prices.store.transaction() as transaction:
        transaction.sql.execute("UPDATE prices SET version = 7")
    (again,) = prices.hand(HoldPrice(order_id="o-1", seen_version=7), "hold", attempt=2)
    assert same_message(refused, again)


def test_race_72_a_release_that_is_lost_comes_twice_or_first_frees_what_was_held_once(stock: Desk) -> None:
    hold = ReserveInventory(order_id="o-1", items=(Item("kettle", 4),))
    stock.hand(hold, "reserve")
    # Its answer was lost, so it is sent again; and a third one is an echo.
    for attempt in (1, 2, 3):
        (released,) = stock.hand(ReleaseInventory(order_id="o-1"), "reserve", "undo", attempt=attempt)
        assert released.event_type == "inventory.released"
    # Another's overtakes what it releases: nothing is held then, and nothing will be.
    stock.hand(ReleaseInventory(order_id="o-2"), "reserve", "undo")
    answers = stock.hand(msgspec.structs.replace(hold, order_id="o-2"), "reserve")
    assert [answer.event_type for answer in answers if answer.event_type == "inventory.reserved"] == []
    assert stock.rows("SELECT on_shelf FROM products WHERE product_id = 'kettle'") == [(10,)]


def test_race_73_a_do_that_was_put_off_is_not_done_after_its_saga_has_turned_back(bank: Desk) -> None:
    bank.hand(ProcessPayment(order_id="o-1", amount="59.98", card="card-silent"), "pay")
    (refunded,) = bank.hand(RefundPayment(order_id="o-1"), "pay", "undo")
    paid = PaymentProcessed(order_id="o-1", payment_id="pay-1")
    with bank.store.transaction() as transaction:
        assert not payments.settle(transaction, ticket_for("o-1", "pay"), paid, NOW_MS)
        assert not bank_says_yes(transaction, "o-1", NOW_MS)
    assert refunded.event_type == "payment.refunded"
    assert bank.answers() == []
    assert bank.rows("SELECT count(*) FROM movements") == [(0,)]
