"""The journal as a feed, as a process sees it: every call a point."""

from sagas.errors import StoreError
from sagas.ports import FeedRow, JournalFeed
from sagas.testing.simulation.life import Life


class WatchedFeed:
    """A `JournalFeed`."""

    def __init__(self, life: Life, inner: JournalFeed) -> None:
        self._life = life
        self._feed = inner

    def begin_feed(self) -> None:
        """List every journal row from now on."""
        self._life.reach("feed.begin.before")
        self._feed.begin_feed()
        self._life.reach("feed.begin.after")

    def unfed(self, count_max: int) -> list[FeedRow]:
        """The oldest journal rows not yet told of."""
        self._life.reach("feed.unfed.before")
        self._refuse("reading")
        found = self._feed.unfed(count_max)
        self._life.reach("feed.unfed.after")
        return found

    def waiting_to_be_fed(self) -> int:
        """How many journal rows are still to be told of."""
        return self._feed.waiting_to_be_fed()

    def mark_fed(self, seq: int) -> None:
        """Note that all rows up to `seq` were told of."""
        self._life.reach("feed.mark_fed.before")
        self._refuse("marking")
        self._feed.mark_fed(seq)
        self._life.reach("feed.mark_fed.after")

    def _refuse(self, when: str) -> None:
        if self._life.is_mortal and self._life.scene.chance(self._life.scene.faults.store_fails):
            raise StoreError(f"simulated: the database is busy while {when} the feed")
