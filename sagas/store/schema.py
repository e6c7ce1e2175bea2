"""The tables, as ordered migrations. A migration that was released is never changed: add the next one.

All tables are STRICT. Times are Unix time in milliseconds. Columns of type ANY hold an id: 16 bytes
for a UUID, text for anything else (`encoding.py`). `record` is what counts of a row that has one; the
columns beside it are there to be searched by and are written together with it.

Tables that are read by their key only are WITHOUT ROWID: one tree instead of two. The keys begin
with ids that sort by time, so that rows of one instance lie side by side and new ones at the end.

The journal is not (since 012): a batch enters one row for each of many instances, and side by side with their other
rows that is a page for each. So rows lie in the order of time, and an index of keys only finds an instance's.
"""

from collections.abc import Callable

from sagas.ports import Migration, Sql
from sagas.store import reading
from sagas.store.schema_messages import DEAD_LETTERS, DEAD_LETTERS_SETTLED, OUTBOX, OUTBOX_EMPTIED

_INSTANCES = (
    """
    CREATE TABLE instances (
        id ANY PRIMARY KEY NOT NULL,
        saga TEXT NOT NULL,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        is_live INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT
    """,
    # Key first, so that an operator can look a key up without naming the saga.
    "CREATE UNIQUE INDEX instances_key ON instances (key, saga)",
    "CREATE INDEX instances_state ON instances (state, id)",
    # How many are live is asked for at every turn of the runtime's loop: a number that is kept costs
    # two small writes in an instance's life, counting costs a walk over all live ones each time.
    "CREATE TABLE totals (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO totals (name, value) VALUES ('live', 0)",
    """
    CREATE TRIGGER instances_created AFTER INSERT ON instances WHEN new.is_live BEGIN
        UPDATE totals SET value = value + 1 WHERE name = 'live';
    END
    """,
    """
    CREATE TRIGGER instances_moved AFTER UPDATE OF is_live ON instances WHEN new.is_live <> old.is_live BEGIN
        UPDATE totals SET value = value + new.is_live - old.is_live WHERE name = 'live';
    END
    """,
    """
    CREATE TRIGGER instances_removed AFTER DELETE ON instances WHEN old.is_live BEGIN
        UPDATE totals SET value = value - 1 WHERE name = 'live';
    END
    """,
)

_MESSAGES = (
    "CREATE TABLE inbox (message_id ANY PRIMARY KEY NOT NULL, seen_at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE parked (
        message_id ANY PRIMARY KEY NOT NULL,
        instance_id ANY NOT NULL,
        received_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX parked_instance ON parked (instance_id, received_ms)",
    "CREATE INDEX parked_expiry ON parked (expires_ms)",
)

_JOURNAL_COLUMNS = """
        instance_id ANY NOT NULL,
        revision INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        verdict TEXT NOT NULL,
        message_id ANY NOT NULL,
        note TEXT NOT NULL,
        input BLOB NOT NULL,
        moves BLOB NOT NULL"""

_JOURNAL = (
    f"""
    CREATE TABLE journal ({_JOURNAL_COLUMNS},
        PRIMARY KEY (instance_id, revision)
    ) STRICT, WITHOUT ROWID
    """,
)

_APPENDED_JOURNAL = (
    f"CREATE TABLE appended_journal ({_JOURNAL_COLUMNS}) STRICT",
    "INSERT INTO appended_journal SELECT * FROM journal ORDER BY instance_id, revision",
    "DROP TABLE journal",
    "ALTER TABLE appended_journal RENAME TO journal",
    "CREATE UNIQUE INDEX journal_instance ON journal (instance_id, revision)",
)

COPIED_MAX = 200_000
"""Rows of the journal that are copied into another layout, in a second; a larger one stays as it is, and is as good."""

_TIMERS = (
    """
    CREATE TABLE timers (
        instance_id ANY NOT NULL,
        name TEXT NOT NULL,
        due_ms INTEGER NOT NULL,
        fire BLOB NOT NULL,
        PRIMARY KEY (instance_id, name)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX timers_due ON timers (due_ms)",
)

_AUDIT = (
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        instance_id ANY NOT NULL,
        revision INTEGER NOT NULL,
        who TEXT NOT NULL,
        action TEXT NOT NULL,
        reason TEXT NOT NULL,
        path TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX audit_instance ON audit (instance_id, id)",
    "CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit is kept for ever'); END",
    "CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is never changed'); END",
)

_MEMBERS = (
    """
    CREATE TABLE members (
        epoch INTEGER PRIMARY KEY,
        process TEXT NOT NULL,
        renewed_ms INTEGER NOT NULL,
        read_ms INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO totals (name, value) VALUES ('epoch', 0)",
)

_FEED = (
    """
    CREATE TABLE feed (
        seq INTEGER PRIMARY KEY,
        instance_id ANY NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO totals (name, value) VALUES ('feeding', 0), ('fed', 0)",
)

_DEFINITIONS = (
    # What a run needs of the definition it began under: a release that has only a newer one can compare.
    """
    CREATE TABLE definitions (
        saga TEXT NOT NULL,
        version INTEGER NOT NULL,
        content TEXT NOT NULL,
        shape BLOB NOT NULL,
        first_ms INTEGER NOT NULL,
        PRIMARY KEY (saga, version, content)
    ) STRICT, WITHOUT ROWID
    """,
)

_CLEANING = (
    # Up to which revision an instance's journal was cleaned away: what is missing above that is a loss.
    "ALTER TABLE instances ADD COLUMN cleaned INTEGER NOT NULL DEFAULT 0",
    # What is left of a run that was purged, as long as a message can still bring its key or its id.
    """
    CREATE TABLE tombstones (
        instance_id ANY PRIMARY KEY NOT NULL,
        saga TEXT NOT NULL,
        key TEXT NOT NULL,
        purged_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX tombstones_key ON tombstones (key, saga)",
    "CREATE INDEX tombstones_age ON tombstones (purged_ms)",
)

_BARRIER = (
    """
    CREATE TABLE barrier (
        instance_id ANY NOT NULL,
        step TEXT NOT NULL,
        operation TEXT NOT NULL CHECK (operation IN ('do', 'undo')),
        command_hash BLOB NOT NULL,
        answer TEXT NOT NULL,
        answer_data BLOB NOT NULL,
        is_blocked INTEGER NOT NULL CHECK (is_blocked IN (0, 1)),
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        PRIMARY KEY (instance_id, step, operation)
    ) STRICT, WITHOUT ROWID
    """,
)

_BARRIER_FORGOTTEN = (
    # One row: what was last touched before this time may be missing in the barrier.
    "CREATE TABLE barrier_forgotten (before_ms INTEGER NOT NULL) STRICT",
    "INSERT INTO barrier_forgotten (before_ms) VALUES (0)",
)

_BARRIER_REFUSALS = (
    # Whether the answer was a refusal: a later release may not know its name any more. NULL: an older one wrote it.
    "ALTER TABLE barrier ADD COLUMN is_refusal INTEGER",
)

_RESTORED = (
    # What a person has said of a file that came back from a backup: answers given before `before_ms` may be missing.
    """
    CREATE TABLE restored (
        at_ms INTEGER NOT NULL,
        before_ms INTEGER NOT NULL,
        how TEXT NOT NULL,
        who TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT
    """,
)

_PROCESSED_EVENTS = (
    """
    CREATE TABLE processed_events (
        event_id ANY PRIMARY KEY NOT NULL,
        processed_at INTEGER NOT NULL,
        event_type TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX processed_events_age ON processed_events (processed_at)",
)


def _script(*statements: str) -> Callable[[Sql], None]:
    def apply(sql: Sql) -> None:
        for statement in statements:
            sql.execute(statement)

    return apply


def append_to_journal(sql: Sql, copied_max: int = COPIED_MAX) -> None:
    """Have the journal's rows in the order of time, unless more than `copied_max` are there already."""
    more = sql.execute("SELECT 1 FROM journal LIMIT 1 OFFSET ?", (copied_max,)).fetchone()
    if more is None:
        _script(*_APPENDED_JOURNAL)(sql)


ORCHESTRATOR: tuple[Migration, ...] = (
    ("orchestrator:001-instances", _script(*_INSTANCES, *_JOURNAL, *_TIMERS)),
    ("orchestrator:002-messages", _script(*_MESSAGES, *OUTBOX, *DEAD_LETTERS)),
    ("orchestrator:003-audit", _script(*_AUDIT)),
    ("orchestrator:004-dead-letters", _script(*DEAD_LETTERS_SETTLED)),
    ("orchestrator:005-members", _script(*_MEMBERS)),
    ("orchestrator:006-feed", _script(*_FEED)),
    ("orchestrator:007-definitions", _script(*_DEFINITIONS)),
    ("orchestrator:008-outbox-emptied", _script(*OUTBOX_EMPTIED)),
    ("orchestrator:009-inbox-age", _script("CREATE INDEX inbox_age ON inbox (seen_at)")),
    ("orchestrator:010-reading", _script(reading.TABLE, "ALTER TABLE members DROP COLUMN read_ms")),
    ("orchestrator:011-cleaning", _script(*_CLEANING)),
    ("orchestrator:012-journal-appended", append_to_journal),
)
"""The orchestrator's database."""

PARTICIPANT: tuple[Migration, ...] = (
    ("participant:001-barrier", _script(*_BARRIER, *_PROCESSED_EVENTS)),
    ("participant:002-messages", _script(*OUTBOX, *DEAD_LETTERS)),
    ("participant:003-dead-letters", _script(*DEAD_LETTERS_SETTLED)),
    ("participant:004-outbox-emptied", _script(*OUTBOX_EMPTIED)),
    ("participant:005-barrier-forgotten", _script(*_BARRIER_FORGOTTEN)),
    ("participant:006-barrier-refusals", _script(*_BARRIER_REFUSALS)),
    ("participant:007-restored", _script(*_RESTORED)),
)
"""The kit's tables in a participant's database."""

OWN_PREFIX = "own:"
"""Before the names of a participant's own migrations, so that they never meet one of the kit's."""
