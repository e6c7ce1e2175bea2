"""The clock of the real world. Nothing else in the engine reads one."""

import time

import anyio

_NS_PER_MS = 1_000_000
_MS_PER_S = 1_000


class SystemClock:
    """The `Clock` port over the machine's clock and the event loop."""

    def now_ms(self) -> int:
        """UTC, Unix time in milliseconds. It can step backwards when the machine's clock is set."""
        return time.time_ns() // _NS_PER_MS

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait for `duration_ms` milliseconds, at least one turn of the event loop; a negative wait is none."""
        await anyio.sleep(max(0, duration_ms) / _MS_PER_S)
