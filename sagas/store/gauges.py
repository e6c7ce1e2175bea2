"""What a database says about its own state: how much waits, and for how long.

Read on a connection of its own that is closed again, so that whoever looks neither waits for the process that writes
nor holds up its log. Every query walks over what waits, and over nothing else.
"""

from contextlib import closing
from pathlib import Path

import msgspec

from sagas.core.instance import STUCK
from sagas.records import Gauges
from sagas.store.database import Database

_OUTBOX = "SELECT count(*), min(created_at) FROM outbox"  # what is published is taken away
_LETTERS = "SELECT count(*) FROM dead_letters WHERE settled_as = ''"
_TIMERS = "SELECT count(*), min(due_ms) FROM timers WHERE due_ms <= ?"
_STUCK = "SELECT saga, count(*) FROM instances WHERE state = ? GROUP BY saga"
_LIVE = "SELECT value FROM totals WHERE name = 'live'"


def read_gauges(path: Path, now_ms: int, *, is_orchestrator: bool) -> Gauges:
    """What waits in the database file `path`. Raises StoreError when it cannot be read."""
    with closing(Database(path, read_only=True)) as database:
        rows, oldest = database.rows(_OUTBOX)[0]
        gauges = Gauges(outbox_rows=rows, outbox_oldest_ms=oldest, letters_open=database.value(_LETTERS))
        if not is_orchestrator:
            return gauges
        overdue, due_ms = database.rows(_TIMERS, (now_ms,))[0]
        return msgspec.structs.replace(
            gauges,
            timers_overdue=overdue,
            timer_oldest_ms=due_ms,
            in_flight=int(database.value(_LIVE)),
            stuck=dict(database.rows(_STUCK, (STUCK,))),
        )
