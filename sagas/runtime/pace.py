"""How long to wait before asking the broker again: not at all while there is work, ever longer when idle."""

import msgspec


class Pace(msgspec.Struct, kw_only=True):
    """Polls `eager` times every `first_ms`, then backs off by half as much again, up to a cap.

    Iggy has no long poll, so latency at low load is decided here. Polling costs the same two cores that
    work: with six processes on them, one order at a time takes 60-70 ms at 3 ms a poll and 70-85 ms at
    1 ms (measured). `busy_cap_ms` holds while answers are awaited, `idle_cap_ms` when nothing is; both
    bound what an idle process costs.
    """

    first_ms: float = 3.0
    eager: int = 200
    busy_cap_ms: float = 10.0
    idle_cap_ms: float = 80.0
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
