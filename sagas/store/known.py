"""The instances under way, kept in memory from one transaction to the next.

Theory of operation. A run is read and written by every answer that comes for it, five times within a few milliseconds,
and mostly by one process. So what a transaction has read or written stays here, and the next one reads what is not. It
holds as long as nobody else has written to the database: SQLite tells of other connections (`PRAGMA data_version`), and
counts the rows that this one has changed, by whatever way. Both are looked at under the write lock, so that nothing
can come between the look and the commit. Where it is not as it was left, or a transaction was rolled back, everything
is forgotten. So it is while very many are under way, which come again when they were pushed out long ago.

An update still asks for the revision that it was decided on (`transaction.py`): were something wrong here, it would end
in StaleRevision and not in a lost decision.
"""

from collections.abc import Sequence
from typing import Final

from sagas.core.instance import Instance
from sagas.store.database import Database

KNOWN_MAX: Final = 2_048
"""Instances that are kept, those that moved last: some 3 KB each beside their data."""

DATA_MAX: Final = 4_096
"""Bytes of data that an instance may have to be kept, its items and signals included: a message may have 256 KiB."""

BUSY_MIN: Final = 512
"""So many read and written in one transaction say that more are under way than can be kept: then none are."""

_DATA_VERSION = "PRAGMA data_version"


class KnownInstances:
    """What is known of the instances of one database. Use: `begin`, then the others, then `end`."""

    def __init__(self, database: Database, count_max: int = KNOWN_MAX, busy_min: int = BUSY_MIN) -> None:
        self._database = database
        self._count_max = count_max
        self._busy_min = busy_min
        self._instances: dict[str, Instance] = {}
        self._left = (0, 0)
        self._version = 0
        self._noted = 0
        self._is_busy = False

    def begin(self) -> bool:
        """A write transaction has begun; whether nobody has written since the last: else everything is forgotten."""
        self._version = self._database.value(_DATA_VERSION)
        is_as_left = self._left == (self._version, self._database.connection.total_changes)
        if not is_as_left:
            self.forget()
        return is_as_left

    def forget(self) -> None:
        """Have everything read anew."""
        self._instances.clear()

    def get(self, instance_id: str) -> Instance | None:
        """The instance as it is in the database, None when that is not known."""
        return self._instances.get(instance_id)

    def note(self, instances: Sequence[Instance]) -> None:
        """So they are in the database, as far as the transaction that is open sees it."""
        self._noted += len(instances)
        if self._is_busy:
            return
        known = self._instances
        for instance in instances:
            known.pop(instance.id, None)
            if instance.is_live and _is_small(instance):
                known[instance.id] = instance
        while len(known) > self._count_max:
            del known[next(iter(known))]

    def end(self, *, has_committed: bool) -> None:
        """The transaction has ended."""
        self._is_busy = self._noted >= self._busy_min
        self._noted = 0
        if has_committed and not self._is_busy:
            self._left = (self._version, self._database.connection.total_changes)
        else:
            self.forget()


def _is_small(instance: Instance) -> bool:
    size = len(instance.data)
    if instance.items or instance.signals:
        size += sum(len(item) for _, item in instance.items) + sum(len(data) for _, _, data in instance.signals)
    return size <= DATA_MAX
