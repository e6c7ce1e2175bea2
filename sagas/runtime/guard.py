"""Holds timers back when something larger is wrong than one late answer, and shouts.

Theory of operation. A timeout turns a saga back, and that is right when its participant failed. When
many time out at once the reason is more likely an outage, a pause of the machine or a jump of its
clock, and turning all of them back would make the outage worse. So timers are held back for a while

* after a gap: the loop, which turns every second at the least, was not run for `GAP_MS` (a paused
  machine, a clock set forward), or at the start, when timers are long overdue (a downtime). Commands
  and answers that waited are then carried first;
* after a burst: more than `BURST_MIN` runs timed out within a minute, and more than half as many as are
  in flight.

Each hold is said once, as an error, and ends by itself. A clock that is set back only makes timers late.
"""

import logging
from collections import deque

GAP_MS = 30_000
"""Between two turns of the loop, or overdue at the start: no ordinary delay is that long."""

GAP_HOLD_MS = 10_000
"""Time for participants that were away as well to answer what is waiting for them."""

BURST_MIN = 100
BURST_WINDOW_MS = 60_000
BURST_HOLD_MS = 30_000

_log = logging.getLogger("sagas.timers")


class TimeoutGuard:
    """Says whether timers may fire now. Pure but for the log: time comes in."""

    def __init__(self) -> None:
        self._last_ms: int | None = None
        self._hold_until_ms = 0
        self._timeouts: deque[tuple[int, int]] = deque()

    def may_fire(self, now_ms: int, next_due_ms: int | None) -> bool:
        """Whether timers may fire at `now_ms`; called at every turn of the loop."""
        since_ms = self._last_ms if self._last_ms is not None else min(next_due_ms or now_ms, now_ms)
        gap_ms = now_ms - since_ms
        if gap_ms > GAP_MS:
            self._hold(now_ms, GAP_HOLD_MS, f"nothing was looked at for {gap_ms / 1000:.0f} s (outage or clock jump)")
        elif gap_ms < -GAP_MS:
            _log.error("the clock was set back by %.0f s: timers will be late by as much", -gap_ms / 1000)
            # What is held back stays so for as long as it would have, and what is counted keeps its age.
            self._hold_until_ms += gap_ms
            self._timeouts = deque((at_ms + gap_ms, count) for at_ms, count in self._timeouts)
        self._last_ms = now_ms
        return now_ms >= self._hold_until_ms

    def note_timeouts(self, count: int, in_flight: int, now_ms: int) -> None:
        """Note that `count` runs timed out, with `in_flight` under way after it."""
        if count:
            self._timeouts.append((now_ms, count))
        while self._timeouts and self._timeouts[0][0] < now_ms - BURST_WINDOW_MS:
            self._timeouts.popleft()
        total = sum(number for _, number in self._timeouts)
        if count and total > BURST_MIN and total * 2 > in_flight:
            self._timeouts.clear()
            self._hold(now_ms, BURST_HOLD_MS, f"{total} runs timed out within a minute, {in_flight} are in flight")

    def _hold(self, now_ms: int, duration_ms: int, why: str) -> None:
        self._hold_until_ms = now_ms + duration_ms
        _log.error("timers are held back for %d s: %s", duration_ms // 1000, why)
