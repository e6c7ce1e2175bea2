"""The proof: what it adds up, and that it finds what does not fit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sagas import StoreError
from services.proof import Books, ServiceFiles, prove, prove_files
from tests.services.whole_orders import Shop, an_order

BOOKS = Books(
    orders={"o-1": ("created", 140_200), "o-2": ("cancelled", 53_800)},
    paid_in=194_000,
    paid_back=53_800,
    payments={"o-1": ("captured", 140_200), "o-2": ("refunded", 53_800)},
    delivered=500,
    on_shelf=471,
    reserved={"o-1": 29, "o-2": 0},
    shipments=frozenset({"o-1"}),
)
OUTCOMES = {"o-1": "completed", "o-2": "compensated"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """The four services with empty books."""
    shop = Shop(tmp_path)
    yield shop
    shop.close()


# --------------------------------------------------------------------------- books that fit


def test_books_that_fit_are_proved_in_one_line() -> None:
    proof = prove(BOOKS, OUTCOMES)
    assert proof.holds
    assert proof.problems == ()
    assert str(proof) == (
        "money in 1,940.00 = captured 1,402.00 + refunded 538.00      stock 500 = shelf 471 + sold 29"
    )


def test_a_rejected_order_leaves_nothing_anywhere() -> None:
    assert prove(BOOKS, {**OUTCOMES, "o-3": "rejected"}).holds


def test_a_payment_that_was_called_off_counts_for_nothing() -> None:
    books = replace(
        BOOKS, payments={**BOOKS.payments, "o-3": ("voided", 5998)}, orders={**BOOKS.orders, "o-3": ("cancelled", 5998)}
    )
    assert prove(books, {**OUTCOMES, "o-3": "compensated"}).holds


# --------------------------------------------------------------------------- books that do not


@pytest.mark.parametrize(
    ("books", "problem"),
    [
        (
            replace(BOOKS, paid_in=200_000),
            "money: 2,000.00 came in, 1,402.00 stands captured and 538.00 was refunded: 60.00 is nowhere",
        ),
        (
            replace(BOOKS, paid_back=107_600, paid_in=247_800),
            "money: payments of 538.00 are marked refunded, 1,076.00 moved",
        ),
        (
            replace(BOOKS, on_shelf=473),
            "stock: 500 pieces were delivered, 473 are on the shelf and 29 sold: -2 are nowhere",
        ),
        (
            replace(BOOKS, orders={**BOOKS.orders, "o-1": ("cancelled", 140_200)}),
            "order o-1 is completed, but its order is cancelled",
        ),
        (
            replace(BOOKS, orders={"o-2": ("cancelled", 53_800)}),
            "order o-1 is completed, but its order is not written down",
        ),
        (
            replace(BOOKS, orders={**BOOKS.orders, "o-1": ("created", 140_000)}),
            "order o-1 is completed, but 1,402.00 was captured for a total of 1,400.00",
        ),
        (replace(BOOKS, reserved={"o-1": 0}, on_shelf=500), "order o-1 is completed, but nothing is reserved for it"),
        (replace(BOOKS, shipments=frozenset[str]()), "order o-1 is completed, but no parcel was sent"),
        (
            replace(BOOKS, orders={**BOOKS.orders, "o-2": ("created", 53_800)}),
            "order o-2 is compensated, but its order still stands",
        ),
        (
            replace(BOOKS, reserved={"o-1": 29, "o-2": 1_000}, delivered=1_500),
            "order o-2 is compensated, but 1,000 pieces are still reserved for it",
        ),
        (
            replace(BOOKS, payments={**BOOKS.payments, "o-2": ("captured", 53_800)}, paid_back=0),
            "order o-2 is compensated, but its payment is captured",
        ),
        (replace(BOOKS, shipments=frozenset({"o-1", "o-2"})), "order o-2 is compensated, but a parcel was sent"),
        (replace(BOOKS, shipments=frozenset({"o-1", "o-9"})), "order o-9: shipping has it, and no saga does"),
    ],
)
def test_what_does_not_fit_is_said_in_words(books: Books, problem: str) -> None:
    proof = prove(books, OUTCOMES)
    assert not proof.holds
    assert proof.problems == (problem,)


def test_a_completed_order_without_its_payment_is_found() -> None:
    payments = {"o-2": ("refunded", 53_800)}
    proof = prove(replace(BOOKS, payments=payments, paid_in=53_800), OUTCOMES)
    assert proof.problems == ("order o-1 is completed, but its payment is missing",)


def test_a_payment_left_pending_by_a_compensated_order_is_found() -> None:
    books = replace(BOOKS, payments={**BOOKS.payments, "o-3": ("pending", 5998)})
    proof = prove(books, {**OUTCOMES, "o-3": "compensated"})
    assert proof.problems == ("order o-3 is compensated, but its payment is pending",)


@pytest.mark.parametrize("state", ["stuck", "pay.pending", "abandoned"])
def test_an_order_whose_saga_did_not_end_by_itself_is_not_proved(state: str) -> None:
    proof = prove(BOOKS, {**OUTCOMES, "o-3": state})
    assert proof.problems == (
        f"order o-3 is {state}, but only completed, compensated and rejected orders can be proved",
    )


# --------------------------------------------------------------------------- the services' own files


def test_orders_that_went_every_way_are_proved_from_the_services_files(shop: Shop) -> None:
    placed = (
        an_order("o-fine"),
        an_order("o-declined", card="card-declined"),
        an_order("o-silent", card="card-silent"),
        an_order("o-unicorn", product="unicorn"),
        an_order("o-nowhere", address="nowhere"),
        replace(an_order("o-free"), total="0"),
    )
    outcomes = {order.order_id: shop.carry_out(order) for order in placed}
    proof = prove_files(shop.files, outcomes)
    assert outcomes == {
        "o-fine": "completed",
        "o-declined": "compensated",
        "o-silent": "compensated",
        "o-unicorn": "compensated",
        "o-nowhere": "compensated",
        "o-free": "rejected",
    }
    assert proof.problems == ()
    assert str(proof) == "money in 119.96 = captured 59.98 + refunded 59.98      stock 500 = shelf 498 + sold 2"


def test_a_refund_that_ran_twice_behind_the_barriers_back_is_found(shop: Shop) -> None:
    outcomes = {"o-1": shop.carry_out(an_order("o-1", address="nowhere"))}
    shop.desks["payments-commands"].rows(
        "INSERT INTO movements (payment_id, cents) SELECT payment_id, -5998 FROM payments"
    )
    assert prove_files(shop.files, outcomes).problems == (
        "money: 59.98 came in, 0.00 stands captured and 119.96 was refunded: -59.98 is nowhere",
        "money: payments of 59.98 are marked refunded, 119.96 moved",
    )


def test_a_service_that_was_never_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no service database at .*orders\.db; start the services"):
        prove_files(ServiceFiles.within(tmp_path), {})


def test_a_file_of_another_service_is_refused(shop: Shop) -> None:
    files = replace(shop.files, payments=shop.files.shipping)
    with pytest.raises(StoreError, match=r"shipping\.db: is no database of its service \(no such table: movements\)"):
        prove_files(files, {})
