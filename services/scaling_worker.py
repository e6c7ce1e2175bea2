"""A worker of `services.scaling`: the production loop on a group, with a tap that says what it owns.

On SIGUSR1 it dies in the one place that matters: with its next batch in the database and its offset not stored.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing

import anyio

from sagas.broker.iggy import IggyBroker
from sagas.broker.iggy_subscription import IggySubscription
from sagas.clock import SystemClock
from sagas.config import Settings
from sagas.core.participants import Participant
from sagas.errors import BrokerError
from sagas.ports import Incoming, Migration, OutboxRow, Position, Reading, Sql, Subscription
from sagas.retention import keeping_of
from sagas.runtime.consumer import Consumer, ConsumerWork, Seen
from sagas.runtime.offload import Thread
from sagas.runtime.process import run_until_stopped, stop_on_signals
from sagas.store.participant import SqliteParticipantStore

TASKS = Participant("tasks", key="task_id")
GROUP = "scaling"
DATABASE = "work"

_TABLE = """
    CREATE TABLE handled (
        message_id TEXT NOT NULL, task TEXT NOT NULL, number INTEGER NOT NULL,
        worker TEXT NOT NULL, "partition" INTEGER NOT NULL
    ) STRICT
"""


def _create(sql: Sql) -> None:
    # No unique key on purpose: a message that is handled twice must be there twice.
    sql.execute(_TABLE)


MIGRATIONS: tuple[Migration, ...] = (("handled-001", _create),)


def consumer_of(worker: str) -> Consumer:
    """Writes down who handled which message."""

    def handle(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        sql.execute(
            'INSERT INTO handled (message_id, task, number, worker, "partition") VALUES (?, ?, ?, ?, ?)',
            [seen.id, seen.key, int(seen.data), worker, seen.partition],
        )
        return ()

    return Consumer("tasks", (TASKS,), handle)


class _Tap:
    """A subscription that says what it owns whenever that changes, and where its process can be made to die."""

    def __init__(self, inner: IggySubscription) -> None:
        self._inner = inner
        self._said: tuple[int, ...] | None = None
        self.dies = False

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        found = await self._inner.poll(count_max)
        owned = tuple(sorted(partition for _, partition in self._inner.owned))
        if owned != self._said:
            self._said = owned
            _say(f"owns {' '.join(map(str, owned))}")
        return found

    async def wait(self, at_most_ms: int) -> bool:
        return await self._inner.wait(at_most_ms)

    async def commit(self, positions: Sequence[Position]) -> Sequence[Position]:
        if self.dies:
            _say("dies")
            os._exit(9)
        return await self._inner.commit(positions)

    async def reading(self) -> Reading:
        return await self._inner.reading()

    async def rewind(self) -> None:
        await self._inner.rewind()

    async def close(self) -> None:
        await self._inner.close()


class _TappedBroker(IggyBroker):
    tap: _Tap | None = None

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        inner = await super().subscribe(group, topics)
        assert isinstance(inner, IggySubscription)
        self.tap = _Tap(inner)
        return self.tap


def main() -> int:
    """Work until SIGTERM; the exit code."""
    worker = sys.argv[1]
    settings = Settings.from_environ(os.environ)
    with closing(SqliteParticipantStore(settings.database(DATABASE), MIGRATIONS)) as store:
        work = ConsumerWork(consumer_of(worker), store, kept_ms=keeping_of(settings).processed_ms)
        anyio.run(_work, settings, store, work)
    _say(f"handled {work.handled} repeats {work.repeats}")
    return 0


async def _work(settings: Settings, store: SqliteParticipantStore, work: ConsumerWork) -> None:
    broker = _TappedBroker.from_connection_string(settings.connection_string, stream=settings.stream)
    assert isinstance(broker, _TappedBroker)
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signals, stop)
        tasks.start_soon(_die_on_signal, broker)
        try:
            await run_until_stopped(
                work=work,
                outbox=store,
                broker=broker,
                clock=SystemClock(),
                offload=Thread(),
                group=GROUP,
                topics=(),
                subscribe_to=[TASKS.events],
                stop=stop,
                on_ready=lambda: _say("ready"),
            )
        finally:
            with anyio.CancelScope(shield=True):
                await broker.close()
        tasks.cancel_scope.cancel()


async def _die_on_signal(broker: _TappedBroker) -> None:
    with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
        async for _ in signals:
            if broker.tap is None:
                raise BrokerError("told to die before there was anything to do")
            broker.tap.dies = True


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
