"""A disk in memory that forgets what was not synced when the power goes.

Theory of operation. `LossyDisk` is an SQLite VFS. It serves SQLite from memory and notes every write, truncation and
sync in `operations`, in order. From that list alone `after_cut` makes the files as they can stand after the power went
behind any operation: what a file's last sync covered is there; of everything later each sector may have reached the
platter or not, in any combination and whatever its order, and a place that a lost write would have filled reads as
zeros or as rubbish. A file whose length was never synced may have any of the lengths it went through.

What is assumed is what SQLite assumes by default: a write that is cut changes no byte outside itself
(SQLITE_IOCAP_POWERSAFE_OVERWRITE), and a sync that returned is kept. The names of files are not modelled: SQLite syncs
the directory together with a new journal.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import apsw

SECTOR = 512

_SURVIVAL = (0.0, 0.0, 0.5, 0.9, 1.0)
"""How likely a sector is to have reached the disk, drawn for each file and cut: the extremes are the mean cases."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that reached a file. `data` is what a write brought, `at` its place, or the length of a truncation."""

    kind: Literal["write", "truncate", "sync"]
    file: str
    at: int = 0
    data: bytes = b""


class LossyDisk(apsw.VFS):
    """The VFS `name` and its files, by the end of their names: "db", "db-wal"."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        super().__init__(name, base="")
        self.name = name
        self.operations: list[Operation] = []
        self._files = {file: bytearray(content) for file, content in files.items()}

    def xFullPathname(self, name: str) -> str:
        """The name itself: there are no folders."""
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        """Whether the file is there."""
        return pathname in self._files

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """Remove the file."""
        self._files.pop(filename, None)
        self.operations.append(Operation("truncate", filename))

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """The file, made if it is not there."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        flags[1] = flags[0]
        file = LossyFile(path, self._files.setdefault(path, bytearray()), self.operations)
        # Any object with these methods will do, says apsw; a real VFSFile would want a file system below it.
        return cast(apsw.VFSFile, file)


class LossyFile:
    """An open file of a `LossyDisk`. Nobody else opens it, so locks are always given."""

    def __init__(self, name: str, content: bytearray, operations: list[Operation]) -> None:
        self._name = name
        self._content = content
        self._operations = operations

    def xRead(self, amount: int, offset: int) -> bytes:
        """The bytes that are there."""
        return bytes(self._content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        """Write, for now into memory."""
        written = bytes(data)
        _put(self._content, offset, written)
        self._operations.append(Operation("write", self._name, offset, written))

    def xTruncate(self, newsize: int) -> None:
        """Cut the file off."""
        del self._content[newsize:]
        self._operations.append(Operation("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:
        """From here on everything so far is kept."""
        self._operations.append(Operation("sync", self._name))

    def xFileSize(self) -> int:
        """The length."""
        return len(self._content)

    def xLock(self, level: int) -> None:
        """Given."""

    def xUnlock(self, level: int) -> None:
        """Given back."""

    def xCheckReservedLock(self) -> bool:
        """Nobody else is there to hold it."""
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        """Nothing special."""
        return False

    def xSectorSize(self) -> int:
        """What is lost or kept together."""
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        """What SQLite takes ordinary disks for."""
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self) -> None:
        """The content stays with the disk."""


def after_cut(
    files: Mapping[str, bytes], operations: Sequence[Operation], cut: int, chance: random.Random
) -> dict[str, bytes]:
    """The files when the power goes after `cut` of `operations`, having begun as `files`."""
    names = dict.fromkeys([*files, *(operation.file for operation in operations[:cut])])
    return {
        name: _one_after_cut(files.get(name, b""), [o for o in operations[:cut] if o.file == name], chance)
        for name in names
    }


def _one_after_cut(content: bytes, operations: Sequence[Operation], chance: random.Random) -> bytes:
    synced = max((number + 1 for number, operation in enumerate(operations) if operation.kind == "sync"), default=0)
    kept = bytearray(content)
    for operation in operations[:synced]:
        _apply(kept, operation)
    survival = chance.choice(_SURVIVAL)
    rubbish = chance.random() < 0.3
    for operation in operations[synced:]:
        if operation.kind == "truncate":
            if chance.random() < survival:
                _apply(kept, operation)
            continue
        for at, sector in _sectors(operation):
            if chance.random() < survival:
                _put(kept, at, sector)
            elif rubbish and at >= len(kept):
                # The file has grown, the bytes have not come: whatever was on the disk before shows.
                _put(kept, at, chance.randbytes(len(sector)))
    return bytes(kept)


def _sectors(operation: Operation) -> Iterator[tuple[int, bytes]]:
    start = operation.at
    end = start + len(operation.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield start, operation.data[start - operation.at : stop - operation.at]
        start = stop


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind == "truncate":
        del content[operation.at :]
    elif operation.kind == "write":
        _put(content, operation.at, operation.data)


def _put(content: bytearray, at: int, data: bytes) -> None:
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data
