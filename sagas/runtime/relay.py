"""The relay: publishes what was committed to the outbox, and marks it.

Theory of operation. Rows are read in the order they were written, published, and marked only once
the broker has acknowledged all of them. A crash or a lost acknowledgement in between publishes them
again under the same ids, which every reader recognises. It looks when it is woken after a commit,
and every `interval_ms` besides, for what a crash left behind.
"""

import logging

import anyio

from sagas.errors import BrokerError, StoreError
from sagas.ports import Broker, Clock, Outbox, Outgoing
from sagas.runtime.offload import Offload

BATCH_MAX = 100
INTERVAL_MS = 100
BACKOFF_MS_MAX = 2_000

_log = logging.getLogger("sagas.relay")


class Relay:
    """Carries rows from one outbox to the broker."""

    def __init__(
        self,
        outbox: Outbox,
        broker: Broker,
        clock: Clock,
        offload: Offload,
        *,
        batch_max: int = BATCH_MAX,
        interval_ms: int = INTERVAL_MS,
    ) -> None:
        self._outbox = outbox
        self._broker = broker
        self._clock = clock
        self._offload = offload
        self._batch_max = batch_max
        self._interval_ms = interval_ms
        self._woken = anyio.Event()
        self._lock = anyio.Lock()

    def wake(self) -> None:
        """Say that there is something to publish."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled. A broker or a database that is away is asked again, ever more slowly."""
        backoff_ms = self._interval_ms
        while True:
            try:
                await self.drain()
                backoff_ms = self._interval_ms
            except (BrokerError, StoreError) as error:
                # Also a database that is locked or full for a while: the rows are there, and go out later.
                _log.warning("publishing failed, trying again in %d ms: %s", backoff_ms, error)
                await anyio.sleep(backoff_ms / 1000)
                backoff_ms = min(backoff_ms * 2, BACKOFF_MS_MAX)
                continue
            with anyio.move_on_after(self._interval_ms / 1000):
                await self._woken.wait()
            self._woken = anyio.Event()

    async def drain(self) -> None:
        """Publish until nothing is left. Raises BrokerError, StoreError."""
        while await self.flush():
            pass

    async def flush(self) -> int:
        """Publish one batch; how many rows it had. Raises BrokerError, StoreError; then nothing is marked."""
        async with self._lock:
            rows = await self._offload(self._outbox.unpublished, self._batch_max)
            if not rows:
                return 0
            await self._broker.publish(
                [Outgoing(id=r.id, topic=r.topic, key=r.key, payload=r.payload, headers=r.headers) for r in rows]
            )
            await self._offload(self._outbox.mark_published, [row.seq for row in rows], self._clock.now_ms())
            return len(rows)
