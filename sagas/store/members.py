"""The orchestrators that share a database: who is there, and who is held for dead.

Theory of operation. Each orchestrator that works on the database has a row here, under a number that is given once and
never again: its *epoch*. Every write transaction of a member first looks for its own row, and is refused without it. A
member renews its row every second, and on that occasion removes the rows of others

* whose process has ended, as far as this machine can tell; or
* that were not renewed for `LEASE_MS`: the process is stopped, or cannot reach the database.

So taking somebody for dead and fencing him off are one act, and SQLite's write lock puts it before or after each
transaction of his, never into the middle of one. A process that is continued after that finds its row gone: what it
had in hand, decided on a time that is over, is rolled back; it forgets what it polled and enters under a new epoch.

What was read, and up to when, is said at the same time and kept apart (`reading.py`). `LEASE_MS` is longer than
a broker takes to pass on the partitions of a member that has gone silent.
"""

import logging

from sagas.errors import OwnershipLost
from sagas.ports import CaughtUp
from sagas.store import reading
from sagas.store.database import Database
from sagas.store.processes import Processes

LEASE_MS = 40_000
"""Iggy ends a session after 36 s without a heartbeat (1.2 times 30 s), and deals its partitions out anew."""

GONE_MS = 2_000
"""From the last renewal of a process that has ended: its partitions have come to others by then, and were read."""

_NEXT_EPOCH = "UPDATE totals SET value = value + 1 WHERE name = 'epoch' RETURNING value"
_ENTER = "INSERT INTO members (epoch, process, renewed_ms) VALUES (?, ?, ?)"
_RENEW = "UPDATE members SET renewed_ms = ? WHERE epoch = ?"
_OTHERS = "SELECT epoch, process, renewed_ms FROM members WHERE epoch <> ?"
_REMOVE = "DELETE FROM members WHERE epoch = ?"
_IS_THERE = "SELECT 1 FROM members WHERE epoch = ?"

_log = logging.getLogger("sagas.store")


class Members:
    """This connection's membership. Until `enter` is called it is no member, and nothing is asked of it."""

    def __init__(self, database: Database, lease_ms: int, processes: Processes) -> None:
        self._database = database
        self._processes = processes
        self._lease_ms = lease_ms
        self.epoch: int | None = None

    def enter(self, now_ms: int) -> None:
        """Be a member; nothing when it is one."""
        if self.epoch is None:
            with self._database.transaction():
                epoch = self._insert(now_ms)
                self._remove_dead(epoch, now_ms)
            self.epoch = epoch

    def renew(self, caught_up: CaughtUp | None, now_ms: int) -> None:
        """Say that we are alive, and what we have read (None: as far as before); remove the dead.

        Raises OwnershipLost when we were held for dead ourselves.
        """
        self.enter(now_ms)
        with self._database.transaction():
            self.require()
            self._database.change(_RENEW, (now_ms, self.epoch))
            if caught_up is not None:
                reading.note(self._database, caught_up)
            assert self.epoch is not None, "entered above"
            self._remove_dead(self.epoch, now_ms)

    def require(self) -> None:
        """Raise OwnershipLost when we were held for dead; inside the transaction that is to be guarded."""
        self.require_found(bool(self._database.rows(_IS_THERE, (self.epoch,))))

    def require_found(self, is_there: bool) -> None:
        """The same for who has looked for our row: whether it `is_there`."""
        epoch = self.epoch
        if epoch is not None and not is_there:
            self.epoch = None
            raise OwnershipLost(epoch)

    def leave(self) -> None:
        """Be a member no more, so that nobody waits for us."""
        if self.epoch is not None:
            epoch, self.epoch = self.epoch, None
            with self._database.transaction():
                self._database.change(_REMOVE, (epoch,))

    def _insert(self, now_ms: int) -> int:
        epoch = int(self._database.value(_NEXT_EPOCH))
        self._database.change(_ENTER, (epoch, self._processes.this_process(), now_ms))
        return epoch

    def _remove_dead(self, epoch: int, now_ms: int) -> None:
        for other, process, renewed_ms in self._database.rows(_OTHERS, (epoch,)):
            # Either way: a clock that was set back would keep a dead member alive until it has caught up.
            silent_ms = abs(now_ms - renewed_ms)
            if silent_ms > self._lease_ms or (silent_ms > GONE_MS and self._processes.has_ended(process)):
                self._database.change(_REMOVE, (other,))
                _log.warning(
                    "orchestrator %s (epoch %d) was not heard of for %.1f s: held for dead, its work is ours",
                    *(process, other, silent_ms / 1000),
                )
