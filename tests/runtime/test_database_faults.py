"""A system whose database fails for a while, or in one row: nothing is acknowledged too early, and it goes on."""

from pathlib import Path

import pytest

from sagas.core.instance import COMPLETED, STUCK
from sagas.errors import StoreError
from sagas.ports import InstanceFilter
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.roles import OrchestratorWork
from sagas.store.database import Database
from sagas.store.sqlite import SqliteStore
from sagas.testing.world import Node, World
from services.orders.saga import order_saga
from tests.runtime.shop import a_shop, an_order

pytestmark = pytest.mark.anyio


class TunedStore(SqliteStore):
    """A store whose connection can be told a pragma."""

    def tell(self, pragma: str) -> None:
        self._database.rows(f"PRAGMA {pragma}")


async def run_on(world: World, store: SqliteStore) -> None:
    """Have the orchestrator of `world` work on `store`."""
    await world.nodes["orchestrator"].kill()
    orchestrator = Orchestrator([order_saga.definition], store)
    world.nodes["orchestrator"] = Node(
        "orchestrator",
        world.broker,
        world.clock,
        lambda: OrchestratorWork(orchestrator, store),
        store,
        orchestrator.topics,
        orchestrator.topic_specs(3),
    )
    await world.nodes["orchestrator"].start()


async def pass_time(world: World, duration_ms: int) -> None:
    for _ in range(duration_ms // 1_000):
        world.clock.advance(1_000)
        await world.work()


@pytest.mark.parametrize(
    ("broken", "mended"),
    [("max_page_count = 1", "max_page_count = 1000000"), ("query_only = ON", "query_only = OFF")],
    ids=["full", "read-only"],
)
async def test_orders_that_came_while_nothing_could_be_written_are_carried_out_afterwards(
    tmp_path: Path, broken: str, mended: str
) -> None:
    store = TunedStore(tmp_path / "orchestrator.db")
    async with a_shop() as world:
        await run_on(world, store)
        await world.publish_start("order", an_order("before"))
        await pass_time(world, 2_000)
        store.tell(broken)
        for number in range(50):
            await world.publish_start("order", an_order(f"o-{number}"))
        for _ in range(3):
            # Nothing is acknowledged: it comes again at every try.
            with pytest.raises(StoreError):
                await world.nodes["orchestrator"].turn()
        assert store.counts() == {COMPLETED: 1}
        store.tell(mended)
        await pass_time(world, 5_000)
        assert store.counts() == {COMPLETED: 51}
    store.close()


async def test_one_damaged_instance_is_stuck_its_messages_are_dead_letters_and_the_others_complete(
    tmp_path: Path,
) -> None:
    path = tmp_path / "orchestrator.db"
    store = SqliteStore(path)
    async with a_shop() as world:
        await run_on(world, store)
        for key in ("hurt", "o-1", "o-2"):
            await world.publish_start("order", an_order(key))
        await world.nodes["orchestrator"].turn()
        disk = Database(path)
        with disk.transaction():
            disk.change("UPDATE instances SET record = zeroblob(length(record)) WHERE key = 'hurt'")
        disk.close()
        await pass_time(world, 60_000)
        found = {instance.key: instance for instance in store.instances(InstanceFilter())}
        assert {key: instance.state for key, instance in found.items()} == {
            "hurt": STUCK,
            "o-1": COMPLETED,
            "o-2": COMPLETED,
        }
        assert store.in_flight() == 0
        letters = store.dead_letters(9)
        assert letters
        assert all("DamagedInstance" in letter.reason and found["hurt"].id in letter.reason for letter in letters)
    store.close()


async def test_the_timer_of_a_damaged_instance_does_not_hold_up_those_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    store = SqliteStore(path)
    async with a_shop() as world:
        await run_on(world, store)
        for key in ("hurt", "silent"):
            await world.publish_start("order", an_order(key, card="card-silent"))
        await pass_time(world, 1_000)
        disk = Database(path)
        with disk.transaction():
            disk.change("UPDATE instances SET record = zeroblob(length(record)) WHERE key = 'hurt'")
        disk.close()
        await pass_time(world, 20_000)
        found = {instance.key: instance for instance in store.instances(InstanceFilter())}
        assert (found["hurt"].state, found["silent"].state) == (STUCK, "compensated")
    store.close()
