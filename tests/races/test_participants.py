"""Races at a participant: what its barrier is for."""

from pathlib import Path
from threading import Barrier, Thread

import msgspec
import pytest

from sagas.core.instance import STUCK, Operation
from sagas.errors import DatabaseRestored
from sagas.ports import Sql
from sagas.runtime.cleaning import DAY_MS
from sagas.runtime.participant import Service
from sagas.testing.conformance import Report, conformance
from services.contracts import (
    INVENTORY,
    PAYMENTS,
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    Item,
    PaymentProcessed,
    PaymentRefunded,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
)
from services.inventory.conformance import CONFORMANCE
from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.payments.handlers import bank_says_yes, payments
from tests.core.test_kernel import DONE, REFUSED, TRIP, UNDO_REFUSED, Run
from tests.runtime.shop import a_shop, an_order, order, rows
from tests.runtime.warehouse import Warehouse
from tests.services.desk import NOW_MS, Desk, same_message, ticket_for

RESERVE = ReserveInventory(order_id="o-1", items=(Item("kettle", 4),))
RELEASE = ReleaseInventory(order_id="o-1")
PAY = ProcessPayment(order_id="o-1", amount="59.98", card="card-ok")
REFUND = RefundPayment(order_id="o-1")
KETTLES = "SELECT on_shelf FROM products WHERE product_id = 'kettle'"


@pytest.fixture(scope="module")
def report() -> Report:
    return conformance(CONFORMANCE.service, CONFORMANCE.migrations, CONFORMANCE.examples)


def outcomes(report: Report, line: str) -> list[str]:
    return [row.outcome for row in report.rows if row.line == line]


def test_race_40_a_command_that_comes_twice_takes_effect_once(stock: Desk) -> None:
    (first,) = stock.hand(RESERVE, "reserve")
    (second,) = stock.hand(RESERVE, "reserve", attempt=2)
    assert same_message(first, second)
    assert stock.rows(KETTLES) == [(6,)]


def test_race_41_an_undo_that_is_first_succeeds_and_leaves_its_mark(stock: Desk) -> None:
    (answer,) = stock.hand(RELEASE, "reserve", "undo")
    assert answer.event_type == "inventory.released"
    assert stock.rows(KETTLES) == [(10,)]
    with stock.store.transaction() as transaction:
        do = transaction.recall(answer.headers["instance"], "reserve", "do")
    assert do is not None
    assert do.is_blocked


def test_race_42_a_do_that_comes_behind_its_undo_has_no_effect(stock: Desk) -> None:
    stock.hand(RELEASE, "reserve", "undo")
    assert stock.hand(RESERVE, "reserve") == []
    assert stock.rows(KETTLES) == [(10,)]


def test_race_43_two_processes_with_a_do_and_its_undo_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    desks = [Desk(inventory, migrations({"kettle": 1_000}), tmp_path / "inventory.db") for _ in range(2)]
    gate = Barrier(2, timeout=30)

    def work(desk: Desk, operation: Operation) -> None:
        for number in range(40):
            key = f"o-{number}"
            command = msgspec.structs.replace(RESERVE if operation == "do" else RELEASE, order_id=key)
            gate.wait()
            desk.hand(command, "reserve", operation)

    threads = [Thread(target=work, args=pair) for pair in zip(desks, ("do", "undo"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desks[0].rows(KETTLES) == [(1_000,)]
    assert desks[0].rows("SELECT DISTINCT state FROM reservations") in ([], [("released",)])
    for desk in desks:
        desk.store.close()


def test_race_44_a_crash_behind_the_commit_does_not_lose_the_answer(report: Report) -> None:
    assert outcomes(report, "crash after commit") == ["passed", "passed"]


def test_race_45_a_crash_before_the_commit_leaves_the_command_to_be_carried_out(report: Report) -> None:
    assert outcomes(report, "crash before commit") == ["passed", "passed"]


def test_race_46_a_refusal_stands_when_the_reason_for_it_is_gone(stock: Desk) -> None:
    wanted = ReserveInventory(order_id="o-1", items=(Item("unicorn", 1),))
    (refused,) = stock.hand(wanted, "reserve")
    with stock.store.transaction() as transaction:
        transaction.sql.execute("UPDATE products SET on_shelf = 9, delivered = 9 WHERE product_id = 'unicorn'")
    (again,) = stock.hand(wanted, "reserve", attempt=2)
    assert refused.event_type == "inventory.failed"
    assert same_message(refused, again)
    assert stock.rows("SELECT * FROM reservations") == []


def test_race_47_a_bank_that_is_silent_is_neither_a_yes_nor_a_no_until_it_speaks(bank: Desk) -> None:
    silent = msgspec.structs.replace(PAY, card="card-silent")
    answers = [bank.hand(silent, "pay", attempt=attempt)[0].event_type for attempt in (1, 2)]
    assert answers == ["sagas.in-progress", "sagas.in-progress"]
    with bank.store.transaction() as transaction:
        assert bank_says_yes(transaction, "o-1", NOW_MS)
        assert not bank_says_yes(transaction, "o-1", NOW_MS)
        # The barrier itself, whatever the bank's own table says.
        paid = PaymentProcessed(order_id="o-1", payment_id="pay-2")
        assert not payments.settle(transaction, ticket_for("o-1", "pay"), paid, NOW_MS)
    assert [answer.event_type for answer in bank.answers()] == ["payment.processed"]
    assert bank.hand(silent, "pay", attempt=3)[0].event_type == "payment.processed"
    assert bank.rows("SELECT count(*), sum(cents) FROM movements") == [(1, 5998)]


def test_race_48_a_handler_that_refuses_halfway_leaves_nothing_of_what_it_did() -> None:
    service = Service(INVENTORY)

    @service.handles
    def _(sql: Sql, command: ReserveInventory) -> InventoryReserved | InventoryFailed:
        sql.execute("UPDATE products SET on_shelf = on_shelf - 1 WHERE product_id = 'kettle'")
        return InventoryFailed(order_id=command.order_id, reason="no mugs")

    @service.undoes
    def _(sql: Sql, command: ReleaseInventory) -> InventoryReleased:
        raise AssertionError("a refusal has nothing to undo")

    desk = Desk(service, migrations({"kettle": 10}))
    (refused,) = desk.hand(RESERVE, "reserve")
    (again,) = desk.hand(RESERVE, "reserve", attempt=2)
    (released,) = desk.hand(RELEASE, "reserve", "undo")
    assert (refused.event_type, released.event_type) == ("inventory.failed", "inventory.released")
    assert same_message(refused, again)
    assert desk.rows(KETTLES) == [(10,)]
    desk.store.close()


def test_race_49_what_is_remembered_of_a_command_outlives_the_list_of_processed_events(stock: Desk) -> None:
    (first,) = stock.hand(RESERVE, "reserve")
    assert stock.store.forget_processed(NOW_MS + 1, 99) == 1
    (late,) = stock.hand(RESERVE, "reserve", attempt=2)
    assert same_message(first, late)
    # Where that is forgotten as well, nothing is done, and nothing is said of it.
    assert not stock.store.forget_operations(NOW_MS + 1, 500)
    stock.now_ms = NOW_MS + 40 * DAY_MS
    assert stock.hand(RESERVE, "reserve", attempt=3) == []
    assert stock.rows(KETTLES) == [(6,)]


def test_race_50_another_question_under_a_used_id_is_not_answered_with_the_old_answer(stock: Desk) -> None:
    stock.hand(RESERVE, "reserve")
    assert stock.hand(msgspec.structs.replace(RESERVE, items=(Item("mug", 1),)), "reserve", attempt=2) == []
    (letter,) = stock.dead_letters()
    assert "same id as before, another body" in letter.reason
    assert stock.rows("SELECT product_id FROM reservations") == [("kettle",)]


def test_race_51_an_undo_that_is_refused_makes_the_run_stuck_with_a_way_out() -> None:
    run = Run(DONE["room"], REFUSED["seat"], UNDO_REFUSED)
    assert (run.now.state, run.now.reason) == (STUCK, "room: its undo was refused: RoomKept (guest is in)")
    assert run.now.steps[0].effect == "done"
    assert run.take(UNDO_REFUSED).effects == ()
    ways_out = {trigger for state, trigger in TRIP.table if state == STUCK and trigger.startswith("room.")}
    assert {"room.retry-undo", "room.resolve-undone"} <= ways_out


def test_race_52_an_undo_whose_reply_was_lost_refunds_once(bank: Desk) -> None:
    bank.hand(PAY, "pay")
    (first,) = bank.hand(REFUND, "pay", "undo")
    (second,) = bank.hand(REFUND, "pay", "undo", attempt=2)
    assert same_message(first, second)
    assert bank.rows("SELECT cents FROM movements ORDER BY seq") == [(5998,), (-5998,)]
    # The same where the handler itself would give back whatever it is asked to.
    careless = Service(PAYMENTS)

    @careless.handles
    def _(sql: Sql, command: ProcessPayment) -> PaymentProcessed:
        sql.execute("UPDATE till SET cents = cents + 5998")
        return PaymentProcessed(order_id=command.order_id, payment_id="pay-1")

    @careless.undoes
    def _(sql: Sql, command: RefundPayment) -> PaymentRefunded:
        sql.execute("UPDATE till SET cents = cents - 5998")
        return PaymentRefunded(order_id=command.order_id)

    till = Desk(careless, [("001-till", _make_till)])
    till.hand(PAY, "pay")
    for attempt in (1, 2, 3):
        till.hand(REFUND, "pay", "undo", attempt=attempt)
    assert till.rows("SELECT cents FROM till") == [(0,)]
    till.store.close()


def _make_till(sql: Sql) -> None:
    sql.execute("CREATE TABLE till (cents INTEGER NOT NULL) STRICT")
    sql.execute("INSERT INTO till VALUES (0)")


@pytest.mark.anyio
async def test_race_53_a_repeat_of_the_do_that_is_delivered_behind_its_undo_has_no_effect(bank: Desk) -> None:
    bank.hand(PAY, "pay")
    bank.hand(REFUND, "pay", "undo")
    bank.hand(PAY, "pay", attempt=2)
    assert bank.rows("SELECT sum(cents) FROM movements") == [(0,)]
    # Payments is away for so long that the do, its repeat and the undo all wait in its topic.
    async with a_shop() as shop:
        await shop.nodes["payments"].kill()
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle(within_s=20)
        assert order(shop, "o-1").state == "pay.undoing"
        await shop.nodes["payments"].start()
        await shop.settle()
        assert order(shop, "o-1").state == "compensated"
        assert rows(shop, "payments", "SELECT sum(cents) FROM movements") == [(0,)]


def test_race_56_a_database_from_a_backup_carries_nothing_out_until_somebody_has_said_what_is_meant(
    tmp_path: Path,
) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.back_up()
    warehouse.reserve("o-1")
    warehouse.restore()
    on_shelf = warehouse.desk.rows(KETTLES)
    # The command comes once more: what would repeat it has forgotten that it did.
    again = warehouse.desk.incoming(msgspec.structs.replace(RESERVE, order_id="o-1"), "reserve", attempt=2)
    with pytest.raises(DatabaseRestored):
        warehouse.run(again)
    assert warehouse.desk.rows(KETTLES) == on_shelf
    warehouse.desk.store.remembered.note_restored(NOW_MS + 1, "repeat", "ada", "the disk was lost", NOW_MS)
    warehouse.run(again)
    assert warehouse.desk.rows(KETTLES) != on_shelf
