"""A file that is open, and whether its path still leads to it: asked at the beginning of every transaction.

Theory of operation. Device and inode tell a file from another one that was put in its place. `os.stat` says them, and
the times of the file as well; a kernel that keeps fine times only for files whose times were asked for (Linux since
6.13, `Documentation/filesystems/multigrain-ts.rst`) then has to give the next write a new one, and the sync after it
writes the inode too. That made a COMMIT 70 µs longer where the last one was less than 2 ms ago, 370 µs instead of 290
(measured). So the inode alone is asked for, by `statx`. Where there is none, `os.stat` gives the same answer.
"""

import ctypes
import os
import struct
from collections.abc import Callable
from typing import Final

from sagas.errors import StoreError

Identity = tuple[int, int, int]
"""Inode, and the major and minor number of the device."""

Statx = Callable[[int, bytes, int, int, ctypes.Array[ctypes.c_char]], int]
"""Linux's system call, as its manual page has it: it is 0 when the buffer holds the answer."""

_AT_FDCWD: Final = -100
_STATX_INO: Final = 0x100
_STATX_BYTES: Final = 256
_identity_in = struct.Struct("=32x Q 96x I I").unpack_from


def find_statx() -> Statx | None:
    """The system call as the C library offers it, None where it does not."""
    try:
        return ctypes.CDLL(None).statx
    except (OSError, AttributeError, TypeError):
        return None


_STATX: Final = find_statx()


class WatchedFile:
    """The file that is at `path` now. One thread at a time."""

    def __init__(self, path: str, statx: Statx | None = _STATX) -> None:
        self.path = path
        self._encoded = os.fsencode(path)
        self._statx = statx
        self._buffer = ctypes.create_string_buffer(_STATX_BYTES)
        self._opened = self._identity()

    def is_there(self) -> bool:
        """Whether the path leads to the same file as at first."""
        return self._identity() == self._opened

    def require(self) -> None:
        """Raise StoreError, which says how to rescue it, when it was deleted or replaced."""
        if not self.is_there():
            raise StoreError(
                f"{self.path}: was deleted or replaced while it is open; nothing more is written. Before you end this "
                f"process ({os.getpid()}) copy the file and its -wal from /proc/{os.getpid()}/fd to their places"
            )

    def _identity(self) -> Identity | None:
        if self._statx is not None and not self._statx(_AT_FDCWD, self._encoded, 0, _STATX_INO, self._buffer):
            inode, major, minor = _identity_in(self._buffer)
            return inode, major, minor
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_ino, os.major(status.st_dev), os.minor(status.st_dev)
