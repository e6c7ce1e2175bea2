"""The tables that the orchestrator's and every participant's database have, in the parts of their migrations."""

OUTBOX = (
    """
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY,
        id ANY NOT NULL,
        event_type TEXT NOT NULL,
        payload BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        published_at INTEGER,
        aggregate_type TEXT NOT NULL,
        aggregate_id ANY NOT NULL,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        headers BLOB NOT NULL
    ) STRICT
    """,
    # By seq, not by created_at: two rows of one millisecond still have an order.
    "CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL",
)
"""What is to be published, as it was first."""

DEAD_LETTERS = (
    """
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY,
        received_ms INTEGER NOT NULL,
        topic TEXT NOT NULL,
        "partition" INTEGER NOT NULL,
        "offset" INTEGER NOT NULL,
        message_id ANY NOT NULL,
        reason TEXT NOT NULL,
        payload BLOB NOT NULL,
        headers BLOB NOT NULL
    ) STRICT
    """,
)
"""What could not be dealt with."""

DEAD_LETTERS_SETTLED = (
    "ALTER TABLE dead_letters ADD COLUMN key TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE dead_letters ADD COLUMN size INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE dead_letters ADD COLUMN is_whole INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE dead_letters ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE dead_letters ADD COLUMN settled_as TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE dead_letters ADD COLUMN settled_at INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE dead_letters ADD COLUMN settled_by TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE dead_letters ADD COLUMN settle_reason TEXT NOT NULL DEFAULT ''",
    "UPDATE dead_letters SET size = length(payload)",
    "CREATE INDEX dead_letters_open ON dead_letters (id) WHERE settled_as = ''",
    # What a person did with a letter is its audit: it can be neither changed nor taken away.
    """
    CREATE TRIGGER dead_letters_settled BEFORE UPDATE ON dead_letters WHEN old.settled_as <> '' BEGIN
        SELECT raise(ABORT, 'a dead letter is settled once');
    END
    """,
    """
    CREATE TRIGGER dead_letters_kept BEFORE DELETE ON dead_letters BEGIN
        SELECT raise(ABORT, 'dead letters are kept; discard them');
    END
    """,
)
"""And what a person did about it."""

OUTBOX_EMPTIED = (
    # What was published is taken away from here on, and AUTOINCREMENT gives no number twice: otherwise a row
    # could be taken away in place of an earlier one. `published_at` stays empty: a row that is there is unpublished.
    """
    CREATE TABLE outbox_emptied (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id ANY NOT NULL,
        event_type TEXT NOT NULL,
        payload BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        published_at INTEGER,
        aggregate_type TEXT NOT NULL,
        aggregate_id ANY NOT NULL,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        headers BLOB NOT NULL
    ) STRICT
    """,
    "INSERT INTO outbox_emptied SELECT * FROM outbox WHERE published_at IS NULL ORDER BY seq",
    "DROP TABLE outbox",
    "ALTER TABLE outbox_emptied RENAME TO outbox",
)
"""What is to be published, and nothing else."""
