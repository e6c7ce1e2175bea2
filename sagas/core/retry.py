"""How long to wait before trying again: exponential backoff with jitter, pure and repeatable."""

from hashlib import blake2b

import msgspec

_EXPONENT_MAX = 64


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """After attempt n (from 1) wait `first_ms` × `factor`ⁿ⁻¹, at most `cap_ms`, less a jitter of up to half.

    `attempts_max` counts the first attempt; 0 means: for ever.
    """

    attempts_max: int = 5
    first_ms: int = 200
    factor: float = 2.0
    cap_ms: int = 30_000

    def is_exhausted(self, attempts: int) -> bool:
        """Whether no further attempt may follow the `attempts` already made."""
        return 0 < self.attempts_max <= attempts

    def delay_ms(self, attempt: int, seed: str) -> int:
        """How long to wait after attempt number `attempt`; `seed` names the command, and fixes the jitter."""
        try:
            full = min(self.first_ms * self.factor ** min(attempt - 1, _EXPONENT_MAX), self.cap_ms)
        except OverflowError:  # a float ends at 2**1023, and the factor may be anything
            full = self.cap_ms
        draw = int.from_bytes(blake2b(f"{seed}\0{attempt}".encode(), digest_size=4).digest()) / 2**32
        return max(1, int(full * (1 - draw / 2)))


FOREVER = Retry(attempts_max=0, first_ms=500, cap_ms=60_000)
"""For undos and for steps after the pivot: they have to succeed, so they are tried for ever."""
