"""The tables as they are in the file, and how they get there."""

import threading
from functools import partial
from pathlib import Path

import pytest

from sagas.errors import SchemaMismatch, StoreError
from sagas.ports import Changes, Migration, Sql
from sagas.store import outbox
from sagas.store.database import Database, IntegrityError
from sagas.store.migrations import migrate, require_migrated
from sagas.store.participant import SqliteParticipantStore
from sagas.store.schema import ORCHESTRATOR, PARTICIPANT, append_to_journal
from sagas.store.sqlite import SqliteStore
from tests.store.builders import (
    NOW_MS,
    a_barrier_row,
    an_outbox_row,
)

GUIDE_OUTBOX = {"id", "event_type", "payload", "created_at", "published_at", "aggregate_type", "aggregate_id"}
GUIDE_PROCESSED_EVENTS = {"event_id", "processed_at", "event_type"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sagas.db"


def names(database: Database) -> list[object]:
    return [name for (name,) in database.rows("SELECT name FROM schema_migrations ORDER BY rowid")]


@pytest.mark.parametrize("migrations", [ORCHESTRATOR, PARTICIPANT])
def test_every_table_is_strict(migrations: tuple[Migration, ...]) -> None:
    database = Database(":memory:")
    migrate(database, migrations)
    assert [table.name for table in database.tables.tables if not table.strict] in ([], ["sqlite_sequence"])
    database.close()


@pytest.mark.parametrize("migrations", [ORCHESTRATOR, PARTICIPANT])
def test_the_outbox_has_the_guides_columns(migrations: tuple[Migration, ...]) -> None:
    database = Database(":memory:")
    migrate(database, migrations)
    assert set(database.tables.table("outbox").columns_dict) == GUIDE_OUTBOX | {"seq", "topic", "key", "headers"}
    database.close()


def test_processed_events_have_the_guides_columns() -> None:
    database = Database(":memory:")
    migrate(database, PARTICIPANT)
    assert set(database.tables.table("processed_events").columns_dict) == GUIDE_PROCESSED_EVENTS
    database.close()


def test_the_publisher_reads_the_index_of_unpublished_rows_and_sorts_nothing() -> None:
    database = Database(":memory:")
    migrate(database, ORCHESTRATOR)
    plan = [row[-1] for row in database.rows(f"EXPLAIN QUERY PLAN {outbox.UNPUBLISHED}", (0, 100))]
    assert plan == ["SEARCH outbox USING INTEGER PRIMARY KEY (rowid>?)"], (
        "in the order of its key: no index, no sorting"
    )
    database.close()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM instances WHERE state = 's' ORDER BY id DESC LIMIT 9", "instances_state (state=?)"),
        ("SELECT * FROM instances WHERE key = 'k' ORDER BY id DESC LIMIT 9", "instances_key (key=?)"),
        ("SELECT min(due_ms) FROM timers", "timers_due"),
        ("SELECT min(expires_ms) FROM parked", "parked_expiry"),
        ("SELECT * FROM journal WHERE instance_id = 'i' ORDER BY revision", "journal_instance (instance_id=?)"),
    ],
)
def test_what_is_asked_often_is_answered_from_an_index(query: str, index: str) -> None:
    database = Database(":memory:")
    migrate(database, ORCHESTRATOR)
    plan = " ".join(row[-1] for row in database.rows(f"EXPLAIN QUERY PLAN {query}"))
    assert f"INDEX {index}" in plan
    database.close()


def test_opening_a_file_again_changes_nothing(path: Path) -> None:
    SqliteStore(path).close()
    before = path.read_bytes()
    SqliteStore(path).close()
    assert path.read_bytes() == before


def test_migrations_are_listed_in_their_order_with_their_time(path: Path) -> None:
    SqliteStore(path).close()
    database = Database(path)
    assert names(database) == [
        "orchestrator:001-instances",
        "orchestrator:002-messages",
        "orchestrator:003-audit",
        "orchestrator:004-dead-letters",
        "orchestrator:005-members",
        "orchestrator:006-feed",
        "orchestrator:007-definitions",
        "orchestrator:008-outbox-emptied",
        "orchestrator:009-inbox-age",
        "orchestrator:010-reading",
        "orchestrator:011-cleaning",
        "orchestrator:012-journal-appended",
    ]
    assert database.value("SELECT min(applied_at) FROM schema_migrations") > 1_700_000_000_000, "milliseconds"
    database.close()


def test_a_file_of_a_newer_release_is_refused_by_the_name_of_its_migration(path: Path) -> None:
    SqliteStore(path).close()
    database = Database(path)
    migrate(database, (*ORCHESTRATOR, ("orchestrator:003-from-the-future", lambda sql: None)))
    database.close()
    for read_only in (False, True):
        with pytest.raises(SchemaMismatch, match=r"'orchestrator:003-from-the-future'.*install the newer release"):
            SqliteStore(path, read_only=read_only)


@pytest.mark.parametrize(("copied_max", "is_appended"), [(3, True), (2, False)])
def test_a_journal_of_an_older_release_keeps_its_rows_and_a_large_one_its_layout(
    copied_max: int, is_appended: bool
) -> None:
    database = Database(":memory:")
    migrate(database, ORCHESTRATOR[:-1])
    rows = [
        (bytearray(b"i"), number, NOW_MS, "advance", "m", "", bytearray(b"in"), bytearray(b"mo"))
        for number in (1, 2, 3)
    ]
    with database.transaction():
        database.change_many("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    migrate(database, (*ORCHESTRATOR[:-1], (ORCHESTRATOR[-1][0], partial(append_to_journal, copied_max=copied_max))))
    assert database.rows("SELECT * FROM journal ORDER BY revision") == [tuple(row) for row in rows]
    with pytest.raises(IntegrityError, match=r"journal.instance_id, journal.revision"), database.transaction():
        database.change_many("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows[:1])
    assert database.value("SELECT count(*) FROM sqlite_master WHERE name = 'journal_instance'") == is_appended
    database.close()


def test_a_participants_file_is_not_taken_for_the_orchestrators(path: Path) -> None:
    SqliteParticipantStore(path).close()
    with pytest.raises(SchemaMismatch, match=r"'participant:001-barrier'.*name another file"):
        SqliteStore(path)


def test_a_reader_refuses_a_file_of_an_older_release_and_leaves_it_alone(path: Path) -> None:
    database = Database(path)
    migrate(database, ORCHESTRATOR[:1])
    with pytest.raises(SchemaMismatch, match=r"lacks the migration 'orchestrator:002-messages'"):
        SqliteStore(path, read_only=True)
    assert names(database) == ["orchestrator:001-instances"]
    database.close()


def test_a_reader_refuses_a_database_of_something_else(path: Path) -> None:
    Database(path).close()
    database = Database(path, read_only=True)
    with pytest.raises(SchemaMismatch, match="lacks the migration"):
        require_migrated(database, ORCHESTRATOR)
    database.close()


def test_a_file_with_a_table_of_our_name_is_refused_and_left_alone(path: Path) -> None:
    database = Database(path)
    with database.transaction():
        database.change("CREATE TABLE instances (mine TEXT) STRICT")
    with pytest.raises(StoreError, match=r"table instances already exists.*use a file of its own"):
        SqliteStore(path)
    assert database.tables.table_names() == ["instances"]
    database.close()


def test_two_processes_may_open_a_new_file_at_once(path: Path) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def open_and_close() -> None:
        start.wait()
        try:
            SqliteStore(path).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --------------------------------------------------------------------------- times that are kept for people


def test_the_inbox_says_when_a_message_was_dealt_with(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction() as transaction:
        transaction.write(Changes(now_ms=NOW_MS, inbox=["m"]))
    store.close()
    assert column(path, "inbox", "seen_at") == [NOW_MS]


def test_what_was_published_leaves_the_outbox_and_its_number_is_not_given_again(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction() as transaction:
        transaction.write(Changes(outbox=[an_outbox_row("reserve")]))
    (row,) = store.unpublished(9)
    store.mark_published([row.seq], NOW_MS + 1)
    assert column(path, "outbox", "seq") == []
    with store.transaction() as transaction:
        transaction.write(Changes(outbox=[an_outbox_row("pay")]))
    # Whoever published the first one as well marks it only now.
    store.mark_published([row.seq], NOW_MS + 2)
    store.close()
    assert column(path, "outbox", "seq") == [row.seq + 1]


def test_an_outbox_of_an_older_release_keeps_what_is_unpublished(path: Path) -> None:
    database = Database(path)
    older = [(name, change) for name, change in ORCHESTRATOR if name < "orchestrator:008"]
    migrate(database, older)
    with database.transaction():
        for published_at in ("NULL", "5", "NULL"):
            database.change(
                "INSERT INTO outbox (id, event_type, payload, created_at, published_at, aggregate_type, aggregate_id,"
                f" topic, key, headers) VALUES ('i', 't', x'7b', 1, {published_at}, 'a', 'b', 'c', 'd', x'80')"
            )
    database.close()
    store = SqliteStore(path)
    assert [row.seq for row in store.unpublished(9)] == [1, 3]
    store.close()


def test_the_barrier_says_when_an_operation_was_first_seen_and_last_answered(path: Path) -> None:
    store = SqliteParticipantStore(path)
    with store.transaction() as transaction:
        transaction.remember(a_barrier_row(), NOW_MS)
        transaction.amend(a_barrier_row(), NOW_MS + 4)
        transaction.remember(a_barrier_row("pay"), NOW_MS + 5)
    store.close()
    assert column(path, "barrier", "created_at") == [NOW_MS + 5, NOW_MS]
    assert column(path, "barrier", "updated_at") == [NOW_MS + 5, NOW_MS + 4]


def column(path: Path, table: str, name: str) -> list[object]:
    database = Database(path, read_only=True)
    values = [row[name] for row in database.records(table, order_by=f"{name} DESC")]
    database.close()
    return values


# --------------------------------------------------------------------------- a participant's own tables


def stock(sql: Sql) -> None:
    sql.execute("CREATE TABLE stock (item TEXT PRIMARY KEY NOT NULL) STRICT")


def prices(sql: Sql) -> None:
    sql.execute("ALTER TABLE stock ADD COLUMN price INTEGER NOT NULL DEFAULT 0")


def broken(sql: Sql) -> None:
    sql.execute("CREATE TABLE half (a TEXT) STRICT")
    sql.execute("INSERT INTO nowhere VALUES (1)")


def test_own_migrations_are_applied_once_each_as_they_are_added(path: Path) -> None:
    SqliteParticipantStore(path, [("001", stock)]).close()
    SqliteParticipantStore(path, [("001", stock), ("002", prices)]).close()
    SqliteParticipantStore(path, [("001", stock), ("002", prices)]).close()
    database = Database(path)
    assert names(database)[-2:] == ["own:001", "own:002"]
    assert set(database.tables.table("stock").columns_dict) == {"item", "price"}
    database.close()


def test_a_migration_that_fails_leaves_nothing_and_can_be_mended(path: Path) -> None:
    with pytest.raises(StoreError, match=r"'own:002' failed \(no such table: nowhere\) and was rolled back"):
        SqliteParticipantStore(path, [("001", stock), ("002", broken)])
    database = Database(path)
    assert "half" not in database.tables.table_names()
    assert names(database)[-1] == "own:001"
    database.close()
    SqliteParticipantStore(path, [("001", stock), ("002", prices)]).close()


def test_a_migration_that_was_taken_away_is_missed(path: Path) -> None:
    SqliteParticipantStore(path, [("001", stock)]).close()
    with pytest.raises(SchemaMismatch, match="'own:001'"):
        SqliteParticipantStore(path)


def test_two_migrations_of_one_name_are_refused(path: Path) -> None:
    with pytest.raises(StoreError, match="rename the later one"):
        SqliteParticipantStore(path, [("001", stock), ("001", prices)])
    assert not path.exists()


# --------------------------------------------------------------------------- what is not kept for ever


def test_the_inbox_forgets_its_oldest_messages_a_few_at_a_time(path: Path) -> None:
    store = SqliteStore(path)
    for age in range(6):
        with store.transaction() as transaction:
            transaction.write(Changes(now_ms=NOW_MS - age, inbox=[f"message {age}"]))
    assert store.cleaner.forget_seen(NOW_MS - 1, 3) == 3
    assert column(path, "inbox", "seen_at") == [NOW_MS, NOW_MS - 1, NOW_MS - 2]
    assert (store.cleaner.forget_seen(NOW_MS - 1, 3), store.cleaner.forget_seen(NOW_MS - 1, 3)) == (1, 0)
    assert column(path, "inbox", "seen_at") == [NOW_MS, NOW_MS - 1]
    store.close()


def test_the_log_beside_a_file_is_cut_after_a_burst(path: Path) -> None:
    database = Database(path)
    assert database.value("PRAGMA journal_size_limit") == 64 * 1024 * 1024
    database.close()
