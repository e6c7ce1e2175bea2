"""Time that a test moves by hand: the `Clock` port without a clock."""

from itertools import count

import anyio
from anyio.lowlevel import checkpoint

from sagas.testing.rehearsal import BEGINS_MS


class VirtualClock:
    """The `Clock` port in virtual time, for tasks of one event loop.

    Whoever sleeps is woken by `advance`, in the order of their times. With `is_automatic=True` nobody
    has to call it: when all others have had a turn of the event loop, time jumps to the first sleeper.
    It cannot know of real I/O: while a task waits for that, automatic time runs on.
    """

    def __init__(self, now_ms: int = BEGINS_MS, *, is_automatic: bool = False) -> None:
        self._now_ms = now_ms
        self._is_automatic = is_automatic
        self._sleepers: list[tuple[int, int, anyio.Event]] = []
        self._numbers = count()

    def now_ms(self) -> int:
        """Virtual time, in Unix milliseconds."""
        return self._now_ms

    @property
    def sleepers(self) -> int:
        """How many tasks are asleep."""
        return len(self._sleepers)

    def advance(self, duration_ms: int) -> None:
        """Move time forward and wake whoever is due; they run once the caller awaits something."""
        if duration_ms < 0:
            raise ValueError(f"time does not run backwards: {duration_ms} ms")
        self._now_ms += duration_ms
        for due_ms, _, awake in sorted(self._sleepers):
            if due_ms <= self._now_ms:
                awake.set()

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait until time has moved on by `duration_ms` milliseconds, at least one turn of the event loop."""
        sleeper = (self._now_ms + max(0, duration_ms), next(self._numbers), anyio.Event())
        self._sleepers.append(sleeper)
        try:
            await checkpoint()
            if self._is_automatic:
                await self._jump(*sleeper)
            elif sleeper[0] > self._now_ms:
                await sleeper[2].wait()
        finally:
            self._sleepers.remove(sleeper)

    async def _jump(self, due_ms: int, number: int, awake: anyio.Event) -> None:
        while due_ms > self._now_ms:
            # The first sleeper moves time for all, so two who sleep at once sleep once.
            if min(self._sleepers)[:2] == (due_ms, number):
                self._now_ms = due_ms
            else:
                await checkpoint()
