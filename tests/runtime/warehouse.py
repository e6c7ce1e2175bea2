"""A service with its database in a file, which can be put back to how it was, and the topic of its answers."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from shutil import copy

import anyio

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.clock import SystemClock
from sagas.errors import alone_in
from sagas.ports import Incoming, OutboxRow, Outgoing
from sagas.runtime.offload import Thread
from sagas.runtime.participant import Service
from sagas.runtime.process import run_until_stopped
from sagas.runtime.restored import Comparison, require_memory
from sagas.runtime.roles import ServiceWork
from services.contracts import INVENTORY, Item, ReleaseInventory, ReserveInventory
from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from tests.services.desk import NOW_MS, Desk

STOCK = {"kettle": 100}


class Topic:
    """What a participant has published, as it is read from the broker."""

    def __init__(self) -> None:
        self.messages: list[Incoming] = []

    def publish(self, rows: Sequence[OutboxRow], at_ms: int) -> None:
        """Append answers."""
        for row in rows:
            self.messages.append(
                Incoming(
                    id=row.id,
                    topic=row.topic,
                    partition=0,
                    offset=len(self.messages),
                    timestamp_ms=at_ms,
                    payload=row.payload,
                    headers=row.headers,
                )
            )

    async def newest(self, topic: str, count: int) -> AsyncGenerator[Sequence[Incoming], None]:
        """The last of them."""
        assert topic == INVENTORY.events
        for message in self.messages[-count:]:
            yield [message]


class Warehouse:
    """Inventory with its file, which can be put back to how it was."""

    def __init__(self, folder: Path, service: Service = inventory) -> None:
        self.path = folder / "inventory.db"
        self._backup = folder / "backup.db"
        self._service = service
        self.topic = Topic()
        self.desk = self._open()

    def _open(self) -> Desk:
        return Desk(self._service, migrations(STOCK), self.path)

    def reserve(self, key: str, *, at_ms: int = NOW_MS) -> None:
        """Have it reserve for an order, and publish its answer."""
        self.desk.now_ms = at_ms
        command = ReserveInventory(order_id=key, items=(Item("kettle", 1),))
        self.topic.publish(self.desk.hand(command, "reserve", since_ms=at_ms), at_ms)

    def release(self, key: str) -> None:
        """Have it take that back."""
        self.topic.publish(self.desk.hand(ReleaseInventory(order_id=key), "reserve", "undo"), NOW_MS)

    def back_up(self) -> None:
        """Keep the file as it is."""
        self.desk.store.close()
        copy(self.path, self._backup)
        self.desk = self._open()

    def restore(self) -> None:
        """Put it back."""
        self.desk.store.close()
        copy(self._backup, self.path)
        self.desk = self._open()

    def start(self) -> None:
        """What a participant does before it reads a command."""
        anyio.run(self._require_memory)

    async def _require_memory(self) -> None:
        await require_memory(INVENTORY, self.desk.store.remembered, str(self.path), self.topic.newest)

    def run(self, command: Incoming) -> None:
        """Run its process, for which this command waits, until it has answered or does not go on."""
        anyio.run(self._run, command)

    async def _run(self, command: Incoming) -> None:
        world, stop = MemoryWorld(SystemClock()), anyio.Event()
        broker = MemoryBroker(world)
        message = Outgoing(
            id=command.id, topic=command.topic, key="o-1", payload=command.payload, headers=command.headers
        )
        await broker.ensure(self._service.topic_specs(1))
        await broker.publish([message])
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stop_when_answered, broker, stop)
                await run_until_stopped(
                    work=ServiceWork(self._service, self.desk.store),
                    outbox=self.desk.store,
                    broker=broker,
                    clock=world.clock,
                    offload=Thread(),
                    group=INVENTORY.name,
                    topics=self._service.topic_specs(1),
                    subscribe_to=[INVENTORY.commands],
                    stop=stop,
                    on_ready=lambda: None,
                    first=self._require_memory,
                )
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise alone_in(group) from group

    async def _stop_when_answered(self, broker: MemoryBroker, stop: anyio.Event) -> None:
        answers = await broker.subscribe("test", [INVENTORY.events])
        while not await answers.poll(1):
            await answers.wait(100)
        stop.set()

    def compared(self) -> Comparison:
        """Everything it has published against what it remembers."""
        comparison = Comparison(INVENTORY, self.desk.store.remembered)
        comparison.take(self.topic.messages)
        return comparison
