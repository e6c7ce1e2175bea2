"""How an SQLite file is opened, shared and left behind by a process that dies."""

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sagas.errors import StoreError, TransactionEnded
from sagas.ports import Changes, InstanceFilter
from sagas.store.database import HANDED_OUT_MAX, Database, DatabaseError
from sagas.store.opening import connect, patiently
from sagas.store.sqlite import SqliteStore
from tests.store.builders import NOW_MS, a_journal_row, a_step_later, a_timer, an_instance, an_outbox_row

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sagas.db"


def pragma(database: Database, name: str) -> object:
    return database.value(f"PRAGMA {name}")


# --------------------------------------------------------------------------- settings


def test_a_commit_outlives_a_power_cut_and_readers_do_not_wait(path: Path) -> None:
    database = Database(path)
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "synchronous") == 2, "2 is FULL"
    database.close()


def test_a_hostile_file_is_not_trusted_and_a_lock_is_waited_for(path: Path) -> None:
    database = Database(path)
    assert pragma(database, "trusted_schema") == 0
    assert pragma(database, "cell_size_check") == 1
    assert pragma(database, "foreign_keys") == 1
    assert pragma(database, "busy_timeout") == 5_000
    database.close()


def test_the_driver_is_newer_than_the_wal_reset_bug() -> None:
    database = Database(":memory:")
    assert tuple(map(int, str(database.value("SELECT sqlite_version()")).split("."))) >= (3, 51, 3)
    database.close()


def test_what_every_batch_asks_is_prepared_once_and_not_for_each_batch(path: Path) -> None:
    store = SqliteStore(path)  # its migrations are the first statements of this connection
    prepared: list[int] = []

    def a_batch(number: int) -> None:
        instance = an_instance(f"o-{number}")
        with store.transaction() as transaction:
            transaction.seen([instance.id])
            transaction.load([instance.id])
            transaction.find("order", ["o-0"])
            transaction.parked_for([instance.id])
            transaction.write(
                Changes(
                    created=[instance],
                    inbox=[instance.id],
                    journal=[a_journal_row(instance, 1)],
                    outbox=[an_outbox_row("reserve")],
                    timers_set=[a_timer(instance, "reserve", NOW_MS)],
                    timers_cleared=[(instance.id, "create")],
                )
            )

    def note(action: int, *_: object) -> int:
        prepared.append(action)
        return 0  # allowed

    # SQLite asks for permission whenever it prepares a statement, and never while it runs one.
    store._database.connection.set_authorizer(note)  # pyright: ignore[reportPrivateUsage]
    a_batch(1)
    assert prepared
    prepared.clear()
    a_batch(2)
    assert prepared == []
    store.close()


# SQLite keeps a read lock on these bytes for as long as a connection uses the log (os_unix.c, SHARED_FIRST).
TAKE_IT_ALONE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
        print("alone")
    except BlockingIOError:
        print("in use")
"""


def test_opening_a_file_twice_in_one_process_does_not_drop_the_first_ones_lock(path: Path) -> None:
    first = Database(path)
    Database(path).close()
    another = subprocess.run(
        [sys.executable, "-c", TAKE_IT_ALONE, path], check=True, capture_output=True, text=True, cwd=REPOSITORY
    )
    assert another.stdout.strip() == "in use"
    first.close()


def test_a_file_that_changes_its_journal_mode_is_waited_for(path: Path) -> None:
    holder, second = (connect(str(path), read_only=False) for _ in range(2))
    holder.execute("BEGIN IMMEDIATE")
    refused: list[str] = []

    def attempt() -> tuple[object, ...]:
        try:
            return tuple(second.execute("PRAGMA journal_mode = WAL").fetchone())
        except DatabaseError as error:
            refused.append(str(error))
            holder.execute("ROLLBACK")
            raise

    assert patiently(attempt) == ("wal",)
    assert refused == ["database is locked"]
    holder.close()
    second.close()


def test_a_new_file_and_its_log_are_readable_by_their_owner_only(path: Path) -> None:
    store = SqliteStore(path)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["sagas.db", "sagas.db-shm", "sagas.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    store.close()


def test_a_path_with_signs_that_mean_something_in_an_address_is_only_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "50% off?mode=memory#1.db"
    SqliteStore(odd).close()
    assert odd.stat().st_size > 0


# --------------------------------------------------------------------------- files that cannot be used


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a directory; name a file in it"):
        SqliteStore(tmp_path)


def test_a_missing_directory_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"directory does not exist; create '.*missing' first"):
        SqliteStore(tmp_path / "missing" / "sagas.db")


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    text = b"these are the minutes of the meeting\n" * 100
    path.write_bytes(text)
    with pytest.raises(StoreError, match=r"sagas\.db: the file is not an SQLite database"):
        SqliteStore(path)
    assert path.read_bytes() == text


def test_a_place_that_cannot_be_written_is_refused(path: Path) -> None:
    path.write_text("a file, where a directory would have to be")
    with pytest.raises(StoreError, match="cannot be opened for writing"):
        SqliteStore(path / "sagas.db")


def test_a_place_where_no_file_can_be_made_is_refused() -> None:
    # Not a directory without write permission: root, which containers run tests as, may write there.
    with pytest.raises(StoreError, match=r"use a directory and a file that this user may write"):
        SqliteStore("/sys/sagas.db")


def test_a_truncated_file_is_refused_as_damaged(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    with path.open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(StoreError, match="the file is damaged"):
        SqliteStore(path)


def test_a_row_that_cannot_be_read_is_told_and_not_guessed(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction() as transaction:
        transaction.write(Changes(created=[an_instance("o-1")]))
    other = Database(path)
    with other.transaction():
        other.change("UPDATE instances SET record = ?", (b"\x81\xa2id",))
    other.close()
    with pytest.raises(StoreError, match="the stored instance cannot be read"):
        store.instance("order", "o-1")
    store.close()


def test_a_full_disk_keeps_nothing_and_the_store_goes_on_when_there_is_room(path: Path) -> None:
    database = Database(path)
    with database.transaction():
        database.change("CREATE TABLE filling (bytes BLOB NOT NULL) STRICT")
    pages = database.value("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="the disk is full"):
        fill(database, 1_000_000)
    assert database.value("SELECT count(*) FROM filling") == 0
    database.rows("PRAGMA max_page_count = 1000000")
    fill(database, 1_000_000)
    assert database.value("SELECT count(*) FROM filling") == 1
    database.close()


def test_going_on_after_an_error_has_ended_the_transaction_is_refused(path: Path) -> None:
    database = Database(path)
    with database.transaction():
        database.change("CREATE TABLE filling (bytes BLOB NOT NULL UNIQUE ON CONFLICT ROLLBACK) STRICT")
    with pytest.raises(TransactionEnded, match="a statement has ended it"):
        insert_after_a_rollback(database)
    assert database.value("SELECT count(*) FROM filling") == 0
    database.close()


def fill(database: Database, size: int) -> None:
    with database.transaction():
        database.change("INSERT INTO filling VALUES (zeroblob(?))", (size,))


def insert_after_a_rollback(database: Database) -> None:
    insert = "INSERT INTO filling VALUES (zeroblob(?))"
    with database.transaction():
        database.change(insert, (1,))
        with pytest.raises(TransactionEnded), database.savepoint():
            database.change(insert, (1,))
        database.change(insert, (2,))


def test_a_savepoint_that_cannot_be_released_is_rolled_back_and_says_why() -> None:
    database = Database(":memory:")
    database.connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY) STRICT")
    database.connection.execute("INSERT INTO things VALUES (1), (2)")
    taken_back: list[str] = []
    with database.transaction():
        past_the_kit = database.connection.cursor()
        with (
            pytest.raises(DatabaseError, match="cannot release savepoint"),
            database.savepoint(lambda: taken_back.append("told")),
        ):
            past_the_kit.execute("UPDATE things SET id = id + 10 RETURNING id")
        past_the_kit.close()
    assert database.rows("SELECT id FROM things ORDER BY id") == [(1,), (2,)]
    assert taken_back == ["told"]
    database.close()


def test_rows_that_were_half_read_long_ago_keep_nobody_from_writing(path: Path) -> None:
    database, other = Database(path), Database(path)
    with database.transaction():
        database.change("CREATE TABLE things (id INTEGER PRIMARY KEY) STRICT")
        database.change("INSERT INTO things VALUES (1), (2)")
        half_read = database.rows_later("SELECT id FROM things")
        assert half_read.fetchone() == (1,)
    with other.transaction():
        other.change("DELETE FROM things")
    with database.transaction():
        database.change("INSERT INTO things VALUES (3)")
    assert database.rows("SELECT id FROM things") == [(3,)]
    with pytest.raises(DatabaseError, match="closed cursor"):
        half_read.fetchone()
    database.close()
    other.close()


def test_rows_that_nobody_holds_any_more_are_not_kept_for_the_end() -> None:
    database = Database(":memory:")
    with database.transaction():
        held = [database.rows_later("SELECT 1 UNION SELECT 2") for _ in range(3)]
        for _ in range(10 * HANDED_OUT_MAX):
            database.rows_later("SELECT 1")
        assert len(database.handed_out) <= 2 * HANDED_OUT_MAX
        assert [rows.fetchone() for rows in held] == [(1,)] * 3
    assert not database.handed_out
    database.close()


# --------------------------------------------------------------------------- reading beside a writer


def test_reading_a_database_that_is_not_there_says_what_to_do(path: Path) -> None:
    with pytest.raises(StoreError, match=r"no saga database at .*; start the orchestrator \(sagas run\), or name"):
        SqliteStore(path, read_only=True)
    assert not path.exists()


def test_a_reader_sees_what_is_committed_while_a_writer_is_busy(path: Path) -> None:
    writer = SqliteStore(path)
    first, second = an_instance("o-1", age=1), an_instance("o-2")
    with writer.transaction() as transaction:
        transaction.write(Changes(created=[first]))
    reader = SqliteStore(path, read_only=True)
    with writer.transaction() as transaction:
        transaction.write(Changes(created=[second]))
        assert reader.instances(InstanceFilter()) == [first]
    assert reader.instances(InstanceFilter()) == [second, first]
    assert (reader.counts(), reader.in_flight()) == ({"reserve.pending": 2}, 2)
    assert (reader.journal(first.id), reader.dead_letters(9), reader.next_due_ms()) == ([], [], None)
    reader.close()
    writer.close()


def test_a_reader_opens_what_a_writer_has_closed(path: Path) -> None:
    SqliteStore(path).close()
    reader = SqliteStore(path, read_only=True)
    assert reader.counts() == {}
    reader.close()


def test_a_reader_cannot_write(path: Path) -> None:
    SqliteStore(path).close()
    reader = SqliteStore(path, read_only=True)
    with pytest.raises(StoreError, match="it cannot be written"):
        reader.mark_published([1], NOW_MS)
    reader.close()


# --------------------------------------------------------------------------- two writers


def test_a_lock_that_is_not_let_go_is_an_error_that_names_the_file(path: Path) -> None:
    holder, waiter = SqliteStore(path), Database(path)
    waiter.rows("PRAGMA busy_timeout = 10")
    with (
        holder.transaction(),
        pytest.raises(StoreError, match=r"sagas\.db: another connection kept it locked"),
        waiter.transaction(),
    ):
        pass
    waiter.close()
    holder.close()


def test_four_writers_wait_for_each_other_and_lose_no_update(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction() as transaction:
        transaction.write(Changes(created=[an_instance("o-1")]))
    failures: list[BaseException] = []

    def advance_often() -> None:
        mine = SqliteStore(path)
        try:
            for _ in range(25):
                with mine.transaction() as transaction:
                    instance = transaction.find("order", ["o-1"])["o-1"]
                    transaction.write(Changes(updated=[a_step_later(instance, "pay.pending")]))
        except BaseException as error:
            failures.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=advance_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    instance = store.instance("order", "o-1")
    assert failures == []
    assert instance is not None
    assert instance.revision == 1 + 4 * 25
    store.close()


# --------------------------------------------------------------------------- a process that dies

DYING = """
import os, sys
from sagas.ports import Changes
from sagas.store.sqlite import SqliteStore
from tests.store.builders import an_instance, an_outbox_row

store = SqliteStore(sys.argv[1])
with store.transaction() as transaction:
    transaction.write(Changes(created=[an_instance("committed")], outbox=[an_outbox_row("a")], inbox=["m-1"]))
with store.transaction() as transaction:
    transaction.write(Changes(created=[an_instance("torn")], outbox=[an_outbox_row("b")], inbox=["m-2"]))
    os._exit(9)
"""


def test_a_process_killed_inside_a_transaction_leaves_what_it_committed_and_nothing_else(path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DYING, str(path)], cwd=REPOSITORY, check=False)
    assert killed.returncode == 9
    store = SqliteStore(path)
    assert [instance.key for instance in store.instances(InstanceFilter())] == ["committed"]
    assert [row.id for row in store.unpublished(9)] == [an_outbox_row("a").id]
    assert store.in_flight() == 1
    with store.transaction() as transaction:
        assert transaction.seen(["m-1", "m-2"]) == {"m-1"}
    store.close()


def test_what_was_written_is_there_when_the_file_is_opened_again(path: Path) -> None:
    instance = an_instance("o-1")
    store = SqliteStore(path)
    with store.transaction() as transaction:
        transaction.write(Changes(created=[instance]))
    store.close()
    again = SqliteStore(path)
    assert again.instance("order", "o-1") == instance
    again.close()
