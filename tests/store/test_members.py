"""Orchestrators that share a database: who is held for dead is fenced off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sagas.errors import OwnershipLost
from sagas.ports import Changes
from sagas.store.database import Database
from sagas.store.members import GONE_MS, LEASE_MS
from sagas.store.processes import MachineProcesses
from sagas.store.sqlite import SqliteStore
from tests.store.builders import NOW_MS, a_step_later, an_instance
from tests.store.suite import write

AFTER_LEASE_MS = NOW_MS + LEASE_MS + 1


def epochs(store: SqliteStore, tmp_path: Path) -> list[int]:
    database = Database(tmp_path / "sagas.db", read_only=True)
    found = [epoch for (epoch,) in database.rows("SELECT epoch FROM members ORDER BY epoch")]
    database.close()
    return found


# --------------------------------------------------------------------------- the fence


def test_whoever_was_held_for_dead_writes_nothing_any_more(pair: tuple[SqliteStore, SqliteStore]) -> None:
    stopped, other = pair
    instance = an_instance("o-1")
    write(other, Changes(created=[instance]))
    stopped.renew(None, NOW_MS)
    other.renew(None, AFTER_LEASE_MS)
    with pytest.raises(OwnershipLost, match=r"epoch 1\) was held for dead, others have taken over"):
        write(stopped, Changes(updated=[a_step_later(instance)]))
    assert other.instance("order", "o-1") == instance


def test_after_it_was_told_it_enters_anew_and_works_on(pair: tuple[SqliteStore, SqliteStore], tmp_path: Path) -> None:
    stopped, other = pair
    stopped.renew(None, NOW_MS)
    other.renew(None, AFTER_LEASE_MS)
    with pytest.raises(OwnershipLost):
        stopped.renew(None, AFTER_LEASE_MS)
    stopped.enter(AFTER_LEASE_MS)
    write(stopped, Changes(created=[an_instance("o-1")]))
    assert epochs(other, tmp_path) == [2, 3], "an epoch is never given again"


def test_within_its_lease_a_silent_member_keeps_its_place(pair: tuple[SqliteStore, SqliteStore]) -> None:
    silent, other = pair
    silent.renew(None, NOW_MS)
    other.renew(None, NOW_MS + LEASE_MS)
    write(silent, Changes(created=[an_instance("o-1")]))
    assert other.instance("order", "o-1") is not None


def test_a_takeover_in_the_middle_waits_for_the_transaction_and_does_not_tear_it(
    pair: tuple[SqliteStore, SqliteStore],
) -> None:
    first, second = pair
    first.renew(None, NOW_MS)
    with first.transaction() as transaction:
        # Begun as a member: SQLite lets nobody else remove its row until this has ended.
        transaction.write(Changes(created=[an_instance("o-1")]))
    second.renew(None, AFTER_LEASE_MS)
    assert second.instance("order", "o-1") is not None


def test_whoever_never_entered_is_not_asked(pair: tuple[SqliteStore, SqliteStore]) -> None:
    operator, orchestrator = pair
    orchestrator.renew(None, NOW_MS)
    write(operator, Changes(created=[an_instance("o-1")]))
    assert orchestrator.instance("order", "o-1") is not None


# --------------------------------------------------------------------------- who is dead


def test_a_member_that_closes_is_gone_at_once(pair: tuple[SqliteStore, SqliteStore], tmp_path: Path) -> None:
    leaving, other = pair
    leaving.enter(NOW_MS)
    other.enter(NOW_MS)
    leaving.close()
    assert epochs(other, tmp_path) == [2]


DYING = """
import os, sys
from sagas.store.sqlite import SqliteStore
from tests.store.builders import NOW_MS

store = SqliteStore(sys.argv[1])
store.enter(NOW_MS)
os._exit(9)
"""


def test_a_process_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DYING, str(tmp_path / "sagas.db")]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == 9
    store = SqliteStore(tmp_path / "sagas.db")
    store.enter(NOW_MS + GONE_MS)
    assert epochs(store, tmp_path) == [1, 2], "not before its partitions can have come to others"
    store.renew(None, NOW_MS + GONE_MS + 1)
    assert epochs(store, tmp_path) == [2]
    store.close()


def test_a_clock_that_was_set_back_keeps_no_dead_member_alive(
    pair: tuple[SqliteStore, SqliteStore], tmp_path: Path
) -> None:
    stopped, other = pair
    stopped.renew(None, AFTER_LEASE_MS)
    other.renew(None, NOW_MS)
    assert epochs(other, tmp_path) == [2]


def test_a_process_is_known_by_more_than_its_number() -> None:
    machine = MachineProcesses()
    me = machine.this_process()
    assert not machine.has_ended(me)
    host, pid, born = me.rsplit(" ", 2)
    assert machine.has_ended(f"{host} {pid} {int(born) - 1}"), "the number was given to somebody else before"
    assert not machine.has_ended(f"another-{host} {pid} {int(born) - 1}"), "nothing is known of another machine"
    assert not machine.has_ended(f"{host} {os.getppid()} {born_of(os.getppid())}")


def born_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
