"""A partition on disk: its batches end to end, in files of bounded size.

A segment's name is the place of its first byte in the partition's row of bytes, so a batch's position leads to its
file without an index. The index itself, which offset lies where, is in memory and is read back from
the batches' headers when the broker starts.
"""

import logging
import mmap
import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from sagas.broker.batches import BATCH_HEADER_SIZE, BadBatch, BatchHeader, read_header
from sagas.broker.embedded.files import AppendFile
from sagas.broker.embedded.torn import batches_behind, ends_as_batch, free_name, has_hole, sync_directory, whole_batch
from sagas.broker.log import Partition, Span
from sagas.errors import BrokerError

SEGMENT_SIZE: Final = 64 * 1024 * 1024
"""From this size on a new segment is begun. A batch is never divided, so a segment can be one batch larger."""
_SUFFIX: Final = ".segment"
_NAME: Final = re.compile(r"\d{20}\.segment")
_PLACE = Struct("<QQ")
_KEPT_MAX: Final = 64 * 1024
"""A last batch of at most this many bytes is kept in memory."""

logger = logging.getLogger(__name__)


class Behind(NamedTuple):
    """What lies in a partition's files behind its last whole batch, from `position` of the file `path` on.

    `messages` of it can be read, and with them the partition would end at `end`. `is_damage`: no power cut has left it
    so. The file is the segment `number`, the oldest being 0.
    """

    path: Path
    position: int
    messages: int
    end: int
    is_damage: bool
    number: int


class PartitionFiles:
    """The segments of one partition. Only the last is kept open: older ones are opened to be read."""

    def __init__(self, directory: Path, segment_size: int = SEGMENT_SIZE) -> None:
        self._directory = directory
        self._segment_size = segment_size
        directory.mkdir(parents=True, exist_ok=True)
        self._starts = _starts(directory) or [0]
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

    def recover(self, partition: Partition[None]) -> Behind | None:
        """Append every whole batch to `partition`, in memory; what lies behind the last of them, and belongs nowhere.

        If the oldest segments have expired, the first batch that is left says at which offset it begins.
        Nothing is changed yet: what lies behind is to be given to `cut`, before anything is appended.
        """
        for number, start in enumerate(self._starts):
            path = self._path(start)
            if number == 0 and start > 0:
                partition.begin_at(_first_offset(path), start)
            if start != partition.size_bytes:
                return self._behind(partition, number, 0, is_gap=True)
            partition.begin_segment()
            whole = 0
            for header in _whole_batches(path, partition):
                partition.append(None, count=header.count, size=header.length, now_us=header.base_timestamp)
                whole += header.length
            # An empty segment goes, too: only a batch in it could say where it belongs, once those before it expire.
            if whole < path.stat().st_size or (whole == 0 and number > 0):
                return self._behind(partition, number, whole)
        return None

    def cut(self, behind: Behind, lost: int = 0) -> None:
        """Take away what lies behind the last whole batch, and keep it in files of its own.

        `lost` is how many messages that can be read are then nowhere else.
        """
        rest = self._starts[behind.number + 1 :]
        del self._starts[behind.number + 1 :]
        for start in rest:
            path = self._path(start)
            kept = free_name(path, 0)
            path.rename(kept)
            logger.warning("%s: follows on nothing that is there; kept in %s", path, kept.name)
        self.tail.close()
        self.tail = AppendFile(self._path(self._starts[-1]))
        self.tail.truncate(behind.position, lost=lost)
        if behind.position == 0 and behind.number > 0:
            self.tail.close()
            self.tail.path.unlink()
            del self._starts[-1]
            self.tail = AppendFile(self._path(self._starts[-1]))
        sync_directory(self._directory)

    def _behind(self, partition: Partition[None], number: int, position: int, *, is_gap: bool = False) -> Behind:
        """`is_gap`: it is the segment before that does not reach up to here, as after a power cut."""
        paths = [self._path(start) for start in self._starts[number:]]
        content = paths[0].read_bytes()
        expected = _PLACE.pack(partition.id, partition.end)
        found = list(batches_behind(content, position))
        hole_end = found[0][0] if found else len(content)
        headers = [header for _, header in found]
        is_complete = bool(found) or self._is_complete(number, position, content)
        is_damage = not is_gap and is_complete and not has_hole(content, position, hole_end, expected + b"\1")
        for path in paths[1:]:
            headers += [header for _, header in batches_behind(path.read_bytes(), 0)]
        lost = [header for header in headers if header.partition_id == partition.id]
        end = max((header.base_offset + header.count for header in lost), default=0)
        return Behind(
            number=number,
            path=paths[0],
            position=position,
            messages=sum(header.count for header in headers),
            end=end if found else max(end, partition.end + 1),
            is_damage=is_damage,
        )

    def _is_complete(self, number: int, position: int, content: bytes) -> bool:
        """Whether the bad batch at `position`, the last of its file, has all of its bytes."""
        if number + 1 < len(self._starts):
            return self._starts[number] + len(content) == self._starts[number + 1]
        return ends_as_batch(content, position)

    def close(self) -> None:
        """Give up the descriptor."""
        self.tail.close()

    def _path(self, start: int) -> Path:
        return self._directory / f"{start:020}{_SUFFIX}"


def _first_offset(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(BATCH_HEADER_SIZE)
    try:
        return read_header(start).base_offset
    except BadBatch as error:
        raise BrokerError(
            f"{path}: cannot be read ({error}), and what stood before it has expired: nobody knows its offset; "
            "restore a backup, or give another data directory"
        ) from error


def _whole_batches(path: Path, partition: Partition[None]) -> Iterator[BatchHeader]:
    """The batches from the file's start up to the first that is not whole, or not the one expected there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size == 0:
            return
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            at = 0
            while at < len(view):
                header = whole_batch(view, at)
                if header is None or (header.partition_id, header.base_offset) != (partition.id, partition.end):
                    break
                yield header
                at += header.length
    finally:
        os.close(descriptor)


def _starts(directory: Path) -> list[int]:
    """Where the segments that are there begin. Files of other names, somebody's copies, are not ours."""
    return sorted(int(path.stem) for path in directory.iterdir() if _NAME.fullmatch(path.name))
