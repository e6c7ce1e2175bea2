"""The journal of stored offsets, which is written anew when it has grown.

Theory of operation. Every stored offset is a record; the last one of a reader and a partition counts. When the
journal has grown, a new one is begun with what counts now, and what comes next is written there. The old file is
removed once the new one is on the disk: until then a restart reads both, the older first, which gives the same
offsets. So nothing has to wait for the rewriting, and there is no moment at which a crash loses any.

Each record says all there is about a reader and a partition. What was damaged is passed over: at most its reader goes
back to an offset it stored before, and reads some messages again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from sagas.broker.embedded.files import AppendFile, Journal, numbered, readable, remove_before
from sagas.broker.embedded.torn import is_blank

GROWTH_MAX: Final = 4 * 1024 * 1024
"""How many bytes are written before the journal is begun anew: about 150,000 stored offsets."""
_PREFIX: Final = "offsets-"


class OffsetRecord(msgspec.Struct, frozen=True, array_like=True):
    """An offset that a reader stored, or deleted (None). A partition is named by epoch and id."""

    epoch: int
    partition: int
    is_group: bool
    reader: int
    offset: int | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(OffsetRecord).decode


class OffsetsJournal:
    """The stored offsets of all partitions in a data directory."""

    def __init__(self, directory: Path, growth_max: int = GROWTH_MAX) -> None:
        self._directory = directory
        self._growth_max = growth_max
        paths = numbered(directory, _PREFIX)
        self._number = int(paths[-1].stem.removeprefix(_PREFIX)) if paths else 0
        self._older: list[AppendFile] = []
        self.records: list[OffsetRecord] = []
        """What was in the journal when it was opened, oldest first."""
        self.is_missing = not any(not is_blank(path.read_bytes()) for path in paths)
        """Whether there was no journal: each start leaves one behind."""
        for path in paths:
            journal = Journal(path, is_each_alone=True)
            with readable(path):
                self.records += [_decode(record) for record in journal.records]
            journal.cut_torn_end()
            self._older.append(journal.file)
        self._journal = self._begin_next()
        self._size_begun = 0

    @property
    def file(self) -> AppendFile:
        """What has to be synced to make the stored offsets durable."""
        return self._journal.file

    @property
    def has_grown(self) -> bool:
        """Whether it is time for `begin_anew`. What counts may be large itself: then it may grow as much again."""
        return self.file.size > self._size_begun + max(self._growth_max, self._size_begun)

    def store(self, record: OffsetRecord) -> None:
        """Write one record."""
        self._journal.append((_encode(record),))

    def begin_anew(self, current: Iterable[OffsetRecord]) -> AppendFile:
        """Begin a new file with the offsets that count; returns it to be synced, then call `remove_older`."""
        # It stays open: somebody may be waiting for it to be synced.
        self._older.append(self.file)
        self._journal = self._begin_next()
        self._journal.append(_encode(record) for record in current)
        self._size_begun = self.file.size
        return self.file

    def remove_older(self, kept: AppendFile) -> None:
        """The file `kept` is on the disk: the files before it are not needed any more."""
        remove_before(kept, self._older)

    def close(self) -> None:
        """Give up the files."""
        for file in (*self._older, self.file):
            file.close()

    def _begin_next(self) -> Journal:
        self._number += 1
        return Journal(self._directory / f"{_PREFIX}{self._number:012}.journal")
