"""The engine with the broker in memory, all in one process: what is left when nothing has to cross a socket.

An order's time is from before it is published until the COMMIT that ends it has returned. That is noted where it
happens: a loop that sleeps wakes by whole milliseconds, so who looks for the end sees it up to one too late.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

import anyio

from benchmarks.figures import Sheet, percentile
from benchmarks.limits import transactions_ms
from benchmarks.system import PLENTIFUL, until
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.clock import SystemClock
from sagas.ports import Incoming, Outbox, TopicSpec
from sagas.runtime.offload import Thread
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.process import run_until_stopped
from sagas.runtime.roles import OrchestratorWork, ServiceWork
from sagas.runtime.worker import Work
from sagas.store.database import Database
from sagas.store.participant import SqliteParticipantStore
from sagas.store.sqlite import SqliteStore
from services.inventory.handlers import inventory
from services.inventory.tables import MIGRATIONS as INVENTORY
from services.orders.handlers import orders
from services.orders.saga import order_saga
from services.orders.tables import MIGRATIONS as ORDERS
from services.payments.handlers import payments
from services.payments.tables import MIGRATIONS as PAYMENTS
from services.shipping.handlers import shipping
from services.shipping.tables import MIGRATIONS as SHIPPING
from services.stories import Story, message_of

SERVICES = {orders: ORDERS, inventory: INVENTORY, payments: PAYMENTS, shipping: SHIPPING}
PARTITIONS = 1
SETTLE_S = 0.2
_LOOK_S = 0.002
_HAS_ENDED = "SELECT 1 FROM instances WHERE key = ? AND NOT is_live"


class TimedWork(OrchestratorWork):
    """The orchestrator's work, and when its last batch was committed, on the performance counter."""

    committed_at = 0.0

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        """Decide a batch."""
        super().process(batch, now_ms)
        self.committed_at = time.perf_counter()


async def alone_rows(sheet: Sheet, *, single: int) -> None:
    """One order after the other; every participant commits to its own file with synchronous=FULL."""
    with TemporaryDirectory() as name:
        folder, world, stop = Path(name), MemoryWorld(SystemClock()), anyio.Event()
        store_path = folder / "orchestrator.db"
        store = SqliteStore(store_path)
        stores = [SqliteParticipantStore(folder / f"{s.participant.name}.db", m) for s, m in SERVICES.items()]
        orchestrator = Orchestrator([order_saga.definition], store)
        reader, broker, took = Database(store_path, read_only=True), MemoryBroker(world), list[float]()
        async with anyio.create_task_group() as tasks:
            topics = orchestrator.topic_specs(PARTITIONS)
            timed = TimedWork(orchestrator, store)
            tasks.start_soon(partial(_process, world, timed, store, "orchestrator", topics, orchestrator.topics, stop))
            for service, own in zip(SERVICES, stores, strict=True):
                participant, topics = service.participant, service.topic_specs(PARTITIONS)
                work: Work = ServiceWork(service, own)
                reads = [participant.commands]
                tasks.start_soon(partial(_process, world, work, own, participant.name, topics, reads, stop))
            await anyio.sleep(SETTLE_S)
            took = [await _one(broker, reader, timed, number) for number in range(single)][single // 6 :]
            stop.set()
        reader.close()
        store.close()
        for own in stores:
            own.close()
    bare = transactions_ms()
    sheet.note("limit: an order's nine transactions, bare, one at a time, p50", bare, "ms")
    sheet.note("memory broker, one process, one at a time, p50", median(took), "ms", must=3)
    sheet.note("memory broker, one process, one at a time, p99", percentile(took, 0.99), "ms")


async def _process(
    world: MemoryWorld,
    work: Work,
    outbox: Outbox,
    group: str,
    topics: Sequence[TopicSpec],
    reads: Sequence[str],
    stop: anyio.Event,
) -> None:
    await run_until_stopped(
        work=work,
        outbox=outbox,
        broker=MemoryBroker(world),
        clock=SystemClock(),
        offload=Thread(),
        group=group,
        topics=topics,
        subscribe_to=reads,
        stop=stop,
        on_ready=lambda: None,
    )


async def _one(broker: MemoryBroker, reader: Database, orchestrator: TimedWork, number: int) -> float:
    story = Story(number=number, kind="delivered", order_id=f"alone-{number}")
    began = time.perf_counter()
    await broker.publish([message_of(story, message_id=str(uuid4()), now_ns=time.time_ns(), products=PLENTIFUL)])
    # In this same loop: looking must not take the time that is measured. There is one order: the last batch ended it.
    await until(lambda: bool(reader.rows(_HAS_ENDED, (story.order_id,))), every_s=_LOOK_S)
    return (orchestrator.committed_at - began) * 1e3
