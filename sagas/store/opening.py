"""How an SQLite file comes into being and is connected to, so that neither a lock nor a secret is lost by it.

The driver is `pysqlite3`, because many systems ship an SQLite whose WAL can be corrupted by a reset
under load (fixed in 3.51.3); `sqlite_utils` picks the same driver up by itself.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sagas.errors import StoreError

# pysqlite3 is the standard library's module built on a newer SQLite and brings no types of its own.
if TYPE_CHECKING:
    import sqlite3 as driver
else:
    import pysqlite3 as driver

__all__ = ["BUSY_TIMEOUT_MS", "MEMORY", "connect", "driver", "patiently", "use_wal"]

BUSY_TIMEOUT_MS = 5_000
"""How long a transaction waits for another connection's write lock before it is a StoreError."""

MEMORY = ":memory:"

STATEMENTS_KEPT = 512
"""Prepared statements that a connection keeps: more than there are, the migrations' own among them.

The driver keeps 100 unless it is told otherwise, and gives up what was used least. At a full house that is always the
newcomer: a few statements of the hot path, met after a hundred migrations, would be prepared anew each time.
"""

_FILE_MODE = 0o600

_BUSY = 5

_BUSY_PAUSE_MS = 2

_creating = threading.Lock()


def patiently(attempt: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    """Try again for the busy timeout, as SQLite itself does everywhere but where a file changes its journal mode.

    There it answers "locked" at once, to the second of two processes that open a new file at the same time.
    """
    for _ in range(BUSY_TIMEOUT_MS // _BUSY_PAUSE_MS):
        try:
            return attempt()
        except driver.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != _BUSY:
                raise
        time.sleep(_BUSY_PAUSE_MS / 1000)
    return attempt()


def connect(name: str, *, read_only: bool) -> driver.Connection:
    """A connection to a file, or to MEMORY, with SQLite's own settings; StoreError for what is no such file."""
    if name == MEMORY:
        return driver.connect(MEMORY, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_KEPT)
    if os.path.isdir(name):
        raise StoreError(f"{name}: is a directory; name a file in it")
    if os.path.exists(name) and not os.path.isfile(name):
        # Opening a pipe to read it would wait for somebody who writes to it, for ever.
        raise StoreError(f"{name}: is a device or a pipe, not a file; name a file")
    if read_only and not os.path.exists(name):
        raise StoreError(f"no saga database at {name}; start the orchestrator (sagas run), or name the file with --db")
    if not read_only:
        _create_private(name)
    mode = "ro" if read_only else "rw"
    try:
        return driver.connect(
            f"file:{quote(os.path.abspath(name))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_KEPT,
        )
    except driver.OperationalError as error:
        raise StoreError(f"{name}: cannot be opened ({error}); check its permissions and its directory's") from error


def use_wal(connection: driver.Connection, name: str) -> None:
    """Have the file in WAL mode. Raises StoreError where its file system does not allow it."""
    (mode,) = patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone())
    if mode not in ("wal", "memory"):
        raise StoreError(
            f"{name}: the file system does not allow SQLite's write-ahead log (journal mode stays {mode!r}); "
            "use a local disk"
        )


def _create_private(name: str) -> None:
    """Have the file there, readable by its owner only: SQLite itself would create it readable by all.

    Its `-wal` and `-shm` files take over its mode. A file that is there already is not opened: closing
    it again would drop the locks of every SQLite connection that this process has to it (POSIX locks
    belong to the process and the file; https://sqlite.org/howtocorrupt.html, section 2.2). For the same
    reason nobody in this process may connect between the two calls.
    """
    try:
        with _creating:
            if not os.path.exists(name):
                os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE))
    except FileNotFoundError as error:
        raise StoreError(f"{name}: its directory does not exist; create {os.path.dirname(name)!r} first") from error
    except OSError as error:
        raise StoreError(_unwritable(name, error.strerror or str(error))) from error
    if not os.access(name, os.W_OK):
        raise StoreError(_unwritable(name, "Permission denied"))


def _unwritable(name: str, reason: str) -> str:
    return f"{name}: cannot be opened for writing ({reason}); use a directory and a file that this user may write"
