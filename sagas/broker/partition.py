"""A partition: a row of batches that only grows, and where in it a poll starts. Pure.

An offset is a message's place in its partition, from 0 without gaps. Batches are found by bisection
over columns of numbers: by first offset, by time, by place in the partition's row of bytes.

Batches lie in *segments*, and only whole segments expire: those whose last batch is too old, from the oldest on, and
never the one that is written to. So messages are there for longer than asked, never for less. What expires
leaves its offsets behind: `first` is the oldest that is left, and who asks for one before it is given that one.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

import msgspec

B = TypeVar("B")


class Strategy(IntEnum):
    """Where a poll starts."""

    OFFSET = 1
    TIMESTAMP = 2
    FIRST = 3
    LAST = 4
    NEXT = 5


@dataclass(frozen=True, slots=True)
class Start:
    """Where a poll starts; `value` is an offset, or microseconds for TIMESTAMP."""

    strategy: Strategy
    value: int = 0


FIRST, LAST, NEXT = Start(Strategy.FIRST), Start(Strategy.LAST), Start(Strategy.NEXT)


class Span(msgspec.Struct, Generic[B], frozen=True):
    """The messages `first` to `last` of a partition, and the whole batches that hold them, oldest first.

    `skip` messages at the head of the first batch and `surplus` at the end of the last are outside the
    range. The batches lie at `position`, `size` bytes, in the partition's row of bytes, the last of them at
    `tail_position`.
    """

    first: int
    last: int
    bodies: list[B]
    bases: Sequence[int]
    timestamps_us: Sequence[int]
    skip: int
    surplus: int
    position: int
    tail_position: int
    size: int

    @property
    def count(self) -> int:
        """How many messages are in the range."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Partition(Generic[B]):
    """A row of batches. `end` is the offset of the next message, `size_bytes` where its batch will lie.

    `first` is the oldest offset that did not expire, `end` when there is none.
    """

    id: int
    epoch: int
    created_us: int
    end: int = 0
    size_bytes: int = 0
    first: int = 0
    # Columns instead of a list of records: 32 bytes a batch, so that a million single messages stay small.
    _bases: "array[int]" = field(default_factory=lambda: array("Q"))
    _timestamps: "array[int]" = field(default_factory=lambda: array("Q"))
    _positions: "array[int]" = field(default_factory=lambda: array("Q"))
    _bodies: list[B] = field(default_factory=list[B])
    _segments: "array[int]" = field(default_factory=lambda: array("Q", [0]))

    @property
    def count(self) -> int:
        """How many messages are there."""
        return self.end - self.first

    @property
    def first_position(self) -> int:
        """Where the oldest segment begins in the row of bytes."""
        return self._segments[0]

    @property
    def held_bytes(self) -> int:
        """How many bytes are there."""
        return self.size_bytes - self._segments[0]

    @property
    def open_bytes(self) -> int:
        """How many bytes are in the segment that is written to."""
        return self.size_bytes - self._segments[-1]

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return len(self._segments)

    @property
    def current_offset(self) -> int:
        """The last offset, 0 when there is none: Iggy has no other word for it."""
        return max(0, self.end - 1)

    def stamp(self, now_us: int) -> int:
        """The time that a batch appended now gets: never before the last one's, or TIMESTAMP could not search."""
        return self._timestamps[-1] if self._timestamps and self._timestamps[-1] > now_us else now_us

    def append(self, body: B, *, count: int, size: int, now_us: int) -> int:
        """Append a batch of `count` messages in `size` bytes; returns its first message's offset."""
        assert count > 0, "a batch holds at least one message"
        base = self.end
        self._timestamps.append(self.stamp(now_us))
        self._bases.append(base)
        self._positions.append(self.size_bytes)
        self._bodies.append(body)
        self.end += count
        self.size_bytes += size
        return base

    def begin_at(self, offset: int, position: int) -> None:
        """Be an empty row whose past has expired: the next batch has this offset, and lies at this position."""
        assert not self._bodies, "only an empty partition is put somewhere"
        self.first = self.end = offset
        self.size_bytes = self._segments[0] = position

    def begin_segment(self) -> None:
        """What is appended from now on lies in a new segment."""
        if self.size_bytes > self._segments[-1]:
            self._segments.append(self.size_bytes)

    def expire(self, before_us: int) -> bool:
        """Remove the segments whose last batch came before `before_us`, but the last of them; whether one went."""
        gone = 0
        while gone + 1 < len(self._segments):
            last = bisect_left(self._positions, self._segments[gone + 1]) - 1
            if self._timestamps[last] >= before_us:
                break
            gone += 1
        if gone == 0:
            return False
        batches = bisect_left(self._positions, self._segments[gone])
        for column in (
            self._bases,
            self._timestamps,
            self._positions,
            self._bodies,
        ):
            del column[:batches]
        del self._segments[:gone]
        self.first = self._base(0)
        return True

    def start_offset(self, start: Start, count: int, stored: int | None) -> int:
        """The offset where a poll of `count` messages begins; `stored` is the reader's stored offset."""
        match start.strategy:
            case Strategy.OFFSET:
                return start.value
            case Strategy.TIMESTAMP:
                index = bisect_left(self._timestamps, start.value)
                return self._base(index)
            case Strategy.FIRST:
                return self.first
            case Strategy.LAST:
                return max(self.first, self.end - count)
            case Strategy.NEXT:
                return 0 if stored is None else stored + 1

    def span(
        self, first: int, count: int, bytes_enough: int | None = None, bytes_max: int | None = None
    ) -> Span[B] | None:
        """At most `count` messages from offset `first` on, None when there are none.

        If that one has expired, from the oldest on that is left.

        Batches are given until they are `bytes_enough`, but for one that would make them more than `bytes_max`; if
        that is the first, there is none. Both or neither are given, the second at least as large as the first.
        """
        if first < self.first:
            first = self.first
        if first >= self.end or count <= 0:
            return None
        last = min(first + count, self.end) - 1
        head = bisect_right(self._bases, first) - 1
        tail = bisect_right(self._bases, last)
        position = self._positions[head]
        if bytes_enough is not None and bytes_max is not None and self._batch_position(tail) - position > bytes_enough:
            tail = max(head + 1, bisect_left(self._positions, position + bytes_enough))
            if self._batch_position(tail) - position > bytes_max:
                tail -= 1
            if tail == head:
                return None
            last = min(last, self._base(tail) - 1)
        return Span(
            first=first,
            last=last,
            bodies=self._bodies[head:tail],
            bases=self._bases[head:tail],
            timestamps_us=self._timestamps[head:tail],
            skip=first - self._bases[head],
            surplus=self._base(tail) - 1 - last,
            position=position,
            tail_position=self._positions[tail - 1],
            size=self._batch_position(tail) - position,
        )

    def _base(self, index: int) -> int:
        return self._bases[index] if index < len(self._bases) else self.end

    def _batch_position(self, index: int) -> int:
        return self._positions[index] if index < len(self._positions) else self.size_bytes
