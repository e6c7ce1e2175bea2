"""What a participant has forgotten it neither does again nor says it never did."""

from collections.abc import Iterator

import pytest

from sagas.core.effects import Operate, Send
from sagas.core.ids import instance_id
from sagas.core.instance import STUCK, Operation
from sagas.core.messages import Undeliverable, tag_of
from sagas.ports import BarrierRow
from sagas.runtime.cleaning import DAY_MS, REST_MS, Keeping
from sagas.runtime.delivery import CLOCKS_APART_MS, FORGOTTEN
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.roles import ServiceWork
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.world import World
from services.contracts import Item, ReleaseInventory, ReserveInventory
from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.orders.saga import order_saga
from tests.runtime.shop import SERVICES, an_order, order, rows
from tests.runtime.stuck import get_stuck
from tests.services.desk import NOW_MS, Desk, reply_in

RESERVE = ReserveInventory(order_id="o-1", items=(Item("kettle", 4),))
RELEASE = ReleaseInventory(order_id="o-1")
KETTLES = "SELECT on_shelf FROM products WHERE product_id = 'kettle'"
BARRIER = "SELECT step, operation FROM barrier ORDER BY 1, 2"
SHELF = {"kettle": 10, "mug": 10}
WORLD = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def forgetful() -> Iterator[Desk]:
    """A stock that reserved four kettles and has forgotten it."""
    desk = Desk(inventory, migrations(SHELF))
    desk.hand(RESERVE, "reserve")
    assert not desk.store.forget_operations(NOW_MS + 1, 500)
    assert (desk.rows(BARRIER), desk.rows(KETTLES)) == ([], [(6,)])
    desk.now_ms = NOW_MS + 40 * DAY_MS
    yield desk
    desk.store.close()


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_command_that_may_have_been_carried_out_is_not_done_again_and_not_answered(
    forgetful: Desk, attempt: int
) -> None:
    assert forgetful.hand(RESERVE, "reserve", attempt=attempt) == []
    assert forgetful.rows(KETTLES) == [(6,)]
    (letter,) = forgetful.dead_letters()
    assert letter.reason == FORGOTTEN


def test_an_undo_of_what_may_have_been_done_is_not_answered_with_there_was_nothing(forgetful: Desk) -> None:
    (answer,) = forgetful.hand(RELEASE, "reserve", "undo")
    assert reply_in(answer, Undeliverable).reason == FORGOTTEN
    assert (forgetful.rows(KETTLES), forgetful.rows(BARRIER)) == ([(6,)], [])


def test_a_command_nobody_can_read_that_may_have_been_carried_out_is_not_refused(forgetful: Desk) -> None:
    unknown = forgetful.hand(RESERVE, "reserve", "undo", attempt=2)
    assert [reply_in(answer, Undeliverable).reason != "" for answer in unknown] == [True], "an undo waits for a person"
    payload = (
        b'{"id":"m","order_id":"o-1","event_type":"inventory.juggle","timestamp":"2020-01-01T00:00:00Z","data":{}}'
    )
    headers = {"saga": "order", "instance": instance_id("order", "o-1", NOW_MS), "step": "reserve", "operation": "do"}
    assert forgetful.hand_raw(payload, {**headers, "attempt": "1"}) == []


def test_what_was_first_asked_for_lately_is_carried_out_however_old_its_run_is(forgetful: Desk) -> None:
    since_ms = NOW_MS + 1 + CLOCKS_APART_MS
    mugs = ReserveInventory(order_id="o-1", items=(Item("mug", 1),))
    (reserved,) = forgetful.hand(mugs, "again", attempt=2, since_ms=since_ms)
    assert reserved.event_type == "inventory.reserved"
    (nothing,) = forgetful.hand(RELEASE, "never", "undo", since_ms=since_ms)
    assert nothing.event_type == "inventory.released"


def test_an_undo_whose_do_is_remembered_takes_it_back_however_old_it_is(forgetful: Desk) -> None:
    desk = Desk(inventory, migrations(SHELF))
    desk.hand(RESERVE, "reserve")
    desk.store.forget_operations(NOW_MS, 500)
    (released,) = desk.hand(RELEASE, "reserve", "undo")
    assert (released.event_type, desk.rows(KETTLES)) == ("inventory.released", [(10,)])
    desk.store.close()


def test_an_undo_that_found_nothing_is_not_forgotten_before_the_do_that_it_blocks() -> None:
    desk = Desk(inventory, migrations(SHELF))
    desk.now_ms = NOW_MS + 10
    desk.hand(RELEASE, "reserve", "undo")
    # The walk passes the do a moment before it is old enough, and comes to the undo a moment after.
    assert desk.store.forget_operations(NOW_MS + 10, 1)
    desk.store.forget_operations(NOW_MS + 11, 1)
    assert desk.rows(BARRIER) == []
    desk.store.close()


def test_what_is_in_progress_is_never_forgotten_and_the_rest_goes_in_small_steps() -> None:
    store = SqliteParticipantStore(":memory:")
    with store.transaction() as transaction:
        for number in range(5):
            transaction.remember(a_row(number, "do", answer="room.booked"), NOW_MS)
            transaction.remember(a_row(number, "undo", answer="room.freed"), NOW_MS)
        transaction.remember(a_row(7, "do", answer=""), NOW_MS)
        transaction.remember(a_row(8, "do", answer="", is_blocked=True), NOW_MS)
        transaction.remember(a_row(9, "do", answer="room.booked"), NOW_MS + 50)
    assert [store.forget_operations(NOW_MS + 50, 4) for _ in range(4)] == [True, True, True, False]
    with store.transaction() as transaction:
        assert transaction.forgotten_ms == NOW_MS + 50
        left = transaction.sql.execute("SELECT count(*), min(answer), max(answer) FROM barrier").fetchall()
        assert left == [(2, "", "room.booked")]
    store.close()


def a_row(number: int, operation: Operation, *, answer: str, is_blocked: bool = False) -> BarrierRow:
    return BarrierRow(
        instance_id=instance_id("trip", f"t-{number}", NOW_MS - 1000 + number),
        step="room",
        operation=operation,
        command_hash=b"h",
        answer=answer,
        is_blocked=is_blocked,
    )


@pytest.mark.parametrize("by_days", [300, 0.5, -0.5])
def test_a_time_that_only_a_wrong_clock_can_have_noted_is_taken_back(by_days: float) -> None:
    desk = Desk(inventory, migrations(SHELF))
    with desk.store.transaction() as transaction:
        transaction.sql.execute("UPDATE barrier_forgotten SET before_ms = ?", [NOW_MS + int(by_days * DAY_MS)])
    before = [
        desk.hand(RESERVE, "before", since_ms=NOW_MS - 1),
        desk.hand(RELEASE, "before", "undo", since_ms=NOW_MS - 1),
    ]
    assert [[answer.event_type for answer in answers] for answers in before] == [[], [tag_of(Undeliverable)]]
    (reserved,) = desk.hand(RESERVE, "reserve", since_ms=NOW_MS)
    assert reserved.event_type == "inventory.reserved"
    with desk.store.transaction() as transaction:
        assert transaction.forgotten_ms == NOW_MS - CLOCKS_APART_MS
    desk.store.close()


def test_a_clock_that_is_behind_the_brokers_takes_nothing_back() -> None:
    desk = Desk(inventory, migrations(SHELF))
    desk.hand(RESERVE, "reserve")
    desk.store.forget_operations(NOW_MS + 1, 500)
    desk.now_ms = NOW_MS + 40 * DAY_MS
    command = desk.incoming(RESERVE, "reserve")
    inventory.process([command], desk.store, NOW_MS - 300 * DAY_MS)
    assert desk.answers() == []
    with desk.store.transaction() as transaction:
        assert transaction.forgotten_ms == NOW_MS + 1
    desk.store.close()


# --------------------------------------------------------------------------- whole systems


@WORLD
async def test_a_clock_that_is_a_year_ahead_once_makes_nothing_be_forgotten() -> None:
    async with World([order_saga.definition], SERVICES) as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        work = ServiceWork(inventory, shop.stores["inventory"])
        await shop.publish_start("order", an_order("o-2"))
        for ahead_ms in (365 * DAY_MS, 0):
            work.after_poll(None, shop.clock.now_ms() + ahead_ms)
        await shop.settle()
        assert order(shop, "o-2").state == "completed"
        assert len(rows(shop, "inventory", BARRIER)) == 2


async def an_order_undone_after_forty_days(keeping: Keeping) -> tuple[World, str]:
    """Its shipping was away for that long, and then cannot deliver it."""
    shop = World([order_saga.definition], SERVICES, keeping=keeping)
    for node in shop.nodes.values():
        await node.start()
    await shop.nodes["shipping"].kill()
    await shop.publish_start("order", an_order("o-1", address="nowhere"))
    await shop.work()
    shop.clock.advance(40 * DAY_MS)
    await shop.work()
    await shop.publish_start("order", an_order("o-2"))  # what is read says how late it is
    await shop.work()
    shop.clock.advance(REST_MS)
    await shop.work()
    await shop.nodes["shipping"].start()
    for _ in range(50):
        await shop.work()
        shop.clock.advance(10_000)
    return shop, order(shop, "o-1").state


@WORLD
async def test_a_run_that_would_undo_what_was_forgotten_is_stuck_and_says_why() -> None:
    shop, state = await an_order_undone_after_forty_days(Keeping())
    assert state == STUCK
    assert "SAGAS_BARRIER_DAYS" in order(shop, "o-1").reason
    assert [step.effect for step in order(shop, "o-1").steps if step.name == "pay"] == ["done"]
    assert rows(shop, "payments", "SELECT count(*) FROM movements") == [(2,)], "each was paid, nothing was given back"
    await shop.__aexit__()


@WORLD
async def test_it_is_undone_where_participants_remember_for_longer() -> None:
    shop, state = await an_order_undone_after_forty_days(Keeping(barrier_ms=0))
    assert state == "compensated"
    await shop.__aexit__()


@WORLD
async def test_a_command_says_when_its_step_was_first_asked_for_also_after_a_person_had_it_retried() -> None:
    async with World([order_saga.definition], SERVICES) as shop:
        await get_stuck(shop, ["o-1"])
        first_ms = next(step.sent_ms for step in order(shop, "o-1").steps if step.name == "ship")
        sent = [row for row in shop.store.unpublished(99) if row.headers.get("step") == "ship"]
        assert {row.headers.get("since") for row in sent} <= {None, str(first_ms)}
        run = order(shop, "o-1")
        retry = Operate(action="retry", who="ann", reason="a lorry", revision=run.revision)
        decision = decide_retry(shop, retry)
        assert decision.since_ms == first_ms
        record = next(step for step in order(shop, "o-1").steps if step.name == "ship")
        assert (record.asked_ms, record.sent_ms) == (first_ms, shop.clock.now_ms())


def decide_retry(shop: World, retry: Operate) -> Send:
    decision = Orchestrator([order_saga.definition], shop.store).operate(
        order(shop, "o-1").id, retry, shop.clock.now_ms()
    )
    assert not isinstance(decision, str), decision
    return next(effect for effect in decision.effects if isinstance(effect, Send))
