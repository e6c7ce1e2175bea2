"""A process of the simulated world: the production worker and relay, crashed and started on a database that stays.

What runs is what `sagas.runtime.process` runs, put together in the same way: connect, relay beside worker,
and after a polite stop drain and leave. Only idle polling is slower,
for idle polls are most of the cost of a run.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio
import msgspec

from sagas.errors import BrokerError, StoreError
from sagas.ports import Outbox, Subscription, TopicSpec
from sagas.runtime.pace import Pace
from sagas.runtime.relay import Relay
from sagas.runtime.worker import Work, Worker
from sagas.testing.simulation.life import Life, ProcessClock, Scene
from sagas.testing.simulation.network import FarBroker, Server
from sagas.testing.simulation.points import Role

CONNECT_RETRY_MS = 50
RELAY_INTERVAL_MS = 800

_PACE = Pace(first_ms=8.0, eager=3, busy_cap_ms=80.0, idle_cap_ms=200.0)

Closing = Callable[[], None]

MakeWork = Callable[[Life], tuple[Work, Outbox, Closing]]
"""What a new life of a process works with, on the database that its earlier lives left."""


class Program(NamedTuple):
    """What a process is: its consumer group, the topics it needs and reads, and its work."""

    group: str
    role: Role
    topics: Sequence[TopicSpec]
    reads: Sequence[str]
    make_work: MakeWork


class Node:
    """One process, through all its lives."""

    def __init__(self, name: str, program: Program, scene: Scene, server: Server) -> None:
        self.name = name
        self.life = Life(scene, name, program.role)
        self._program = program
        self._scene = scene
        self._server = server
        self._stop = anyio.Event()

    async def run(self) -> None:
        """Live, die, and live again, until the run is over."""
        while not self._scene.is_over:
            self._stop = anyio.Event()
            self.life.spawn(self._serve(self.life, self._stop), "work")
            await self.life.ended
            await self.life.bury()
            self._leave_behind(self.life)
            if not self._scene.is_over:
                await self._scene.sleep_ms(self._scene.up_to(self._scene.faults.restart_ms))
            self.life = Life(self._scene, self.name, self._program.role)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._scene.note(self.name, "is told to stop")
        self._stop.set()

    def _leave_behind(self, life: Life) -> None:
        """The broker notices that the connections are gone, perhaps not at once."""
        linger_s = self._scene.up_to(self._scene.faults.linger_ms) / 1000
        for member in life.members:
            if linger_s:
                self._scene.loop.call_later(linger_s, self._server.forget_member, member)
            else:
                self._server.forget_member(member)

    async def _serve(self, life: Life, stop: anyio.Event) -> None:
        broker = FarBroker(life, self._server)
        clock = ProcessClock(life)
        work, outbox, close = self._program.make_work(life)
        subscription = await self._connect(broker)
        faults = self._scene.faults
        relay = Relay(outbox, broker, clock, life.offload, batch_max=faults.relay_max, interval_ms=RELAY_INTERVAL_MS)
        life.spawn(relay.run(), "relay")
        worker = Worker(
            work,
            subscription,
            relay,
            clock,
            life.offload,
            pace=msgspec.structs.replace(_PACE),
            batch_max=faults.batch_max,
        )
        await worker.run(stop)
        try:
            await relay.drain()
            await subscription.close()
        except (BrokerError, StoreError) as error:
            self._scene.note(self.name, f"could not drain: {error}")
        if life.is_alive:
            close()
        life.end("has stopped")

    async def _connect(self, broker: FarBroker) -> Subscription:
        while True:
            try:
                await broker.ensure(self._program.topics)
                return await broker.subscribe(self._program.group, self._program.reads)
            except (BrokerError, StoreError):
                await self._scene.sleep_ms(CONNECT_RETRY_MS)
