"""Append-only files: what is written stays, and a torn end is cut off when the file is opened again.

Theory of operation. A write goes to the kernel in one call, so the process can be killed at any moment and
loses nothing that was written; only `sync` protects against the machine's end. A crash leaves at most an incomplete
record at the end of a file. Records prove themselves by a checksum, so reading up to the first record that does
not, and cutting the file there, gives back exactly what was written whole. Unless that one was damaged: see `torn.py`.
"""

import logging
import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from sagas.broker.embedded.torn import has_hole, is_blank, keep_aside, sync_directory
from sagas.errors import BrokerError

JOURNAL_HEADER: Final = b"sagas journal 1\n"
"""What a journal begins with. A file that does not is not ours to cut, whatever is in it."""
_RECORD = Struct("<IQ")
_RECORD_SIZE_MAX: Final = 1 << 20
"""Far above any record of a journal: a length beyond it is not a length but the rest of a torn write."""
_MODE: Final = 0o600
AHEAD: Final = 256 * 1024
"""How many zeros are written ahead: half a millisecond once in some 300 writes, and each sync in between is cheaper."""


logger = logging.getLogger(__name__)


def sync_data(descriptor: int) -> None:
    """Bring a file's content to the disk. macOS has no call that leaves the file's times alone. Raises OSError."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


class AppendFile:
    """A file that grows at its end. `size` is where the next write goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A file's name is durable only once its directory is synced, and that directory's own name likewise.
        self.is_name_synced = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        self.size = os.fstat(self._descriptor).st_size
        self.is_closed = False
        self._size_synced = 0

    @property
    def is_synced(self) -> bool:
        """Whether all that was written is on the disk; a file that was there already may not be."""
        return self._size_synced == self.size

    def append(self, data: bytes) -> None:
        """Write `data` at the end. Raises OSError; then the broker has to stop, since the file's end is unknown."""
        self._write(data)
        self.size += len(data)

    def _write(self, data: bytes) -> None:
        written = os.pwrite(self._descriptor, data, self.size)
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self.size + written)

    def read(self, position: int, size: int) -> bytes:
        """`size` bytes from `position` on."""
        data = os.pread(self._descriptor, size, position)
        while len(data) < size:
            more = os.pread(self._descriptor, size - len(data), position + len(data))
            if not more:
                raise OSError(f"{self.path}: ends at {position + len(data)}, {size} bytes were expected at {position}")
            data += more
        return data

    def truncate(self, size: int, lost: int = 0) -> None:
        """Cut off what lies after `size`, keep it in a file of its own, and say so.

        `lost` is how many messages of it can be read and are nowhere else: none, if it is only a torn end.
        """
        if size == self.size:
            return
        content = self.read(size, self.size - size)
        kept = f"; kept in {keep_aside(self.path, size, content).name}" if not is_blank(content) else ""
        if lost:
            logger.error("%s: cut off %d messages behind byte %d, which is torn%s", self.path, lost, size, kept)
        else:
            logger.warning("%s: cut off a torn end of %d bytes%s", self.path, len(content), kept)
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)
        self.size = size

    def sync(self) -> None:
        """Return when everything written is on the disk. Called from a thread. Raises OSError."""
        if self.is_closed:
            return
        size = self.size
        sync_data(self._descriptor)
        self._size_synced = size
        if not self.is_name_synced:
            sync_directory(self.path.parent)
            sync_directory(self.path.parent.parent)
            self.is_name_synced = True

    def another_descriptor(self) -> int:
        """A descriptor to sync the file by from elsewhere, whoever closes this one meanwhile."""
        return os.dup(self._descriptor)

    def close(self) -> None:
        """Give up the descriptor; closing twice does nothing."""
        if not self.is_closed:
            self.is_closed = True
            os.close(self._descriptor)


class PreparedFile(AppendFile):
    """A new file that is written over zeros, which were there before: for what is synced after each write.

    When a file has become longer, a sync writes its new length as well, which takes longer than what was appended.
    Whoever reads the file finds its end by what is in it.
    """

    def __init__(self, path: Path, ahead: int = AHEAD) -> None:
        super().__init__(path)
        self._ahead = ahead
        self._prepared = self.size

    def append(self, data: bytes) -> None:
        """Write `data` behind what was appended before. Raises OSError, as `AppendFile.append`."""
        end = self.size + len(data)
        if end <= self._prepared:
            self._write(data)
        else:
            self._prepared = end + self._ahead
            self._write(data + bytes(self._ahead))
        self.size = end


class Journal:
    """A file of small records, each with its length and checksum before it. Use: `records`, `cut_torn_end`, `append`.

    What it begins with is on the disk before any record is written, so a power cut leaves either that or zeros at most.
    Raises BrokerError for a file that something else, or a newer release, has written; and for one that was damaged,
    unless `is_each_alone`: records that mean something without those before them are read on behind the damage.
    """

    def __init__(self, path: Path, *, is_each_alone: bool = False) -> None:
        self.file = AppendFile(path)
        self.records: list[bytes] = []
        """What was in the file when it was opened; the owner takes it and clears it."""
        try:
            self._read(path, is_each_alone=is_each_alone)
        except BaseException:
            self.file.close()
            raise

    def _read(self, path: Path, *, is_each_alone: bool) -> None:
        content = self.file.read(0, self.file.size)
        if is_blank(content) or (len(content) < len(JOURNAL_HEADER) and JOURNAL_HEADER.startswith(content)):
            self.file.truncate(0)
            self.file.append(JOURNAL_HEADER)
            self.file.sync()
        elif not content.startswith(JOURNAL_HEADER):
            raise BrokerError(f"{path}: not a journal of this release; give another data directory")
        self._end = len(JOURNAL_HEADER)
        while self._end < len(content):
            record = _record_at(content, self._end)
            if record is not None:
                self.records.append(record)
                self._end += _RECORD.size + len(record)
                continue
            following = _following_record(content, self._end)
            if not is_each_alone and _is_damaged(content, self._end, following):
                raise BrokerError(
                    f"{path}: damaged at byte {self._end}, and what is there was acknowledged; restore a backup, or "
                    "give another data directory"
                )
            if following is None or not is_each_alone:
                break
            kept = keep_aside(path, self._end, content[self._end : following]).name
            logger.error("%s: bytes %d to %d cannot be read; kept in %s", path, self._end, following, kept)
            self._end = following

    def cut_torn_end(self) -> None:
        """Cut off what a power cut left behind the last whole record; before that nothing is appended."""
        if self._end < self.file.size:
            self.file.truncate(self._end)

    def append(self, records: Iterable[bytes]) -> None:
        """Write records at the end, in one write."""
        self.file.append(b"".join(map(_encoded, records)))


def _encoded(record: bytes) -> bytes:
    # Read again, it would be cut off, and all that was written behind it.
    assert len(record) <= _RECORD_SIZE_MAX, f"a record of {len(record)} bytes: what it holds has to be bounded"
    return _RECORD.pack(len(record), xxh3_64_intdigest(record)) + record


def _record_at(content: bytes, at: int) -> bytes | None:
    if len(content) - at < _RECORD.size:
        return None
    size, checksum = _RECORD.unpack_from(content, at)
    record = content[at + _RECORD.size : at + _RECORD.size + size]
    # An empty record is never written: a run of zeros, which a crash can leave, would look like many of them.
    if not 0 < size <= _RECORD_SIZE_MAX or len(record) < size or xxh3_64_intdigest(record) != checksum:
        return None
    return record


def _following_record(content: bytes, bad: int) -> int | None:
    """Where the first whole record behind the bad one begins."""
    end = len(content.rstrip(b"\0"))
    return next((at for at in range(bad + 1, end) if _record_at(content, at) is not None), None)


def _is_damaged(content: bytes, bad: int, following: int | None) -> bool:
    if has_hole(content, bad, len(content) if following is None else following):
        return False
    rest = content[bad + _RECORD.size :]
    if following is not None or not rest:
        return following is not None
    # The last record has all of its bytes: one of them was changed, the length perhaps.
    size, checksum = _RECORD.unpack_from(content, bad)
    return bool(len(rest) == size or xxh3_64_intdigest(rest) == checksum)


@contextmanager
def readable(path: Path) -> Generator[None]:
    """Have it said which file it is when a record, whole as it is, cannot be understood. Raises BrokerError."""
    try:
        yield
    except (msgspec.DecodeError, BrokerError) as error:
        raise BrokerError(
            f"{path}: holds a record that this release cannot read ({error}); run the release that wrote it, or give "
            "another data directory"
        ) from error


def remove_before(kept: AppendFile, older: list[AppendFile]) -> None:
    """Close and remove those of `older` whose names sort before that of `kept`, and have it so on the disk."""
    for file in [file for file in older if file.path.name < kept.path.name]:
        file.close()
        file.path.unlink()
        older.remove(file)
    sync_directory(kept.path.parent)


def numbered(directory: Path, prefix: str) -> list[Path]:
    """The files `<prefix><number>.journal` of a directory, oldest first. Others, somebody's copies, are not ours."""
    name = re.compile(re.escape(prefix) + r"\d{12}\.journal")
    return sorted(path for path in directory.iterdir() if name.fullmatch(path.name))
