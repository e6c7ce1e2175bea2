"""Races about the beginning of a run."""

import pytest

from sagas.core.ids import instance_id
from services.contracts import OrderCreated
from tests.races.parts import a_faulty_shop, a_reply, die_in_a_turn, in_topic, publish
from tests.runtime.shop import a_shop, an_order, attempts, order, rows

pytestmark = pytest.mark.anyio


async def test_race_01_a_start_that_a_client_sends_again_is_one_saga_and_one_charge() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.work()
        first = order(shop, "o-1")
        shop.clock.advance(5_000)
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        assert order(shop, "o-1").id == first.id
        assert rows(shop, "payments", "SELECT count(*), sum(cents) FROM movements") == [(1, 5998)]
        assert shop.store.dead_letters(9) == []


async def test_race_02_another_order_under_a_used_key_is_a_conflict_and_not_answered_with_the_first() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.work()
        shop.clock.advance(1)
        other = OrderCreated(order_id="o-1", items=an_order("o-1").items, total="1.00")
        await shop.publish_start("order", other)
        await shop.settle()
        (letter,) = shop.store.dead_letters(9)
        assert letter.reason == "started before with other data"
        assert shop.store.journal(order(shop, "o-1").id)[-1].verdict == "violation"
        assert rows(shop, "payments", "SELECT amount FROM payments") == [(5998,)]


async def test_race_03_two_nodes_that_take_one_start_at_once_make_one_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        shop.clock.advance(1)
        await shop.publish_start("order", an_order("o-1"))
        store.blind_finds = 1  # it looked before the other node had committed
        await shop.nodes["orchestrator"].turn()
        assert store.commits_lost == 1
        assert store.counts() == {"create.pending": 1}
        assert [row.verdict for row in store.journal(order(shop, "o-1").id)] == ["advance", "duplicate"]
        assert len(await in_topic(shop, "orders-commands")) == 1
        assert store.dead_letters(9) == []


async def test_race_04_a_reply_that_is_there_before_its_run_waits_for_it_and_not_for_ever() -> None:
    async with a_shop() as shop:
        expected = instance_id("order", "o-1", shop.clock.now_ms())
        stranger = instance_id("order", "o-2", shop.clock.now_ms())
        await publish(shop, a_reply(expected, "o-1", "create", an_order("o-1")))
        await publish(shop, a_reply(stranger, "o-2", "create", an_order("o-2")))
        await shop.nodes["orchestrator"].turn()
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "reserve.pending"
        assert shop.store.dead_letters(9) == []
        for _ in range(2):  # after so long a pause timers are held back for a moment
            shop.clock.advance(3_600_000)
            await shop.nodes["orchestrator"].turn()
            shop.clock.advance(10_000)
            await shop.nodes["orchestrator"].turn()
        (letter,) = shop.store.dead_letters(9)
        assert letter.reason.startswith("the run that it answers is not in this database")


async def test_race_05_a_crash_behind_the_start_leaves_the_run_with_its_first_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        store.crashes_after_commit = 1
        await die_in_a_turn(shop, "orchestrator")
        assert order(shop, "o-1").state == "create.pending"
        assert await in_topic(shop, "orders-commands") == []
        await shop.work()  # with the clock standing still: no timer helps
        assert order(shop, "o-1").state == "completed"
        assert attempts(order(shop, "o-1"))["create"] == 1
