"""At-most-once and at-least-once side by side: the same events, the same crash, and what it costs each."""

from collections.abc import AsyncIterator, Sequence

import pytest

from sagas.broker.memory import MemoryBroker
from sagas.core.envelope import encode_message
from sagas.core.ids import timed_id
from sagas.ports import OutboxRow, Outgoing, Sql
from sagas.runtime.cleaning import PROCESSED_KEPT_MS, STEP_MAX
from sagas.runtime.consumer import Consumer, Seen
from sagas.runtime.dead_letters import published_again
from sagas.testing.world import World
from services.analytics.consumer import MIGRATIONS as ANALYTICS_TABLES
from services.analytics.consumer import analytics
from services.auditlog.consumer import AUDIT_LOG, auditlog
from services.contracts import ORDERS, PAYMENTS, OrderShipped, PaymentProcessed
from services.notifications.consumer import MIGRATIONS as NOTIFICATIONS_TABLES
from services.notifications.consumer import notifications
from tests.consumers.reader import Reader
from tests.runtime.shop import a_shop, an_order

pytestmark = pytest.mark.anyio

COUNTED = "SELECT coalesce(sum(events), 0) FROM events_by_minute"
TOLD = "SELECT count(*), count(DISTINCT event_id) FROM notifications"


@pytest.fixture
async def shop() -> AsyncIterator[World]:
    async with a_shop() as shop:
        yield shop


async def pay(shop: World, *orders: str) -> None:
    """Have events come that no saga asked for."""
    broker = MemoryBroker(shop.broker)
    now_ms = shop.clock.now_ms()
    for key in orders:
        event = PaymentProcessed(order_id=key, payment_id="p")
        message_id = timed_id(now_ms, key)
        payload = encode_message(event, message_id=message_id, key_field=PAYMENTS.key, key=key, now_ms=now_ms)
        await broker.publish([Outgoing(id=message_id, topic=PAYMENTS.events, key=key, payload=payload)])
    await broker.close()


async def a_reader(shop: World, consumer: Consumer) -> Reader:
    tables = {notifications.name: NOTIFICATIONS_TABLES, analytics.name: ANALYTICS_TABLES}
    reader = Reader(consumer, tables.get(consumer.name, ()), shop.broker, shop.clock)
    await reader.start()
    return reader


# --------------------------------------------------------------------------- the difference


async def test_a_crash_costs_at_most_once_what_it_had_read_and_at_least_once_only_a_repeat(shop: World) -> None:
    metrics, orders = await a_reader(shop, analytics), await a_reader(shop, notifications)
    await pay(shop, "o-1", "o-2", "o-3")

    # At-most-once stores its offsets, and dies before the work.
    await metrics.die("after")
    await metrics.start()
    await metrics.run()
    assert metrics.rows(COUNTED) == [(0,)], "lost: its offsets say that they were dealt with"

    # At-least-once does the work, and dies before its offsets are stored.
    await orders.die("before")
    await orders.start()
    await orders.run()
    assert orders.rows(TOLD) == [(3, 3)], "delivered again, and each told once"
    assert (orders.work.handled, orders.work.repeats) == (0, 3)

    await pay(shop, "o-4")
    await metrics.run()
    await orders.run()
    assert metrics.rows(COUNTED) == [(1,)]
    assert orders.rows(TOLD) == [(4, 4)]


async def test_at_most_once_never_sees_an_event_twice_and_remembers_none(shop: World) -> None:
    metrics = await a_reader(shop, analytics)
    await pay(shop, "o-1", "o-2")
    await metrics.turn()
    await metrics.start()  # the process before it is gone; whatever it had done, nothing comes again
    await metrics.run()
    assert metrics.rows(COUNTED) == [(2,)]
    assert metrics.rows("SELECT count(*) FROM processed_events") == [(0,)]


async def test_at_most_once_leaves_to_the_others_what_went_to_them_before_it_could_store_its_offsets(
    shop: World,
) -> None:
    first, second, third = [await a_reader(shop, analytics) for _ in range(3)]
    await pay(shop, *(f"o-{number}" for number in range(30)))
    second.have_meanwhile(third.leave)  # whoever leaves has all partitions dealt out anew
    await second.turn()
    await first.run()
    await second.run()
    assert sum(int(str(reader.rows(COUNTED)[0][0])) for reader in (first, second)) == 30


async def test_offsets_stored_before_the_work_lose_nothing_as_long_as_nobody_dies(shop: World) -> None:
    metrics = await a_reader(shop, analytics)
    await pay(shop, *(f"o-{number}" for number in range(30)))
    await metrics.run()
    assert metrics.rows(COUNTED) == [(30,)]


async def test_what_another_reader_had_published_again_is_told_once_and_counted_once(shop: World) -> None:
    metrics, orders = await a_reader(shop, analytics), await a_reader(shop, notifications)
    broker = MemoryBroker(shop.broker)
    await pay(shop, "o-1", "o-2")
    await metrics.run()
    await orders.run()
    (first, *_) = await (await broker.subscribe("other", [PAYMENTS.events])).poll(9)
    again = published_again(first, 1, read_by="other", key_field=PAYMENTS.key)
    assert again is not None
    await broker.publish(
        [Outgoing(id=again.id, topic=again.topic, key=again.key, payload=again.payload, headers=again.headers)]
    )
    await broker.close()
    await metrics.run()
    await orders.run()

    assert metrics.rows(COUNTED) == [(2,)]
    assert orders.rows(TOLD) == [(2, 2)]
    assert orders.work.repeats == metrics.work.repeats == 1


# --------------------------------------------------------------------------- idempotent consumers


async def test_what_was_processed_is_noted_with_its_time_and_type_in_the_transaction_of_the_change(shop: World) -> None:
    def breaks_on_o_2(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        sql.execute("INSERT INTO notifications VALUES (?, ?, ?, ?, ?)", [seen.id, seen.key, "", "", 0])
        if seen.key == "o-2":
            raise ValueError("no")
        return ()

    consumer = Consumer(notifications.name, (ORDERS, PAYMENTS), breaks_on_o_2)
    reader = await a_reader(shop, consumer)
    await pay(shop, "o-1", "o-2", "o-3")
    await reader.run()
    now_ms = shop.clock.now_ms()
    noted = "SELECT event_type, processed_at FROM processed_events WHERE event_type <> 'sagas.dead-letter'"
    assert reader.rows(noted) == [("payment.processed", now_ms)] * 2
    assert sorted(reader.rows("SELECT order_id FROM notifications")) == [("o-1",), ("o-3",)]
    (letter,) = reader.store.dead_letters(9)
    assert (letter.key, "ValueError: no" in letter.reason) == ("o-2", True)


async def test_a_message_that_cannot_be_read_is_kept_and_its_partition_goes_on(shop: World) -> None:
    reader = await a_reader(shop, notifications)
    broker = MemoryBroker(shop.broker)
    await broker.publish([Outgoing(id=timed_id(1, "x"), topic=PAYMENTS.events, key="o-1", payload=b"no envelope")])
    await pay(shop, "o-1")
    await reader.run()
    assert len(reader.store.dead_letters(9)) == 1
    assert reader.rows(TOLD) == [(1, 1)]


async def test_old_ids_are_forgotten_in_small_steps_and_never_before_their_time(shop: World) -> None:
    reader = await a_reader(shop, notifications)
    count = STEP_MAX + 7
    with reader.store.transaction() as transaction:
        for number in range(count):
            transaction.processed(f"old {number}", "order.created", shop.clock.now_ms())
    shop.clock.advance(PROCESSED_KEPT_MS)
    await pay(shop, "new")
    left: list[object] = []
    for _ in range(3):
        shop.clock.advance(60_001)
        reader.work.after_poll(None, shop.clock.now_ms())
        left.append(reader.rows("SELECT count(*) FROM processed_events WHERE event_type = 'order.created'")[0][0])
    assert left == [7, 0, 0]
    await reader.run()
    assert reader.rows("SELECT count(*) FROM processed_events") == [(1,)]


# --------------------------------------------------------------------------- pub/sub


async def test_three_consumers_read_the_same_events_each_at_its_own_place(shop: World) -> None:
    readers = [await a_reader(shop, consumer) for consumer in (notifications, analytics, auditlog)]
    await shop.publish_start("order", an_order("o-1"))
    await shop.publish_start("order", an_order("o-2", card="card-declined"))
    await shop.settle()
    told, counted, kept = readers
    await told.run()
    await counted.run()
    events = counted.rows(COUNTED)[0][0]
    assert events == told.work.handled
    assert [text for (text,) in told.rows("SELECT text FROM notifications WHERE order_id = 'o-1' ORDER BY at_ms")] == [
        "We have your order o-1.",
        "Your payment for order o-1 has arrived.",
        "Order o-1 is on its way.",
    ]
    # The third was away all the while, and misses nothing.
    await kept.run()
    audit = shop.broker.log.topic("sagas", AUDIT_LOG.name).partitions[0]
    assert audit.end == events


async def test_the_audit_log_keeps_every_event_as_it_came_for_a_year(shop: World) -> None:
    reader = await a_reader(shop, auditlog)
    await pay(shop, "o-1")
    await reader.die("before")
    await reader.start()
    await reader.run()
    topic = shop.broker.log.topic("sagas", AUDIT_LOG.name)
    assert topic.expiry_us == 365 * 24 * 3_600 * 1_000_000
    span = topic.partitions[0].span(0, 9)
    assert span is not None
    (record,) = span.bodies
    original = shop.broker.log.topic("sagas", PAYMENTS.events)
    (first,) = [span.bodies[0] for p in original.partitions if (span := p.span(0, 1)) is not None]
    assert record.payload == first.payload
    outbox = reader.rows("SELECT event_type, aggregate_type, aggregate_id FROM outbox")
    assert outbox == [("payment.processed", "payments", "o-1")]


def test_an_event_of_another_kind_tells_the_customer_nothing() -> None:
    from services.notifications.rules import text_of

    assert text_of("inventory.released", "o-1") is None
    assert text_of("order.shipped", OrderShipped(order_id="o-1", tracking="t").order_id) == "Order o-1 is on its way."
