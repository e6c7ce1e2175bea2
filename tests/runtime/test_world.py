"""The whole system in one process: what it does when processes die, the broker goes away and strange messages come."""

from typing import Any

import msgspec
import pytest

from sagas.broker.memory import MemoryBroker
from sagas.core.effects import Fire, Reply, Start
from sagas.errors import SagaError
from sagas.ports import Outgoing
from sagas.runtime.verification import decided_again
from sagas.testing import Scenario
from sagas.testing.world import World
from services.contracts import PaymentProcessed
from services.orders.saga import order_saga
from tests.runtime import trips
from tests.runtime.shop import Header, a_shop, an_order, effects, foreign, order, rows

pytestmark = pytest.mark.anyio


async def publish(world: World, *messages: Outgoing) -> None:
    broker = MemoryBroker(world.broker)
    await broker.publish(messages)
    await broker.close()


async def test_orders_of_every_kind_end_as_they_should() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("good"))
        await shop.publish_start("order", an_order("out", product="unicorn"))
        await shop.publish_start("order", an_order("declined", card="card-declined"))
        await shop.publish_start("order", an_order("nowhere", address="nowhere"))
        await shop.publish_start("order", an_order("silent", card="card-silent"))
        await shop.settle()
        states = {i.key: i.state for i in (order(shop, k) for k in ("good", "out", "declined", "nowhere", "silent"))}
        assert states == {
            "good": "completed",
            "out": "compensated",
            "declined": "compensated",
            "nowhere": "compensated",
            "silent": "compensated",
        }
        assert order(shop, "silent").cause == "pay: no answer in 2.0 s"
        assert shop.store.dead_letters(9) == []


async def test_the_same_order_published_twice_is_one_saga_and_one_payment() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("twice"))
        await shop.publish_start("order", an_order("twice"))
        await shop.settle()
        await shop.publish_start("order", an_order("twice"))
        await shop.settle()
        assert order(shop, "twice").state == "completed"
        assert len(rows(shop, "payments", "SELECT * FROM payments")) == 1


async def test_another_order_under_the_same_key_is_kept_as_a_dead_letter() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.work()
        shop.clock.advance(1)
        await shop.publish_start("order", an_order("o-1", product="other"))
        await shop.settle()
        (letter,) = shop.store.dead_letters(9)
        assert letter.reason == "started before with other data"
        assert order(shop, "o-1").state == "completed"


async def test_a_signal_is_published_on_its_own_topic_also_at_the_time_of_the_start() -> None:
    services = {trips.hotel: (), trips.flight: (), trips.bank: (), trips.desk: ()}
    async with World([trips.trip_saga.definition], services) as world:
        await world.publish_start("trip", trips.TripAsked(trip_id="t-1"))
        assert await world.publish(trips.TripApproved(trip_id="t-1"), on=trips.DESK) == "t-1"
        await world.publish_start("trip", trips.TripAsked(trip_id="t-2"))
        await world.settle()
        assert world.instance("trip", "t-1").state == "completed"
        assert world.instance("trip", "t-2").cause == "approval: no signal in 3600.0 s"


@pytest.mark.parametrize("victim", ["orchestrator", "orders", "inventory", "payments", "shipping"])
@pytest.mark.parametrize("turns", range(1, 12))
async def test_a_process_killed_after_any_turn_and_restarted_loses_nothing(victim: str, turns: int) -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("good"))
        await shop.publish_start("order", an_order("nowhere", address="nowhere"))
        for _ in range(turns):
            for node in shop.nodes.values():
                await node.turn()
        await shop.nodes[victim].kill()
        await shop.work()
        await shop.nodes[victim].start()
        await shop.settle()
        assert order(shop, "good").state == "completed"
        assert order(shop, "nowhere").state == "compensated"
        states = rows(shop, "payments", "SELECT state, count(*) FROM payments GROUP BY state ORDER BY state")
        assert states == [("captured", 1), ("refunded", 1)]


async def test_a_participant_that_is_away_longer_than_its_timeout_is_undone_when_it_is_back() -> None:
    async with a_shop() as shop:
        await shop.nodes["payments"].kill()
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle(within_s=60)
        assert order(shop, "o-1").state == "pay.undoing"
        await shop.nodes["payments"].start()
        await shop.settle()
        assert order(shop, "o-1").state == "compensated"
        # The do and its undo both waited in the topic, in this order: what was captured is given back.
        assert rows(shop, "payments", "SELECT state FROM payments") == [("refunded",)]


async def test_nobody_is_timed_out_while_the_broker_is_away_and_the_answers_are_waiting() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        for node in ("orchestrator", "orders", "orchestrator", "inventory", "orchestrator", "payments"):
            await shop.nodes[node].turn()
        assert order(shop, "o-1").state == "pay.pending"
        await shop.nodes["orchestrator"].kill()
        shop.clock.advance(3_600_000)  # the answer of payments waits in its topic, the timeout is long over
        await shop.nodes["orchestrator"].start()
        await shop.settle()
        assert order(shop, "o-1").state == "completed"


async def test_a_broker_that_goes_away_and_comes_back_costs_nothing_but_time() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        shop.broker.stop()
        for node in shop.nodes.values():
            assert await node.turn() == 0
        shop.clock.advance(10_000)
        shop.broker.start()
        await shop.settle()
        assert order(shop, "o-1").state == "completed"


async def test_events_of_others_are_passed_over_and_poison_becomes_a_dead_letter() -> None:
    async with a_shop() as shop:
        paid = b'{"id":"x","order_id":"o-1","event_type":"order.paid","timestamp":"2025-01-01T00:00:00Z","data":{}}'
        await publish(
            shop,
            foreign("orders", "o-1", paid),
            foreign("orders", "o-1", b"\xff\xfe", 2),
            foreign("orders", "o-1", paid.replace(b"order.paid", b"order.created"), 3),
            foreign("inventory", "o-1", paid, 4, {Header.INSTANCE: "o-1", Header.STEP: "pay", Header.OPERATION: "x"}),
            foreign("payments-commands", "o-1", paid, 5),
        )
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
        assert len(shop.store.dead_letters(9)) == 3
        assert len(shop.stores["payments"].dead_letters(9)) == 1


async def test_a_reply_from_the_wrong_topic_is_refused() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        instance = order(shop, "o-1")
        forged = (
            b'{"id":"x","order_id":"o-1","event_type":"order.created","timestamp":"2025-01-01T00:00:00Z",'
            b'"data":{"items":[{"product_id":"123","quantity":2}],"total":"59.98"}}'
        )
        headers = {Header.INSTANCE: instance.id, Header.STEP: "create", Header.OPERATION: "do"}
        await publish(shop, foreign("shipping", "o-1", forged, 1, headers))
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "create.pending"
        (letter,) = shop.store.dead_letters(9)
        assert letter.reason == "step 'create' is answered on 'orders', this came on 'shipping'"


async def test_a_reply_of_an_instance_that_is_not_there_is_parked_and_then_given_up() -> None:
    async with a_shop() as shop:
        reply = b'{"id":"x","order_id":"o-1","event_type":"order.shipped","timestamp":"2025-01-01T00:00:00Z","data":{}}'
        instance = "0193a5b0-0000-7000-8000-000000000001"
        headers = {Header.INSTANCE: instance, Header.STEP: "ship", Header.OPERATION: "do"}
        await publish(shop, foreign("shipping", "o-1", reply, 1, headers))
        await shop.work()
        assert shop.store.dead_letters(9) == []
        shop.clock.advance(3_600_000)
        await shop.work()  # after an hour in which nobody worked, timers are held back for a moment
        shop.clock.advance(11_000)
        await shop.work()
        (letter,) = shop.store.dead_letters(9)
        assert letter.reason.startswith("the run that it answers is not in this database: an orchestrator with another")


async def test_replaying_the_journal_gives_the_stored_instance() -> None:
    async with a_shop() as shop:
        for key, card in (("a", "card-ok"), ("b", "card-declined"), ("c", "card-silent")):
            await shop.publish_start("order", an_order(key, card=card))
        await shop.settle()
        for key in "abc":
            stored = order(shop, key)
            replayed = None
            for row in shop.store.journal(stored.id):
                message = _input(row.input)
                replayed = decided_again(order_saga.definition, replayed, message, row).instance
            assert replayed == stored


def _input(encoded: bytes) -> Start | Reply | Fire:
    return msgspec.msgpack.decode(encoded, type=Start | Reply | Fire)


async def test_every_effect_of_an_order_that_turned_back_is_undone_or_was_refused() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1", address="nowhere"))
        await shop.settle()
        assert effects(order(shop, "o-1")) == {
            "create": "undone",
            "reserve": "undone",
            "pay": "undone",
            "ship": "refused",
        }


async def test_a_start_that_would_begin_nothing_is_refused_where_it_is_published() -> None:
    async with a_shop() as shop:
        with pytest.raises(SagaError, match=r"no saga 'ordr' in this world; it has order"):
            await shop.publish_start("ordr", an_order("o-1"))
        with pytest.raises(
            SagaError, match=r"saga 'order' is started by OrderCreated .*this is PaymentProcessed .*on="
        ):
            await shop.publish_start("order", PaymentProcessed(order_id="o-1", payment_id="p-1"))


async def test_a_run_that_is_not_there_says_what_became_of_its_start() -> None:
    async with a_shop() as shop:
        with pytest.raises(KeyError, match=r"no instance of saga 'order' for 'o-1'\"$"):
            order(shop, "o-1")
        broken = msgspec.structs.replace(an_order("o-1"), total="much")
        await shop.publish_start("order", broken)
        await shop.work()
        with pytest.raises(
            KeyError, match=r"no instance of saga 'order' for 'o-1'; dead letter from 'orders': .*total"
        ):
            order(shop, "o-1")


def test_a_world_that_is_given_a_saga_asks_for_its_definition() -> None:
    given: Any = [order_saga]
    with pytest.raises(SagaError, match=r"'order' is given as a Saga, expected its definition; add `\.definition`"):
        World(given, {})


def test_a_scenario_that_is_given_a_definition_asks_for_the_saga() -> None:
    given: Any = order_saga.definition
    with pytest.raises(SagaError, match=r"'order' is given as a Definition, expected the Saga itself"):
        Scenario(given)
