"""The engine with the broker in memory, all in one process: what is left when nothing has to cross a socket.

An order's time is from before it is published until the COMMIT that ends it has returned. That is noted where it
happens, and the client is told: who looks for the end every so often takes the loop's time from what is measured.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

import anyio
from anyio import from_thread

from benchmarks.answers import answer
from benchmarks.figures import Sheet, percentile
from benchmarks.limits import TRANSACTIONS, transactions_ms
from benchmarks.system import PLENTIFUL, WAIT_S_MAX
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.clock import SystemClock
from sagas.ports import Incoming, Outbox, TopicSpec
from sagas.runtime.offload import Thread
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.process import run_until_stopped
from sagas.runtime.roles import OrchestratorWork, ServiceWork
from sagas.runtime.worker import Work
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


class TimedWork(OrchestratorWork):
    """The orchestrator's work; when the last order has ended, on the performance counter, and who is told of it."""

    ended_at = 0.0
    ended = anyio.Event()

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        """Decide a batch."""
        was_awaiting = self.is_awaiting()
        super().process(batch, now_ms)
        if was_awaiting and not self.is_awaiting():
            self.ended_at = time.perf_counter()
            if threading.current_thread() is threading.main_thread():
                self.ended.set()
            else:
                from_thread.run_sync(self.ended.set)


async def alone_rows(sheet: Sheet, *, single: int) -> None:
    """One order after the other, with participants that keep nothing, as the peers', and with the demo's services."""
    for others, who in ((0, "participants that keep nothing"), (len(SERVICES), "participants that commit too")):
        row = f"memory broker, one process, {who}, one at a time"
        took = await _orders_ms(single, with_services=bool(others))
        sheet.note(
            f"limit: its {TRANSACTIONS + others} transactions, bare, one at a time, p50", transactions_ms(others), "ms"
        )
        sheet.note(f"{row}, p50", median(took), "ms", must=None if others else 3)
        sheet.note(f"{row}, p99", percentile(took, 0.99), "ms")


async def _orders_ms(single: int, *, with_services: bool) -> list[float]:
    """What each order took, without those in which everything is warmed up."""
    with TemporaryDirectory() as name, ExitStack() as opened:
        folder, world, stop = Path(name), MemoryWorld(SystemClock()), anyio.Event()
        store = opened.enter_context(closing(SqliteStore(folder / "orchestrator.db")))
        orchestrator, broker = Orchestrator([order_saga.definition], store), MemoryBroker(world)
        timed, took = TimedWork(orchestrator, store), list[float]()
        async with anyio.create_task_group() as tasks:
            topics = orchestrator.topic_specs(PARTITIONS)
            tasks.start_soon(partial(_process, world, timed, store, "orchestrator", topics, orchestrator.topics, stop))
            for service, tables in SERVICES.items():
                participant, topics = service.participant, service.topic_specs(PARTITIONS)
                if not with_services:
                    tasks.start_soon(partial(answer, world, participant, topics, stop))
                    continue
                path = folder / f"{participant.name}.db"
                own = opened.enter_context(closing(SqliteParticipantStore(path, tables)))
                work: Work = ServiceWork(service, own)
                reads = [participant.commands]
                tasks.start_soon(partial(_process, world, work, own, participant.name, topics, reads, stop))
            await anyio.sleep(SETTLE_S)
            took = [await _one(broker, timed, number) for number in range(single)][single // 6 :]
            stop.set()
    return took


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


async def _one(broker: MemoryBroker, orchestrator: TimedWork, number: int) -> float:
    story = Story(number=number, kind="delivered", order_id=f"alone-{number}")
    orchestrator.ended, began = anyio.Event(), time.perf_counter()
    await broker.publish([message_of(story, message_id=str(uuid4()), now_ns=time.time_ns(), products=PLENTIFUL)])
    with anyio.fail_after(WAIT_S_MAX):
        await orchestrator.ended.wait()
    return (orchestrator.ended_at - began) * 1e3
