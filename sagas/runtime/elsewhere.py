"""What runs wait for whose version another node has loaded, and this one has not.

Theory of operation. In a rolling deployment a node reads signals that no definition of its own waits for, and a run of
the other release does. Every version that was ever loaded is in the book (`admission.py`), with its waits. A node is
admitted before it begins a run, so whoever looks at the book after a signal was read knows what its run waits for. The
book grows only, so how long it is says whether it has to be read again.
"""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from sagas.core.definition import Definition
from sagas.core.shape import decode_shape
from sagas.runtime.catalog import DefinitionBook

_log = logging.getLogger("sagas.orchestrator")


class Elsewhere:
    """The waits of the versions in `book` that are not among `loaded`. Without a book there are none."""

    def __init__(self, loaded: Sequence[Definition] = (), book: DefinitionBook | None = None) -> None:
        self._loaded = {(d.name, d.version, d.content) for d in loaded}
        self._book = book
        self._length = 0
        self._is_fresh = False
        self._waits: Mapping[tuple[str, str], tuple[str, ...]] = {}

    def begin(self) -> None:
        """A transaction has begun: the first that asks in it looks at the book. Answers, the most frequent, do not."""
        self._is_fresh = False

    def sagas(self, topic: str, event_type: str) -> tuple[str, ...]:
        """The sagas with such a version that waits for this event."""
        if not self._is_fresh and self._book is not None:
            self._refresh(self._book)
        return self._waits.get((topic, event_type), ())

    def _refresh(self, book: DefinitionBook) -> None:
        length = book.definition_count()
        if length != self._length:
            self._waits = self._read(book)
            self._length = length
        self._is_fresh = True

    def _read(self, book: DefinitionBook) -> Mapping[tuple[str, str], tuple[str, ...]]:
        found: dict[tuple[str, str], dict[str, None]] = {}
        for row in book.definitions():
            if (row.saga, row.version, row.content) in self._loaded:
                continue
            try:
                shape = decode_shape(row.shape)
            except msgspec.MsgspecError as error:
                _log.error("what version %d of saga %s waits for cannot be read: %s", row.version, row.saga, error)
                continue
            for wait in shape.waits:
                for signal in wait.signals:
                    found.setdefault((wait.topic, signal.tag), {})[row.saga] = None
        return {heard: tuple(sagas) for heard, sagas in found.items()}
