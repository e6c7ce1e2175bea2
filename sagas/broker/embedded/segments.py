"""A partition on disk: its batches end to end, in files of bounded size.

A segment's name is the place of its first byte in the partition's row of bytes, so a batch's position leads to its
file without an index. The index itself, which offset lies where, is in memory and is read back from
the batches' headers when the broker starts.
"""

import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sagas.broker.batches import BATCH_HEADER_SIZE, BadBatch, BatchHeader, read_header, verify_batch
from sagas.broker.embedded.files import AppendFile
from sagas.broker.log import Partition, Span
from sagas.errors import BrokerError

SEGMENT_SIZE: Final = 64 * 1024 * 1024
"""From this size on a new segment is begun. A batch is never divided, so a segment can be one batch larger."""
_SUFFIX: Final = ".segment"
_KEPT_MAX: Final = 64 * 1024
"""A last batch of at most this many bytes is kept in memory."""


class PartitionFiles:
    """The segments of one partition. Only the last is kept open: older ones are opened to be read."""

    def __init__(self, directory: Path, segment_size: int = SEGMENT_SIZE) -> None:
        self._directory = directory
        self._segment_size = segment_size
        directory.mkdir(parents=True, exist_ok=True)
        self._starts = sorted(int(path.stem) for path in directory.glob(f"*{_SUFFIX}")) or [0]
        self.tail = AppendFile(self._path(self._starts[-1]))
        """The segment that is written to."""
        self._last = (0, b"")

    def append(self, batch: bytes) -> tuple[AppendFile, ...]:
        """Write a batch at the end; returns the files that have to be synced to make it durable.

        When there are two, the first is complete: it is to be closed once it is synced.
        """
        previous = self.tail
        if previous.size >= self._segment_size:
            self._starts.append(self._starts[-1] + previous.size)
            self.tail = AppendFile(self._path(self._starts[-1]))
        position = self._starts[-1] + self.tail.size
        self.tail.append(batch)
        # Whoever waits for it reads it next.
        self._last = (position, batch) if len(batch) <= _KEPT_MAX else (0, b"")
        return (self.tail,) if previous is self.tail else (previous, self.tail)

    @property
    def last_start(self) -> int:
        """Where the segment that is written to begins."""
        return self._starts[-1]

    def sync(self) -> None:
        """Return when every segment is on the disk: one that is full may not be, when its sync was cut short."""
        for start in self._starts[:-1]:
            older = AppendFile(self._path(start))
            try:
                older.sync()
            finally:
                older.close()
        self.tail.sync()

    def remove_before(self, position: int) -> None:
        """Remove the segments that lie before `position`, which is where one begins. The last one always stays.

        The one that begins there has to be durable: after a restart it alone says which offset comes first.
        """
        while len(self._starts) > 1 and self._starts[0] < position:
            self._path(self._starts.pop(0)).unlink()

    def read(self, span: Span[None]) -> bytes:
        """The bytes of a span's batches."""
        position, end = span.position, span.position + span.size
        if (position, span.size) == (self._last[0], len(self._last[1])):
            return self._last[1]
        pieces: list[bytes] = []
        while position < end:
            index = bisect_right(self._starts, position) - 1
            start = self._starts[index]
            if index == len(self._starts) - 1:
                pieces.append(self.tail.read(position - start, end - position))
                break
            stop = min(end, self._starts[index + 1])
            older = AppendFile(self._path(start))
            try:
                pieces.append(older.read(position - start, stop - position))
            finally:
                older.close()
            position = stop
        return b"".join(pieces)

    def recover(self, partition: Partition[None]) -> None:
        """Append every whole batch to `partition`, in memory, and cut the files after the last of them.

        If the oldest segments have expired, the first batch that is left says at which offset it begins.
        """
        for number, start in enumerate(self._starts):
            file = AppendFile(self._path(start))
            try:
                if number == 0 and start > 0:
                    partition.begin_at(_first_offset(file), start)
                is_in_place = start == partition.size_bytes
                partition.begin_segment()
                whole = 0
                for header in _whole_batches(file, partition) if is_in_place else ():
                    partition.append(None, count=header.count, size=header.length, now_us=header.base_timestamp)
                    whole += header.length
                file.truncate(whole)
            finally:
                file.close()
            if whole == 0 and number > 0:
                self._remove_from(number)
                break
        self.tail.close()
        self.tail = AppendFile(self._path(self._starts[-1]))

    def close(self) -> None:
        """Give up the descriptor."""
        self.tail.close()

    def _remove_from(self, number: int) -> None:
        for start in self._starts[number:]:
            self._path(start).unlink()
        del self._starts[number:]

    def _path(self, start: int) -> Path:
        return self._directory / f"{start:020}{_SUFFIX}"


def _first_offset(file: AppendFile) -> int:
    try:
        return read_header(file.read(0, min(file.size, BATCH_HEADER_SIZE))).base_offset
    except BadBatch as error:
        raise BrokerError(
            f"{file.path}: cannot be read ({error}), and what stood before it has expired: nobody knows its offset; "
            "restore a backup, or give another data directory"
        ) from error


def _whole_batches(file: AppendFile, partition: Partition[None]) -> Iterator[BatchHeader]:
    """The batches from the file's start up to the first that is not whole, or not the one expected there."""
    if file.size == 0:
        return
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            at = 0
            while at < len(view):
                header = _whole_batch(view, at)
                if header is None or (header.partition_id, header.base_offset) != (partition.id, partition.end):
                    break
                yield header
                at += header.length
    finally:
        os.close(descriptor)


def _whole_batch(view: memoryview, at: int) -> BatchHeader | None:
    try:
        return verify_batch(view, at)
    except BadBatch:
        return None
