"""Races between the orchestrator, its channel and its database: what dies, comes twice or out of order."""

import logging

import msgspec
import pytest

from sagas.broker.memory import MemoryBroker
from sagas.broker.partitioning import partition_of
from sagas.core.effects import Operate
from sagas.core.ids import derived_id
from sagas.errors import StoreError
from sagas.ports import Position
from sagas.runtime.orchestrator import Orchestrator
from sagas.testing.world import World
from services.contracts import (
    InventoryFailed,
    InventoryReserved,
    Item,
    OrderRejected,
    ReleaseInventory,
    ReserveInventory,
)
from tests.core.test_kernel import DONE, Run
from tests.races.parts import (
    ORDER,
    a_faulty_shop,
    a_reply,
    again,
    die_in_a_turn,
    in_topic,
    publish,
    turn_until,
)
from tests.runtime.shop import a_shop, an_order, attempts, foreign, order, rows
from tests.scenarios.order_parts import RESERVED, created
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

TOPICS = ("orders", "inventory", "payments", "shipping")


def money(shop: World) -> tuple[object, ...]:
    """How many payments moved, and how much in all."""
    return rows(shop, "payments", "SELECT count(*), sum(cents) FROM movements")[0]


def nothing_failed(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the inbox ended a repeat, and not a constraint of the database that the worker recovered from."""
    return not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_race_07_nothing_is_published_that_was_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        store.crashes_before_commit = 1
        await die_in_a_turn(shop, "orchestrator")
        assert await in_topic(shop, "orders-commands") == []
        assert (store.counts(), store.unpublished(9)) == ({}, [])
        await shop.work()
        assert order(shop, "o-1").state == "completed"
        # Nor by a process that lives on: what it wrote is still in its memory when the transaction is rolled back.
        await shop.publish_start("order", an_order("o-2"))
        store.full_disks = 1
        with pytest.raises(StoreError):
            await shop.nodes["orchestrator"].turn()
        shop.broker.log.purge_topic("sagas", "orders")  # or it would be read and decided again
        await shop.nodes["orchestrator"].turn()
        assert len(await in_topic(shop, "orders-commands")) == 1, "the one of the order before it"


async def test_race_08_what_was_committed_is_published_after_a_crash_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "create.pending")
        await shop.nodes["orders"].turn()
        store.crashes_after_commit = 1
        await die_in_a_turn(shop, "orchestrator")
        assert await in_topic(shop, "inventory-commands") == []
        await shop.nodes["orchestrator"].turn()
        assert len(await in_topic(shop, "inventory-commands")) == 1


async def test_race_09_a_relay_that_dies_before_its_note_sends_the_same_id_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        store.crashes_before_marking = 1
        await die_in_a_turn(shop, "orchestrator")
        await shop.work()
        first, second = await in_topic(shop, "orders-commands")
        assert first.id == second.id == derived_id(order(shop, "o-1").id, "create", "do")
        assert rows(shop, "orders", "SELECT count(*) FROM orders") == [(1,)]
        assert order(shop, "o-1").state == "completed"


async def test_race_10_an_undo_that_overtakes_its_do_blocks_it_and_all_commands_of_a_run_share_a_partition(
    stock: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        for key in ("a", "b", "c", "d"):
            await shop.publish_start("order", an_order(key, address="nowhere"))
        await shop.settle()
        for name in TOPICS:
            for message in await in_topic(shop, f"{name}-commands"):
                named = msgspec.json.decode(message.payload, type=dict[str, object])["order_id"]
                assert message.partition == partition_of(str(named), 3)
        sent = [m.headers["operation"] for m in await in_topic(shop, "inventory-commands") if b'"a"' in m.payload]
        assert sent == ["do", "undo"]
        # Both are committed before either is published.
        await shop.publish_start("order", an_order("e"))
        await turn_until(shop, "e", "create.pending")
        await shop.nodes["orders"].turn()
        store.crashes_after_commit = 1
        await die_in_a_turn(shop, "orchestrator")
        run = order(shop, "e")
        cancel = Operate(action="cancel", who="ann", reason="changed", revision=run.revision)
        Orchestrator([ORDER], store).operate(run.id, cancel, shop.clock.now_ms())
        await shop.nodes["orchestrator"].turn()
        sent = [m.headers["operation"] for m in await in_topic(shop, "inventory-commands") if b'"e"' in m.payload]
        assert sent == ["do", "undo"]
    stock.hand(ReleaseInventory(order_id="o-1"), "reserve", "undo")
    stock.hand(ReserveInventory(order_id="o-1", items=(Item("kettle", 4),)), "reserve")
    assert stock.rows("SELECT on_shelf FROM products WHERE product_id = 'kettle'") == [(10,)]


async def test_race_11_a_reply_to_a_step_that_is_not_reached_yet_is_kept_until_it_is() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        run = order(shop, "o-1")
        await publish(shop, a_reply(run.id, "o-1", "reserve", InventoryReserved(order_id="o-1")))
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1") == run
        await publish(shop, a_reply(run.id, "o-1", "create", an_order("o-1")))
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "pay.pending"
        assert shop.store.dead_letters(9) == []


async def test_race_12_a_reply_that_was_read_and_not_committed_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "create.pending")
        await shop.nodes["orders"].turn()
        store.crashes_before_commit = 1
        await die_in_a_turn(shop, "orchestrator")
        assert order(shop, "o-1").state == "create.pending"
        await shop.nodes["orchestrator"].turn()  # the clock stands still: no timer asks again
        assert order(shop, "o-1").state == "reserve.pending"


async def test_race_13_a_reply_that_was_committed_and_is_read_again_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "create.pending")
        await shop.nodes["orders"].turn()
        store.crashes_after_commit = 1
        await die_in_a_turn(shop, "orchestrator")
        after = order(shop, "o-1")
        await shop.nodes["orchestrator"].turn()
        assert (after.state, order(shop, "o-1")) == ("reserve.pending", after)
        # The inbox knows it by its id; under another id it is the step that has had its answer.
        await publish(shop, a_reply(after.id, "o-1", "create", an_order("o-1")))
        await shop.nodes["orchestrator"].turn()
        assert store.journal(after.id)[-1].verdict == "duplicate"
        assert nothing_failed(caplog)
        assert len(await in_topic(shop, "inventory-commands")) == 1


async def test_race_14_a_reply_that_comes_twice_in_one_batch_advances_once(caplog: pytest.LogCaptureFixture) -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        run = order(shop, "o-1")
        reply = a_reply(run.id, "o-1", "create", an_order("o-1"))
        await publish(shop, reply, reply, a_reply(run.id, "o-1", "create", an_order("o-1"), 2))
        await shop.nodes["orchestrator"].turn()
        assert [row.verdict for row in shop.store.journal(run.id)] == ["advance", "advance", "duplicate"]
        assert nothing_failed(caplog)
        assert len(await in_topic(shop, "inventory-commands")) == 1


async def test_race_15_of_two_different_replies_the_first_counts_and_a_late_yes_is_undone() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        run = order(shop, "o-1")
        refusal = OrderRejected(order_id="o-1", reason="no")
        await publish(shop, a_reply(run.id, "o-1", "create", an_order("o-1")))
        await publish(shop, a_reply(run.id, "o-1", "create", refusal, 2))
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "reserve.pending"
        (letter,) = shop.store.dead_letters(9)
        assert letter.reason == "create answered OrderCreated before and OrderRejected now"
    story = created()
    asked = story.expect(ReserveInventory)
    asked.reply(InventoryFailed(order_id="o-1", reason="none left"))
    asked.reply(RESERVED)
    story.expect_verdict("late")
    assert story.state == "reserve.undoing"


async def test_race_16_the_answer_to_an_earlier_sending_counts() -> None:
    run = Run()
    run.fire("room")
    assert run.now.steps[0].attempts == 2
    decision = run.take(msgspec.structs.replace(DONE["room"], attempt=1))
    assert (decision.verdict, run.now.state) == ("advance", "seat.pending")


async def test_race_17_a_reply_to_a_run_that_is_no_more_does_not_reach_the_next_one_of_its_key() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        replies = await in_topic(shop, "inventory")
    async with a_shop() as shop:  # the same key, in a database that has forgotten the first
        shop.clock.advance(60_000)
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "reserve.pending")
        await publish(shop, *(again(reply) for reply in replies))
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "reserve.pending"


async def test_race_18_a_reply_that_no_step_declares_is_put_aside_and_the_next_one_is_served() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        run = order(shop, "o-1")
        foreign_word = a_reply(run.id, "o-1", "create", InventoryReserved(order_id="o-1"))
        torn = msgspec.structs.replace(a_reply(run.id, "o-1", "create", an_order("o-1"), 2), payload=b'{"id":')
        await publish(shop, foreign_word, torn, a_reply(run.id, "o-1", "create", an_order("o-1"), 3))
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "reserve.pending"
        assert [letter.payload for letter in shop.store.dead_letters(9)] == [torn.payload, foreign_word.payload]
        assert [row.verdict for row in shop.store.journal(run.id)] == ["advance", "violation", "advance"]


async def test_race_19_a_node_that_decided_on_an_outdated_instance_writes_nothing_and_decides_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        outdated = order(shop, "o-1")
        await publish(shop, a_reply(outdated.id, "o-1", "create", an_order("o-1")))
        await shop.nodes["orchestrator"].turn()
        await publish(shop, a_reply(outdated.id, "o-1", "create", an_order("o-1"), 2))
        store.stale = outdated
        await shop.nodes["orchestrator"].turn()
        assert store.commits_lost == 1
        assert [row.verdict for row in store.journal(outdated.id)] == ["advance", "advance", "duplicate"]
        assert len(await in_topic(shop, "inventory-commands")) == 1


async def test_race_20_old_rows_of_a_relay_that_should_be_dead_change_nothing() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        before = order(shop, "o-1")
        commands = [message for name in TOPICS for message in await in_topic(shop, f"{name}-commands")]
        await publish(shop, *(again(command) for command in commands))
        await shop.settle()
        assert order(shop, "o-1") == before
        assert money(shop) == (1, 5998)


@pytest.mark.parametrize("is_forward", [False, True], ids=["back", "ahead"])
async def test_race_21_offsets_stored_by_a_node_that_should_be_dead_cost_a_repeat_or_a_wait(is_forward: bool) -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "pay.pending")
        await shop.nodes["payments"].turn()
        await shop.nodes["orchestrator"].kill()
        zombie = MemoryBroker(shop.broker)
        subscription = await zombie.subscribe("orchestrator", TOPICS)
        unread = [Position(topic=m.topic, partition=m.partition, offset=m.offset) for m in await subscription.poll(99)]
        assert len(unread) == 1
        first = Position(topic="orders", partition=partition_of("o-1", 3), offset=0)
        await subscription.commit(unread if is_forward else [first])
        await zombie.close()
        await shop.nodes["orchestrator"].start()
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
        assert attempts(order(shop, "o-1"))["pay"] == (2 if is_forward else 1)
        assert money(shop) == (1, 5998)


async def test_race_22_a_disk_that_is_full_in_the_middle_leaves_nothing_half_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        store.full_disks = 3
        for _ in range(3):
            with pytest.raises(StoreError):
                await shop.nodes["orchestrator"].turn()
            assert (store.counts(), store.unpublished(9), store.next_due_ms()) == ({}, [], None)
        await shop.work()
        assert order(shop, "o-1").state == "completed"
        assert store.dead_letters(9) == []


async def test_race_23_losing_to_other_writers_is_never_held_against_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        store.conflicts = 250  # more than one batch tries for
        for _ in range(2):
            with pytest.raises(StoreError):
                await shop.nodes["orchestrator"].turn()
        await shop.work()
        assert order(shop, "o-1").state == "completed"
        assert store.dead_letters(9) == []


async def test_race_24_a_command_that_the_broker_lost_is_sent_again_under_its_id() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        lost = [message.id for message in await in_topic(shop, "orders-commands")]
        shop.broker.log.purge_topic("sagas", "orders-commands")
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
        assert attempts(order(shop, "o-1"))["create"] == 2
        assert [message.id for message in await in_topic(shop, "orders-commands")] == lost


async def test_race_25_replies_that_retention_took_away_unread_are_given_again_from_memory() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "reserve.pending")
        await shop.nodes["inventory"].turn()
        shop.broker.log.purge_topic("sagas", "inventory")
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
        assert attempts(order(shop, "o-1"))["reserve"] == 2
        assert rows(shop, "inventory", "SELECT sum(quantity) FROM reservations") == [(2,)]


async def test_race_26_a_database_brought_back_from_a_backup_asks_again_and_is_answered_from_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, store = a_faulty_shop(monkeypatch)
    async with shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "reserve.pending")
        backup = store.backup()
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
        await shop.nodes["orchestrator"].kill()
        store.restore(backup)
        backup.close()
        await shop.nodes["orchestrator"].start()
        assert order(shop, "o-1").state == "reserve.pending"
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
        assert money(shop) == (1, 5998)
        assert rows(shop, "shipping", "SELECT count(*) FROM shipments") == [(1,)]


async def test_race_27_a_message_that_is_cut_off_or_unreadable_is_put_aside_with_its_bytes() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orchestrator"].turn()
        (command,) = await in_topic(shop, "orders-commands")
        cut = foreign("orders-commands", "o-1", command.payload[:-7], 1, command.headers)
        scrambled = foreign("orders", "o-1", bytes(byte ^ 0x5A for byte in command.payload), 2)
        bare = foreign("orders-commands", "o-1", command.payload, 3)
        await publish(shop, cut, scrambled, bare)
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
        assert [letter.payload for letter in shop.store.dead_letters(9)] == [scrambled.payload]
        kept = [letter.payload for letter in shop.stores["orders"].dead_letters(9)]
        assert kept == [bare.payload, cut.payload]
