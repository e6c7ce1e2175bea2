"""What was written lately, in one file, so that one sync makes it durable wherever it lies.

Theory of operation. A batch that is acknowledged has to be on the disk. Each partition has a file of its own, and a
send of an orchestrator goes to a dozen of them: a sync of each costs more than everything else about the send, and
all processes of the machine wait for the same disk. So what is promised is written twice: to its partition's file,
which is not synced, and here, which is. After a crash the partitions take from here what their files have
lost; a batch says itself which offset it begins with, so none is taken twice.

A file that has grown is followed by another. Then the partitions' files are synced, beside everything else, and after
that the older file is removed. At any time the files here and what the partitions' files are sure to hold make up
everything that was promised.

A record is the partition's epoch and number, the length of the batch, a checksum of these, and the batch, which proves
itself. Reading ends at the first that does not, if a power cut has torn it; one that was damaged is passed over (see
`torn.py`), for a batch is only taken where it belongs. Behind the last one lie zeros, over which the next are written:
so a sync finds the file as long as it was, and has only what was written to bring to the disk.
"""

import logging
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import Final

from xxhash import xxh3_64_intdigest

from sagas.broker.batches import read_header
from sagas.broker.embedded.files import AHEAD, AppendFile, PreparedFile, numbered, remove_before
from sagas.broker.embedded.torn import CUT_SUFFIX, SECTOR, batches_behind, has_hole, is_blank, keep_aside, whole_batch
from sagas.errors import BrokerError

GROWTH_MAX: Final = 16 * 1024 * 1024
"""From this size on another file is begun."""

_HEADER: Final = b"sagas recent 1\n\n"
_PREFIX: Final = "recent-"
_RECORD = Struct("<QIIQ")
_CHECKED = Struct("<QII")

logger = logging.getLogger(__name__)


class RecentFiles:
    """The files of a data directory. Use: `replay`, then `begin_anew`, then `append`."""

    def __init__(self, directory: Path, growth_max: int = GROWTH_MAX, ahead: int = AHEAD) -> None:
        self.directory = directory
        self._growth_max = growth_max
        self._ahead = ahead
        self._older = [AppendFile(path) for path in numbered(directory, _PREFIX)]
        self._number = int(self._older[-1].path.stem.removeprefix(_PREFIX)) if self._older else 0
        self._file: PreparedFile | None = None
        self._following: PreparedFile | None = None

    @property
    def file(self) -> AppendFile:
        """What has to be synced to make durable what was appended."""
        assert self._file is not None, "begun before anything is written"
        return self._file

    @property
    def has_grown(self) -> bool:
        """Whether it is time for `begin_anew`."""
        return self.file.size >= self._growth_max

    def append(self, epoch: int, partition: int, batch: bytes) -> None:
        """Write a batch of a partition."""
        checksum = xxh3_64_intdigest(_CHECKED.pack(epoch, partition, len(batch)))
        self.file.append(_RECORD.pack(epoch, partition, len(batch), checksum) + batch)

    def replay(self) -> Iterator[tuple[int, int, bytes]]:
        """Epoch, partition and batch of all that was there when this was opened, oldest first.

        May be called again. Raises BrokerError for a file that something else, or a newer release, has written.
        """
        for file in self._older:
            if file.size:
                yield from _records(file.path)

    def ends(self, ends: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], int]:
        """Where partitions, by epoch and number, end that end at `ends` now, once what is here was appended to them."""
        reached = dict(ends)
        for epoch, partition, batch in self.replay():
            header = read_header(batch)
            if reached.get((epoch, partition)) == header.base_offset:
                reached[epoch, partition] += header.count
        return reached

    def prepare(self) -> None:
        """Have the file that is begun next on the disk, for this takes a sync; may be called from a thread.

        What a file begins with has to be there before any batch is: without it the file is not known for one of ours.
        """
        number = self._number + 1
        following = PreparedFile(self.directory / f"{_PREFIX}{number:012}.journal", self._ahead)
        following.append(_HEADER)
        following.sync()
        self._number, self._following = number, following

    def begin_anew(self) -> AppendFile:
        """Write to a new file from now on; returns it: once all partitions are synced, call `remove_older` with it.

        It takes a sync unless `prepare` was called before.
        """
        if self._following is None:
            self.prepare()
        begun, self._following = self._following, None
        assert begun is not None, "prepared above"
        if self._file is not None:
            # It stays open: somebody may be waiting for it to be synced.
            self._older.append(self._file)
        self._file = begun
        return begun

    def remove_older(self, kept: AppendFile) -> None:
        """What the files before `kept` hold is in the partitions' files, on the disk."""
        remove_before(kept, self._older)

    def close(self) -> None:
        """Give up the files."""
        for file in (*self._older, self._file, self._following):
            if file is not None:
                file.close()


def _records(path: Path) -> Iterator[tuple[int, int, bytes]]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            start = bytes(view[: len(_HEADER)])
            if start != _HEADER and not _HEADER.startswith(start) and not is_blank(bytes(view)):
                raise BrokerError(f"{path}: not a journal of this release; give another data directory")
            at: int | None = len(_HEADER)
            while at is not None:
                found = _record_at(view, at)
                if found is None:
                    at = _behind_damage(path, bytes(view), at)
                else:
                    yield found
                    at += _RECORD.size + len(found[2])
    finally:
        os.close(descriptor)


def _behind_damage(path: Path, content: bytes, bad: int) -> int | None:
    """Where to read on behind a bad record, None when it is the end."""
    if is_blank(content[bad : bad + SECTOR]):
        return None
    for at, _ in batches_behind(content, bad + _RECORD.size + 1):
        following = at - _RECORD.size
        if _record_at(memoryview(content), following) is not None:
            if has_hole(content, bad, following):
                return None
            kept = path.with_name(f"{path.name}.{bad}{CUT_SUFFIX}")
            # It may be there: files are read twice when a partition is torn, and each time the broker does not start.
            if not kept.exists():
                keep_aside(path, bad, content[bad:following])
            logger.error("%s: bytes %d to %d cannot be read; kept in %s", path, bad, following, kept.name)
            return following
    return None


def _record_at(view: memoryview, at: int) -> tuple[int, int, bytes] | None:
    if len(view) - at < _RECORD.size:
        return None
    epoch, partition, length, checksum = _RECORD.unpack_from(view, at)
    if xxh3_64_intdigest(_CHECKED.pack(epoch, partition, length)) != checksum:
        return None
    start = at + _RECORD.size
    header = whole_batch(view, start)
    if header is None or header.length != length:
        return None
    return epoch, partition, bytes(view[start : start + length])
