"""The storefront without a network: its application, called in this process, on virtual time and a broker in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.core.envelope import Envelope, decode_data, decode_envelope
from sagas.ports import Incoming, TopicSpec
from sagas.runtime.relay import Relay
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline
from services.contracts import ORDERS, STREAM, OrderCreated
from services.readmodel.reader import Reader
from services.storefront.app import storefront
from services.storefront.limits import Streams, TokenBucket
from services.storefront.parts import Parts
from services.storefront.probe import Probe
from services.storefront.tables import MIGRATIONS
from services.storefront.watch import Watch

NOW_MS = 1_735_689_600_000
ORDER: dict[str, Any] = {
    "items": [{"product_id": "kettle", "quantity": 1}],
    "card": "card-ok",
    "address": "1 Harbour Street",
}

TOPICS = [TopicSpec(name=ORDERS.events, partitions=3)]


class Rig:
    """One storefront. `restart` is what a kill and a new start come to: only the database and the broker are left."""

    def __init__(self, folder: Path, *, rps: int = 1_000_000, burst: int = 1_000) -> None:
        self.clock = VirtualClock(NOW_MS)
        self.world = MemoryWorld(self.clock)
        self.folder = folder
        self._path = folder / "storefront.db"
        self._rates = (rps, burst)
        self.store = SqliteParticipantStore(self._path, MIGRATIONS)
        self._start()

    def _start(self) -> None:
        self.broker = MemoryBroker(self.world, stream=STREAM)
        reader = Reader(self.folder)
        self.relay = Relay(self.store, self.broker, self.clock, inline)
        self.parts = Parts(
            store=self.store,
            broker=self.broker,
            clock=self.clock,
            offload=inline,
            wake=self.relay.send,
            writing=TokenBucket(*self._rates, self.clock.now_ms()),
            reading=TokenBucket(*self._rates, self.clock.now_ms()),
            stop=anyio.Event(),
            reader=reader,
            looking=inline,
            watch=Watch(reader, self.clock, inline),
            streams=Streams(2),
            probe=Probe(self.store, inline, self.clock),
        )
        transport = httpx.ASGITransport(storefront(self.parts), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://shop")

    async def restart(self) -> None:
        """Begin again with what is on the disk."""
        await self.close()
        self.store = SqliteParticipantStore(self._path, MIGRATIONS)
        self._start()

    async def close(self) -> None:
        """Give everything up."""
        await self.http.aclose()
        await self.broker.close()
        self.parts.reader.close()
        self.store.close()

    async def post(self, order: object = ORDER, key: str = "k-1", **headers: str) -> httpx.Response:
        """Place an order."""
        body = order if isinstance(order, bytes) else msgspec.json.encode(order)
        given = {"Idempotency-Key": key, "Content-Type": "application/json", **headers}
        return await self.http.post("/orders", content=body, headers={k: v for k, v in given.items() if v})

    async def ready(self) -> httpx.Response:
        """What `/health/ready` answers, with the task beside it that asks the database."""
        found: list[httpx.Response] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.parts.probe.run)
            found.append(await self.http.get("/health/ready"))
            tasks.cancel_scope.cancel()
        return found[0]

    async def publish(self) -> None:
        """Let the relay publish everything."""
        await self.broker.ensure(TOPICS)
        await self.relay.drain()

    async def published(self) -> list[Incoming]:
        """What stands in the topic of orders."""
        reader = MemoryBroker(self.world, stream=STREAM)
        await reader.ensure(TOPICS)
        subscription = await reader.subscribe("test", [ORDERS.events])
        found = list(await subscription.poll(1_000))
        await reader.close()
        return found


def event_in(incoming: Incoming) -> OrderCreated:
    """The order in a message, as its saga reads it."""
    envelope = decode_envelope(incoming.payload, ORDERS.key)
    assert isinstance(envelope, Envelope)
    event = decode_data(OrderCreated, ORDERS.key, envelope.key, envelope.data)
    assert isinstance(event, OrderCreated)
    return event


@asynccontextmanager
async def opened(rig: Rig) -> AsyncGenerator[Rig]:
    """A rig that is closed at the end."""
    try:
        yield rig
    finally:
        await rig.close()
