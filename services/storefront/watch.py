"""Telling streams that the read model has changed.

Theory of operation. SQLite counts, for each connection, what others have committed. One task looks at that count, and
only while somebody waits; when it has moved, everybody is woken and asks for what is new of its own order. So a
hundred streams cost one cheap look in each `interval_ms`, and not a query each.
"""

import logging

import anyio

from sagas.errors import StoreError
from sagas.ports import Clock
from sagas.runtime.offload import Offload
from services.readmodel.reader import Reader

INTERVAL_MS = 50

_log = logging.getLogger("storefront")


class Watch:
    """Wakes whoever waits for a change of the read model."""

    def __init__(self, reader: Reader, clock: Clock, looking: Offload, *, interval_ms: int = INTERVAL_MS) -> None:
        self._reader = reader
        self._clock = clock
        self._looking = looking
        self._interval_ms = interval_ms
        self._changed = anyio.Event()
        self._waiting = 0

    def next_change(self) -> anyio.Event:
        """The event that is set by the next change. Take it before looking, and nothing is missed."""
        return self._changed

    async def wait(self, change: anyio.Event, stop: anyio.Event, duration_ms: int) -> None:
        """Wait for the change, at most so long or until `stop` is set."""
        self._waiting += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._end_after, duration_ms, tasks.cancel_scope)
                tasks.start_soon(_end_when, stop, tasks.cancel_scope)
                await change.wait()
                tasks.cancel_scope.cancel()
        finally:
            self._waiting -= 1

    async def run(self) -> None:
        """Look, until cancelled."""
        seen: object = None
        while True:
            await self._clock.sleep_ms(self._interval_ms)
            if not self._waiting:
                continue
            try:
                version = await self._looking(self._reader.version)
            except StoreError as error:
                _log.warning("streams wait for the read model: %s", error)
                await self._clock.sleep_ms(1_000)
                continue
            if version != seen:
                seen = version
                changed, self._changed = self._changed, anyio.Event()
                changed.set()

    async def _end_after(self, duration_ms: int, scope: anyio.CancelScope) -> None:
        await self._clock.sleep_ms(duration_ms)
        scope.cancel()


async def _end_when(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()
