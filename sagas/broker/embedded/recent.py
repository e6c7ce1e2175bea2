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
itself. Reading ends at the first that does not. Behind the last one lie zeros, over which the next are written: so a
sync finds the file as long as it was, and has only what was written to bring to the disk.
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final

from xxhash import xxh3_64_intdigest

from sagas.broker.batches import BadBatch, verify_batch
from sagas.broker.embedded.files import AHEAD, AppendFile, PreparedFile, is_blank, remove_before
from sagas.errors import BrokerError

GROWTH_MAX: Final = 16 * 1024 * 1024
"""From this size on another file is begun."""

_HEADER: Final = b"sagas recent 1\n\n"
_PREFIX: Final = "recent-"
_RECORD = Struct("<QIIQ")
_CHECKED = Struct("<QII")


class RecentFiles:
    """The files of a data directory. Use: `replay`, then `begin_anew`, then `append`."""

    def __init__(self, directory: Path, growth_max: int = GROWTH_MAX, ahead: int = AHEAD) -> None:
        self._directory = directory
        self._growth_max = growth_max
        self._ahead = ahead
        self._older = [AppendFile(path) for path in sorted(directory.glob(f"{_PREFIX}*.journal"))]
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

        Raises BrokerError for a file that something else, or a newer release, has written.
        """
        for file in self._older:
            if file.size:
                yield from _records(file.path)

    def prepare(self) -> None:
        """Have the file that is begun next on the disk, for this takes a sync; may be called from a thread.

        What a file begins with has to be there before any batch is: without it the file is not known for one of ours.
        """
        number = self._number + 1
        following = PreparedFile(self._directory / f"{_PREFIX}{number:012}.journal", self._ahead)
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
            at = len(_HEADER)
            while (found := _record_at(view, at)) is not None:
                yield found
                at += _RECORD.size + len(found[2])
    finally:
        os.close(descriptor)


def _record_at(view: memoryview, at: int) -> tuple[int, int, bytes] | None:
    if len(view) - at < _RECORD.size:
        return None
    epoch, partition, length, checksum = _RECORD.unpack_from(view, at)
    if xxh3_64_intdigest(_CHECKED.pack(epoch, partition, length)) != checksum:
        return None
    start = at + _RECORD.size
    try:
        header = verify_batch(view, start)
    except BadBatch:
        return None
    if header.length != length:
        return None
    return epoch, partition, bytes(view[start : start + length])
