"""The power goes at any moment, and every transaction whose commit returned is there afterwards, whole.

How it is shown. A workload runs on the real stores, and the statements they send are noted, together with what stands
in the tables after each commit (`recorded.py`). The statements run again on an SQLite whose disk is a `LossyDisk`, with
the durability setting of the real connection. Its list of writes and syncs then tells what any power cut can leave
behind: those files are opened by the real store, and must hold either exactly what was committed, or that and the one
transaction whose commit was under way. SQLite has no shared memory on such a disk, so its lock is exclusive there; log,
syncs and checkpoints are the same.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import apsw
import pytest

from sagas.errors import SagaError
from sagas.store.database import Database, DatabaseError
from tests.store.lossy_disk import LossyDisk, Operation, after_cut
from tests.store.recorded import (
    Recording,
    Reopen,
    read_tables,
    record_migrations,
    record_orchestrator,
    record_participant,
    reopen_orchestrator,
    reopen_participant,
)

CUTS = 300
"""For each of the two kinds of database; a quarter as many for a new file."""

PAGES_PER_CHECKPOINT = 25
"""Low, so that the workload goes through many checkpoints and begins its log anew."""

FULL, NORMAL, OFF = 2, 1, 0


@dataclass(frozen=True)
class Replay:
    """What reached the disk, and how much of it when each commit began and returned."""

    image: bytes
    operations: list[Operation]
    commits: list[tuple[int, int]]

    def committed(self, cut: int) -> tuple[int, int]:
        """How many commits had returned after `cut` operations, and how many had begun."""
        return sum(end <= cut for _, end in self.commits), sum(begin < cut for begin, _ in self.commits)


def replay(recording: Recording, synchronous: int) -> Replay:
    """Run the statements again on a disk that keeps a list."""
    disk = LossyDisk(f"lossy-{uuid4().hex}", {"db": recording.image})
    connection = apsw.Connection("db", vfs=disk.name)
    for setting in (
        "locking_mode = EXCLUSIVE",
        "journal_mode = WAL",
        f"synchronous = {synchronous}",
        f"wal_autocheckpoint = {PAGES_PER_CHECKPOINT}",
    ):
        _run(connection, f"PRAGMA {setting}")
    commits: list[tuple[int, int]] = []
    for statement in recording.statements:
        begin = len(disk.operations)
        _run(connection, statement)
        if statement == "COMMIT":
            commits.append((begin, len(disk.operations)))
    operations = list(disk.operations)
    connection.close()
    disk.unregister()
    return Replay(recording.image, operations, commits)


def _run(connection: apsw.Connection, statement: str) -> None:
    cursor = connection.cursor()
    for _ in cursor.execute(statement):  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType] - Buffer
        pass


def first_loss(
    recording: Recording, replayed: Replay, reopen: Reopen, directory: Path, seeds: range, *, is_durable: bool = True
) -> str:
    """What the first of many power cuts destroyed, with its seed; "" when none did."""
    for seed in seeds:
        chance = random.Random(seed)
        cut = chance.randrange(len(replayed.operations) + 1)
        files = after_cut({"db": replayed.image}, replayed.operations, cut, chance)
        path = directory / f"{seed}.db"
        path.write_bytes(files["db"])
        if "db-wal" in files:
            path.with_name(f"{path.name}-wal").write_bytes(files["db-wal"])
        returned, begun = replayed.committed(cut)
        loss = _loss(path, reopen, recording, returned if is_durable else 0, begun)
        if loss:
            return f"seed {seed}, after operation {cut} of {len(replayed.operations)}: {loss}"
    return ""


def _loss(path: Path, reopen: Reopen, recording: Recording, returned: int, begun: int) -> str:
    try:
        reopen(path).close()
        database = Database(path)
        found = database.rows("PRAGMA integrity_check")
        database.close()
        tables = read_tables(path)
    except (SagaError, DatabaseError) as error:
        return f"cannot be opened: {error}"
    if found != [("ok",)]:
        return f"integrity_check says {found}"
    if tables in recording.tables[returned : begun + 1]:
        return ""
    where = recording.tables.index(tables) if tables in recording.tables else None
    return f"{returned} commits had returned, the file stands at {where or 'none of them'}"


@pytest.mark.parametrize(
    ("record", "reopen"),
    [(record_orchestrator, reopen_orchestrator), (record_participant, reopen_participant)],
    ids=["orchestrator", "participant"],
)
def test_whatever_was_committed_outlives_a_power_cut_and_nothing_else_does(
    tmp_path: Path, record: Callable[[Path], Recording], reopen: Reopen
) -> None:
    recording = record(tmp_path / "recorded.db")
    assert recording.synchronous == FULL
    replayed = replay(recording, recording.synchronous)
    assert len(replayed.commits) == len(recording.tables) - 1 > 50
    assert sum(operation.kind == "sync" and operation.file == "db" for operation in replayed.operations) > 5, (
        "the workload has to go through checkpoints"
    )
    seeds = range(20_261_100, 20_261_100 + CUTS)
    assert first_loss(recording, replayed, reopen, tmp_path, seeds) == ""


def test_a_power_cut_while_a_new_file_is_made_leaves_one_that_can_be_finished(tmp_path: Path) -> None:
    recording = record_migrations(tmp_path / "recorded.db")
    reopen_orchestrator(recording.path).close()
    whole = read_tables(recording.path)
    replayed = replay(recording, recording.synchronous)
    # Reopening finishes the migrations, so every cut has to come to the same end.
    recording.tables = [whole] * (len(replayed.commits) + 1)
    assert first_loss(recording, replayed, reopen_orchestrator, tmp_path, range(CUTS // 4)) == ""


@pytest.mark.parametrize("synchronous", [OFF, NORMAL], ids=["off", "normal"])
def test_a_weaker_setting_loses_what_was_committed_and_this_suite_notices(tmp_path: Path, synchronous: int) -> None:
    recording = record_orchestrator(tmp_path / "recorded.db")
    replayed = replay(recording, synchronous)
    assert "seed" in first_loss(recording, replayed, reopen_orchestrator, tmp_path, range(CUTS))


def test_a_weaker_setting_that_is_known_for_it_loses_the_end_and_never_the_integrity(tmp_path: Path) -> None:
    recording = record_orchestrator(tmp_path / "recorded.db")
    replayed = replay(recording, NORMAL)
    loss = first_loss(recording, replayed, reopen_orchestrator, tmp_path, range(100), is_durable=False)
    assert loss == "", "NORMAL may forget commits, but must never leave half of one"
