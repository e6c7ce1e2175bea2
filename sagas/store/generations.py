"""The files of a projection: one is current, a replay makes the next, and a pointer is swapped between them.

Theory of operation. A generation is a number, the time it was begun at, and never given twice; its file is
`NAME-NUMBER.projection`, and its consumer group `NAME-NUMBER`. So a new file is always read into from the beginning: no
broker has an offset stored for its group yet, also when the folder was emptied and the topics were not. Which one is
current stands in `NAME.current`, a file that is replaced as a whole: readers see the old number or the new one. The
process that writes the current generation removes the older ones once it has turned to it, and takes over what still
waits in them to be published. No other process has a file that ends so: theirs end in `.db`, and one of them may well
be called `NAME-2`.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from glob import escape
from pathlib import Path

from sagas.errors import StoreError
from sagas.ports import OutboxRow
from sagas.store.database import Database, DatabaseError
from sagas.store.outbox import OutboxTable

_log = logging.getLogger("sagas.generations")

_ENDING = ".projection"
_HAS_OUTBOX = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'outbox'"
_ALL = 2**62  # no limit: of what people had sent again there are few
_SUFFIXES = ("", "-wal", "-shm")


class Generations:
    """The generations of the projection `name` in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    @property
    def pointer(self) -> Path:
        """The file that says which generation is current."""
        return self._folder / f"{self._name}.current"

    def current(self) -> int | None:
        """The current generation, None when there is none yet. Raises StoreError for a pointer that says nothing."""
        try:
            text = self.pointer.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.pointer}: cannot be read ({error}); check its permissions") from error
        if not text.isdecimal() or len(text) > 18:
            raise StoreError(f"{self.pointer}: says {text[:40]!r}, expected a number; remove it to begin a new one")
        return int(text)

    def present(self) -> int | None:
        """The current generation if its file is there, None when a new one is to be begun. Raises as `current` does.

        A file that is gone is not begun anew under its number: that group stands where the file ended, so all of it
        would be missing, and nobody would know.
        """
        while (current := self.current()) is not None and not self.path(current).exists():
            # Asked once more: another process may just have turned to the next one and removed this.
            if self.current() == current:
                _log.warning("%s: is gone, a new generation is read from the beginning", self.path(current))
                return None
        return current

    def new(self, now_ms: int) -> int:
        """A number for a new generation, above all that are there and the one that is current."""
        return max([now_ms, *(number + 1 for number in (self.current() or 0, *self._numbers()))])

    def path(self, generation: int) -> Path:
        """The file of a generation."""
        return self._folder / f"{self._name}-{generation}{_ENDING}"

    def group(self, generation: int) -> str:
        """The consumer group that reads for a generation."""
        return f"{self._name}-{generation}"

    def make_current(self, generation: int) -> None:
        """Have readers and the writer turn to `generation`: at once, or not at all when this is interrupted.

        Raises StoreError, which says which of them it is that the pointer names.
        """
        fresh = self.pointer.with_suffix(f".{os.getpid()}.new")
        try:
            _write(fresh, f"{generation}\n".encode())
            os.replace(fresh, self.pointer)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StoreError(f"{self.pointer}: is as it was, for the new one cannot be written ({error})") from error
        try:
            _sync_folder(self._folder)
        except OSError as error:
            raise StoreError(
                f"{self.pointer}: names generation {generation}, but may name the one before it after a power failure: "
                f"its folder cannot be synced ({error})"
            ) from error

    def discard(self, generation: int) -> None:
        """Remove a generation that was begun and came to nothing; one that is current all the same stays."""
        if self.current() != generation:
            self.remove(generation)

    def remove(self, generation: int) -> None:
        """Remove the file of a generation. Whoever has it open goes on reading it."""
        for suffix in _SUFFIXES:
            Path(f"{self.path(generation)}{suffix}").unlink(missing_ok=True)

    def remove_older(self, generation: int, keep: Callable[[Sequence[OutboxRow]], None]) -> None:
        """Remove the generations before this one; `keep` is given what still waits in one of them to be published.

        That is what a person had sent again. A crash between gives it once more, under the same ids. A file that
        cannot be read stays, with a warning: nobody knows what waits in it.
        """
        for number in sorted(self._numbers()):
            if number < generation:
                try:
                    self._give_up(number, keep)
                except (StoreError, DatabaseError) as error:
                    _log.warning("%s: is not removed, for it cannot be read: %s", self.path(number), error)

    def _give_up(self, number: int, keep: Callable[[Sequence[OutboxRow]], None]) -> None:
        # It is removed before the lock is let go: who waits with a letter to be sent again finds it gone.
        with closing(Database(self.path(number))) as database, database.transaction():
            waiting: Sequence[OutboxRow] = ()
            if database.rows(_HAS_OUTBOX):  # none in one that was only begun
                waiting = OutboxTable(database).unpublished(_ALL)
            if waiting:
                keep(waiting)
            self.remove(number)

    def _numbers(self) -> Iterator[int]:
        for path in self._folder.glob(f"{escape(self._name)}-*{_ENDING}"):
            number = path.stem.removeprefix(f"{self._name}-")
            if number.isdecimal():
                yield int(number)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
