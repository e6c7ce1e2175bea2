"""How long to wait before asking the broker again: not at all while there is work, ever longer when idle."""

import anyio
import msgspec

from sagas.ports import Clock


class Pace(msgspec.Struct, kw_only=True):
    """Polls `eager` times every `first_ms`, then backs off by half as much again, up to a cap.

    Iggy has no long poll, so latency at low load is decided here. A poll that brings nothing is one request.
    `busy_cap_ms` holds while answers are awaited, `idle_cap_ms` when nothing is: it bounds what an idle process
    costs, and how long the first order after a quiet time takes (five such waits, half of the cap each).
    """

    first_ms: float = 1.5
    eager: int = 300
    busy_cap_ms: float = 5.0
    idle_cap_ms: float = 40.0
    empty_polls: int = 0

    def reset(self) -> None:
        """Something came: poll eagerly again."""
        self.empty_polls = 0

    def next_wait_ms(self, *, is_busy: bool) -> float:
        """How long to wait after a poll that brought nothing."""
        self.empty_polls += 1
        beyond = max(0, self.empty_polls - self.eager)
        cap_ms = self.busy_cap_ms if is_busy else self.idle_cap_ms
        return min(cap_ms, self.first_ms * 1.5 ** min(beyond, 32))


async def sleep_unless(stop: anyio.Event, duration_ms: int, clock: Clock) -> None:
    """Wait for so long by `clock`, or until `stop` is set."""
    async with anyio.create_task_group() as tasks:

        async def end_when_stopped() -> None:
            await stop.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(end_when_stopped)
        await clock.sleep_ms(duration_ms)
        tasks.cancel_scope.cancel()
