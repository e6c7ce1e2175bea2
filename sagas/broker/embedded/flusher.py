"""Group commit: one sync of a file answers everybody who waits for it.

Theory of operation. A reply that promises durability is given to the flusher together with the files
it depends on. The flusher syncs all files it was given; whoever comes meanwhile waits for the next round. So the
more wait, the fewer syncs each of them costs. Releases run in the loop, between rounds: no file is being synced
then, so a release may also close files.

Who sends ahead (`together.py`) does not wait for the release, but goes on and hears of it when it comes. For such a one
alone nothing is synced before `AHEAD_S` have passed since the last time. Every sync keeps the loop and the disk from
others, who commit to the same one: at a thousand orders a second that was more than half of the broker's time.

Syncing is done in a thread, while the loop goes on, and in the loop itself once the disk has shown to be quick: a
thread has to get the interpreter back after every file, from a loop that is busy, and that takes longer than the sync.

A sync that fails is final: the kernel may have dropped the data and would report success the next time. Nobody
is released, `run` raises, and the broker has to stop.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

AHEAD_S = 0.005
"""How long after a sync the next one begins for those who do not wait for it."""

QUICK_S = 0.000_5
"""How long one sync may keep the event loop waiting."""


class Syncable(Protocol):
    """Something to be made durable."""

    def sync(self) -> None:
        """Return when it is on the disk. Called from a thread. Raises OSError."""
        ...


class Flusher:
    """Syncs files and then releases those who wait for it. One task runs `run`."""

    def __init__(self) -> None:
        self._dirty: dict[Syncable, None] = {}
        self._waiting: list[Callable[[], None]] = []
        self._work = asyncio.Event()
        self._is_under_way = False
        self._is_awaited = False
        self._is_quick = False
        self._began_at = -AHEAD_S
        self._later: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None

    def release_after_sync(
        self, files: Iterable[Syncable], release: Callable[[], None], *, is_awaited: bool = True
    ) -> None:
        """Call `release` once everything written to `files` up to now is on the disk.

        When it is not `is_awaited`, that may be a little later than it could be.
        """
        self._dirty.update(dict.fromkeys(files))
        self._waiting.append(release)
        self._is_awaited |= is_awaited
        if not self._is_under_way:
            self._begin()

    async def run(self) -> None:
        """Work until cancelled. Raises OSError when a sync fails."""
        while True:
            await self._work.wait()
            self._work.clear()
            if self._failure is not None:
                raise self._failure
            dirty, waiting = self._taken()
            self._end(waiting, await asyncio.to_thread(_sync_all, list(dirty)))

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = 0 if self._is_awaited else self._began_at + AHEAD_S - loop.time()
        if wait_s > 0:
            self._later = self._later or loop.call_later(wait_s, self._sync)
            return
        if self._later is not None:
            self._later.cancel()
        # Once everybody has been heard who has something to say now: they share the sync.
        self._later = None
        self._is_under_way = True
        loop.call_soon(self._sync)

    def _sync(self) -> None:
        self._is_under_way = True
        self._later = None
        self._began_at = asyncio.get_running_loop().time()
        if not self._is_quick:
            self._work.set()
            return
        dirty, waiting = self._taken()
        try:
            self._end(waiting, _sync_all(dirty))
        except Exception as error:
            self._failure = error
            self._work.set()

    def _taken(self) -> tuple[dict[Syncable, None], list[Callable[[], None]]]:
        dirty, self._dirty = self._dirty, {}
        waiting, self._waiting = self._waiting, []
        self._is_awaited = False
        return dirty, waiting

    def _end(self, waiting: Iterable[Callable[[], None]], quickest_s: float) -> None:
        self._is_quick = quickest_s <= QUICK_S
        for release in waiting:
            release()
        self._is_under_way = False
        if self._waiting:
            self._begin()


def _sync_all(files: Iterable[Syncable]) -> float:
    """Sync each; the seconds of the quickest, which had to wait for nothing else."""
    quickest_s = 0.0
    began = time.perf_counter()
    for file in files:
        file.sync()
        ended = time.perf_counter()
        quickest_s = min(quickest_s or ended - began, ended - began)
        began = ended
    return quickest_s
