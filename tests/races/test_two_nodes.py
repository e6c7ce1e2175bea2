"""Races between two processes on one database: each has a connection and a memory of its own."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.core.effects import Operate
from sagas.core.instance import Instance
from sagas.ports import Incoming, InstanceFilter, Outgoing, TimerRow
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.relay import Relay
from sagas.store.sqlite import SqliteStore
from sagas.testing import VirtualClock
from sagas.testing.world import inline
from services.contracts import (
    InventoryReserved,
    Item,
    OrderRejected,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
)
from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.payments.handlers import bank_says_yes, payments
from services.payments.tables import MIGRATIONS as PAYMENTS_TABLES
from tests.core.variants import Plan, a_command, variant
from tests.races.parts import ORDER, a_reply
from tests.races.test_operators import start
from tests.runtime.node import Node
from tests.runtime.shop import an_order
from tests.services.desk import NOW_MS as DESK_MS
from tests.services.desk import Desk, same_message

NOW_MS = 1_700_000_000_000
FAR_MS = 10**15
RESERVE = ReserveInventory(order_id="o-1", items=(Item("kettle", 4),))
RELEASE = ReleaseInventory(order_id="o-1")
KETTLES = "SELECT on_shelf FROM products WHERE product_id = 'kettle'"
SILENT = ProcessPayment(order_id="o-1", amount="59.98", card="card-silent")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Two orchestrators' connections to one file."""
    with ExitStack() as stack:
        made = SqliteStore(tmp_path / "sagas.db"), SqliteStore(tmp_path / "sagas.db")
        for store in made:
            stack.callback(store.close)
        yield made


@pytest.fixture
def nodes(stores: tuple[SqliteStore, SqliteStore]) -> tuple[Orchestrator, Orchestrator]:
    one, other = stores
    return Orchestrator([ORDER], one), Orchestrator([ORDER], other)


def as_read(message: Outgoing) -> Incoming:
    """A message as somebody polls it."""
    return Incoming(
        id=message.id,
        topic=message.topic,
        partition=0,
        offset=0,
        timestamp_ms=NOW_MS,
        payload=message.payload,
        headers=message.headers,
    )


def run_of(store: SqliteStore, key: str = "o-1") -> Instance:
    found = store.instance("order", key)
    assert found is not None
    return found


def commands(store: SqliteStore) -> list[tuple[str, str]]:
    """What is still to be published."""
    return [(row.event_type, row.headers.get("operation", "")) for row in store.unpublished(99)]


def timers(store: SqliteStore) -> list[TimerRow]:
    with store.transaction() as transaction:
        return transaction.due_timers(FAR_MS, 99)


# --------------------------------------------------------------------------- orchestrators


def test_an_answer_that_both_nodes_were_given_moves_its_run_once(
    stores: tuple[SqliteStore, SqliteStore], nodes: tuple[Orchestrator, Orchestrator]
) -> None:
    first, second = nodes
    first.process([start("o-1", 1)], NOW_MS)  # and has the run in its memory from now on
    run = run_of(stores[0])
    answer = as_read(a_reply(run.id, "o-1", "create", an_order("o-1")))
    copy = as_read(a_reply(run.id, "o-1", "create", an_order("o-1"), 2))
    second.process([answer], NOW_MS)
    first.process([answer, copy], NOW_MS)
    assert [row.verdict for row in stores[0].journal(run.id)] == ["advance", "advance", "duplicate"]
    assert commands(stores[1]) == [("order.create", "do"), ("inventory.reserve", "do")]


def test_a_timer_that_one_node_has_in_hand_is_outdated_by_the_answer_that_another_took(
    stores: tuple[SqliteStore, SqliteStore], nodes: tuple[Orchestrator, Orchestrator]
) -> None:
    first, second = nodes
    first.process([start("o-1", 1)], NOW_MS)
    run = run_of(stores[0])
    due_ms = stores[0].next_due_ms()
    assert due_ms is not None
    second.process([as_read(a_reply(run.id, "o-1", "create", an_order("o-1")))], NOW_MS + 1)
    assert first.fire(due_ms, due_ms) == [], "it was due when it was looked for, and is gone"
    assert run_of(stores[0]).state == "reserve.pending"
    assert commands(stores[0]) == [("order.create", "do"), ("inventory.reserve", "do")]


def test_an_early_answer_that_one_node_has_put_aside_is_taken_by_the_node_that_comes_to_its_step(
    stores: tuple[SqliteStore, SqliteStore], nodes: tuple[Orchestrator, Orchestrator]
) -> None:
    first, second = nodes
    first.process([start("o-1", 1)], NOW_MS)
    run = run_of(stores[0])
    second.process([as_read(a_reply(run.id, "o-1", "reserve", InventoryReserved(order_id="o-1")))], NOW_MS)
    first.process([as_read(a_reply(run.id, "o-1", "create", an_order("o-1")))], NOW_MS)
    assert run_of(stores[1]).state == "pay.pending"
    assert [row.verdict for row in stores[1].journal(run.id)] == ["advance"] * 3


def test_nobody_times_out_a_step_whose_answer_was_put_aside_by_a_node_of_another_release(
    stores: tuple[SqliteStore, SqliteStore],
) -> None:
    pack = Plan("pack", a_command("pack"), a_command("unpack"), timeout=3)
    older = variant(1, pack, Plan("pay", a_command("pay"), a_command("refund")))
    newer_store, older_store = stores
    newer = Node(newer_store, variant(2, pack, Plan("charge", a_command("pay"), a_command("refund"))))
    run = newer.start("o-1")
    orchestrator = Orchestrator(newer.definitions, newer_store, newer_store)
    while not any(timer.fire.kind == "timeout" for timer in timers(newer_store)):
        newer.now_ms = timers(newer_store)[0].due_ms
        orchestrator.fire(newer.now_ms, newer.now_ms)
    behind = Node(older_store, older, may_strand=True)
    behind.now_ms = timers(newer_store)[0].due_ms - 1_500
    assert behind.reply("o-1", "pack", "pack.done").state == run.state, "it does not know that version"
    due_ms = timers(newer_store)[0].due_ms
    assert due_ms - behind.now_ms < 1_000
    orchestrator.fire(due_ms, due_ms)
    assert newer.instance("o-1").state == "charge.pending"


def test_a_run_that_another_node_has_purged_is_not_begun_again_from_memory(
    stores: tuple[SqliteStore, SqliteStore], nodes: tuple[Orchestrator, Orchestrator]
) -> None:
    node, _ = nodes
    node.process([start("o-1", 1)], NOW_MS)
    run = run_of(stores[0])
    refusal = OrderRejected(order_id="o-1", reason="no")
    node.process([as_read(a_reply(run.id, "o-1", "create", refusal))], NOW_MS)
    assert run_of(stores[0]).is_ended
    stores[1].cleaner.purge_runs(NOW_MS + 1, NOW_MS, 9)
    again = msgspec.structs.replace(start("o-1", 2), id=start("another", 2).id)
    late = as_read(a_reply(run.id, "o-1", "create", refusal, 2))
    node.process([again, late], NOW_MS)
    assert stores[0].instances(InstanceFilter()) == []
    assert ["purged" in letter.reason for letter in stores[1].dead_letters(9)] == [True, True]


@pytest.mark.anyio
async def test_a_do_that_a_node_had_in_memory_when_it_stood_still_is_published_behind_its_undo_and_blocked(
    stores: tuple[SqliteStore, SqliteStore], nodes: tuple[Orchestrator, Orchestrator]
) -> None:
    stands_still, other = nodes
    clock = VirtualClock(NOW_MS)
    broker = MemoryBroker(MemoryWorld(clock))
    await broker.ensure(stands_still.topic_specs(1))
    relays = [Relay(store, broker, clock, inline) for store in stores]
    stands_still.process([start("o-1", 1)], NOW_MS)
    for relay in relays:
        while await relay.flush():
            pass
    run = run_of(stores[0])
    stands_still.process([as_read(a_reply(run.id, "o-1", "create", an_order("o-1")))], NOW_MS)
    # Another goes on with what lies in the table, and somebody cancels the run.
    run = run_of(stores[1])
    other.operate(run.id, Operate(action="cancel", who="ann", reason="x", revision=run.revision), NOW_MS)
    for relay in reversed(relays):
        while await relay.flush():
            pass
    subscription = await broker.subscribe("readers", ["inventory-commands"])
    read = list(await subscription.poll(99))
    await broker.close()
    assert [message.headers["operation"] for message in read[:2]] == ["do", "undo"]
    stock = Desk(inventory, migrations({"123": 10}))
    for message in (*reversed(read), *read):
        inventory.process([message], stock.store, NOW_MS)
    assert stock.rows("SELECT on_shelf FROM products") == [(10,)]
    stock.store.close()


# --------------------------------------------------------------------------- replicas of a participant


@pytest.fixture
def desks(tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    """Two processes of the inventory service."""
    path = tmp_path / "inventory.db"
    made = Desk(inventory, migrations({"kettle": 10}), path), Desk(inventory, migrations({"kettle": 10}), path)
    yield made
    for desk in made:
        desk.store.close()


@pytest.fixture
def banks(tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    """Two processes of the payments service."""
    path = tmp_path / "payments.db"
    made = Desk(payments, PAYMENTS_TABLES, path), Desk(payments, PAYMENTS_TABLES, path)
    yield made
    for bank in made:
        bank.store.close()


def test_a_replica_answers_from_what_the_one_that_died_has_committed(desks: tuple[Desk, Desk]) -> None:
    died, heir = desks
    died.service.process([died.incoming(RESERVE, "reserve")], died.store, DESK_MS)  # and published nothing of it
    left, again = heir.hand(RESERVE, "reserve", attempt=2)
    assert same_message(left, again)
    assert heir.rows(KETTLES) == [(6,)]


def test_a_replica_that_stood_still_with_a_do_carries_nothing_out_behind_its_undo(desks: tuple[Desk, Desk]) -> None:
    stands_still, other = desks
    in_hand = stands_still.incoming(RESERVE, "reserve")
    other.hand(RELEASE, "reserve", "undo")
    stands_still.service.process([in_hand], stands_still.store, DESK_MS - 60_000)
    assert stands_still.answers() == []
    assert other.rows(KETTLES) == [(10,)]


def test_a_refusal_of_one_replica_stands_at_the_other(desks: tuple[Desk, Desk]) -> None:
    one, other = desks
    wanted = ReserveInventory(order_id="o-1", items=(Item("kettle", 11),))
    (refused,) = one.hand(wanted, "reserve")
    with one.store.transaction() as transaction:
        transaction.sql.execute("UPDATE products SET on_shelf = 99, delivered = 99")
    (again,) = other.hand(wanted, "reserve", attempt=2)
    assert refused.event_type == "inventory.failed"
    assert same_message(refused, again)


def test_what_one_replica_began_and_another_has_undone_is_settled_by_nobody(banks: tuple[Desk, Desk]) -> None:
    began, other = banks
    (word,) = began.hand(SILENT, "pay")
    assert word.event_type == "sagas.in-progress"
    (refunded,) = other.hand(RefundPayment(order_id="o-1"), "pay", "undo")
    assert refunded.event_type == "payment.refunded"
    with began.store.transaction() as transaction:
        assert not bank_says_yes(transaction, "o-1", DESK_MS)
    assert began.hand(SILENT, "pay", attempt=2) == []
    assert other.rows("SELECT count(*) FROM movements") == [(0,)]


def test_what_one_replica_has_settled_is_answered_so_by_the_other_and_undone_once(banks: tuple[Desk, Desk]) -> None:
    began, other = banks
    other.hand(SILENT, "pay")
    began.hand(SILENT, "pay", attempt=2)
    with other.store.transaction() as transaction:
        assert bank_says_yes(transaction, "o-1", DESK_MS)
    (settled,) = other.answers()
    (again,) = began.hand(SILENT, "pay", attempt=3)
    assert settled.event_type == "payment.processed"
    assert same_message(settled, again)
    for bank in banks:
        bank.hand(RefundPayment(order_id="o-1"), "pay", "undo")
    assert began.rows("SELECT cents FROM movements ORDER BY seq") == [(5998,), (-5998,)]
    assert began.hand(msgspec.structs.replace(SILENT, card="card-ok"), "pay", attempt=4) == [], "another question"
