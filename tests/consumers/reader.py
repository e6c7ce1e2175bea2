"""A consumer as a process of a world in memory, which can be killed between any two calls."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.ports import Incoming, Migration, Position, Reading, Subscription
from sagas.runtime.cleaning import PROCESSED_KEPT_MS
from sagas.runtime.consumer import Consumer, ConsumerWork
from sagas.runtime.relay import Relay
from sagas.runtime.worker import Worker
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline


class Killed(BaseException):
    """kill -9."""


class _Mortal:
    """A subscription at whose `commit` the process may die: before it has an effect, or after."""

    def __init__(self, inner: Subscription) -> None:
        self._inner = inner
        self.dies = ""
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        return await self._inner.poll(count_max)

    async def wait(self, at_most_ms: int) -> bool:
        return await self._inner.wait(at_most_ms)

    async def commit(self, positions: Sequence[Position]) -> Sequence[Position]:
        if self.dies == "before":
            raise Killed
        if self.meanwhile is not None:
            await self.meanwhile()
            self.meanwhile = None
        refused = await self._inner.commit(positions)
        if self.dies == "after":
            raise Killed
        return refused

    async def reading(self) -> Reading:
        return await self._inner.reading()

    async def rewind(self) -> None:
        await self._inner.rewind()

    async def close(self) -> None:
        await self._inner.close()


class Reader:
    """A consumer on a database that outlives it."""

    def __init__(
        self,
        consumer: Consumer,
        migrations: Sequence[Migration],
        world: MemoryWorld,
        clock: VirtualClock,
        *,
        pauses_ms: Sequence[int] = (),
    ) -> None:
        self.store = SqliteParticipantStore(":memory:", migrations)
        self._consumer = consumer
        self._world = world
        self._clock = clock
        self._pauses_ms = pauses_ms

    async def start(self) -> None:
        """A new process: nothing in memory but what the database says."""
        self.work = ConsumerWork(self._consumer, self.store, kept_ms=PROCESSED_KEPT_MS, pauses_ms=self._pauses_ms)
        self._broker = MemoryBroker(self._world)
        await self._broker.ensure(self._consumer.publishes)
        self._subscription = _Mortal(await self._broker.subscribe(self._consumer.name, self._consumer.topics))
        self._relay = Relay(self.store, self._broker, self._clock, inline)
        self._worker = Worker(
            self.work,
            self._subscription,
            self._relay,
            self._clock,
            inline,
            store_every_ms=0,
            delivery=self._consumer.delivery,
        )

    async def turn(self) -> int:
        """Poll, work, publish; how much there was to do."""
        return await self._worker.turn() + await self._relay.flush()

    async def run(self) -> None:
        """Work until there is nothing to do."""
        while await self.turn():
            pass

    async def work_until(self, stop: anyio.Event) -> None:
        """Work as its process does, until it is told to stop."""
        await self._worker.run(stop)

    def have_meanwhile(self, event: Callable[[], Awaitable[None]]) -> None:
        """Have something happen before the next storing of offsets has its effect."""
        self._subscription.meanwhile = event

    async def leave(self) -> None:
        """End in order: its partitions go to the others."""
        await self._broker.close()

    async def die(self, where: str) -> None:
        """Die `before` or `after` the next storing of offsets has its effect."""
        self._subscription.dies = where
        try:
            await self._worker.turn()
        except Killed:
            await self._broker.close()
            return
        raise AssertionError("it had nothing to do, and lives")

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What a query of its database finds."""
        with self.store.transaction() as transaction:
            return transaction.sql.execute(sql).fetchall()
