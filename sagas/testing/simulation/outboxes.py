"""The outbox as a process sees it: every call a point."""

from collections.abc import Sequence

from sagas.errors import StoreError
from sagas.ports import CommittedOutbox, OutboxRow
from sagas.testing.simulation.life import Life


class WatchedOutbox:
    """A `CommittedOutbox`."""

    def __init__(self, life: Life, inner: CommittedOutbox) -> None:
        self._life = life
        self._outbox = inner

    def unpublished(self, count_max: int) -> list[OutboxRow]:
        """The oldest rows not yet published."""
        self._life.reach("relay.unpublished.before")
        self.fail("reading")
        found = self._outbox.unpublished(count_max)
        self._life.reach("relay.unpublished.after")
        return found

    def mark_published(self, seqs: Sequence[int], now_ms: int) -> None:
        """Note that these rows were acknowledged."""
        self._life.reach("relay.mark_published.before")
        self.fail("marking")
        self._outbox.mark_published(seqs, now_ms)
        self._life.reach("relay.mark_published.after")

    def take_committed(self) -> list[OutboxRow]:
        """What this process has committed since it was asked last."""
        self._life.reach("relay.take_committed.before")
        taken = self._outbox.take_committed()
        self._life.reach("relay.take_committed.after")
        return taken

    def note_published(self, seqs: Sequence[int]) -> None:
        """Have these rows marked by the next transaction."""
        self._life.reach("relay.note_published.before")
        self._outbox.note_published(seqs)
        self._life.reach("relay.note_published.after")

    def fail(self, when: str) -> None:
        """Raise StoreError now and then."""
        if self._life.is_mortal and self._life.scene.chance(self._life.scene.faults.store_fails):
            raise StoreError(f"simulated: the database cannot be used, {when}")
