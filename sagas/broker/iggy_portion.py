"""How many messages are asked for at once: Iggy bounds their number, and not their size.

A poll of a thousand brings half a gigabyte if they are that large. What is slower than the limit of a call would be
asked for again and again, and never read. So as many are asked for as come to `READ_BYTES`, going by the topic's
average and then by what was read; a quarter of that after a poll that failed, and more again with each that came.
"""

from typing import Final

READ_BYTES: Final = 8_000_000
"""Of one poll, roughly. At the default time limit of 5 s a line of 13 Mbit/s carries it."""


class Portion:
    """What is asked for of one topic."""

    def __init__(self) -> None:
        self._fits: int | None = None
        self._comes: int | None = None

    def of(self, count_max: int) -> int:
        """How many to ask for, 1 at least and `count_max` at most."""
        return max(1, min(count_max, self._fits or count_max, self._comes or count_max))

    def note_size(self, count: int, size: int) -> None:
        """So many messages have so many bytes together."""
        if count > 0 and size > 0:
            self._fits = max(1, READ_BYTES * count // size)

    def note_failed(self, count: int) -> None:
        """So many were asked for, and did not come."""
        self._comes = max(1, count // 4)

    def note_came(self, count: int) -> None:
        """So many were asked for, and what there was has come."""
        if self._comes is not None and count >= self._comes:
            self._comes *= 2
