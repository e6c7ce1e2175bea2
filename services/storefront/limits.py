"""How many requests are let through, and how many streams: a token bucket, on the time it is given, and a count.

Theory of operation. The bucket holds at most `burst` tokens and gains `per_s` each second; a request takes one. Tokens
are counted in thousandths, so that nothing is lost to rounding, and a clock that is set back gains nothing.
"""

from math import ceil

_MILLI = 1000

STREAMS_MAX = 200
"""Streams of events that are open at once."""


class TokenBucket:
    """Lets `per_s` requests a second through, and `burst` at once."""

    def __init__(self, per_s: int, burst: int, now_ms: int) -> None:
        self._per_s = per_s
        self._burst_milli = burst * _MILLI
        self._tokens_milli = self._burst_milli
        self._at_ms = now_ms

    def take(self, now_ms: int) -> int:
        """Take a token: 0 when there was one, otherwise in how many whole seconds to come again, at least 1."""
        # A token's thousandth a millisecond is `per_s` a second.
        gained_milli = max(0, now_ms - self._at_ms) * self._per_s
        self._tokens_milli = min(self._burst_milli, self._tokens_milli + gained_milli)
        self._at_ms = now_ms
        if self._tokens_milli >= _MILLI:
            self._tokens_milli -= _MILLI
            return 0
        return max(1, ceil((_MILLI - self._tokens_milli) / self._per_s / _MILLI))


class Streams:
    """How many streams are open."""

    def __init__(self, count_max: int = STREAMS_MAX) -> None:
        self._count_max = count_max
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Whether another one has to wait."""
        return self.count >= self._count_max
