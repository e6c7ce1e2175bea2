"""What a saga leaves on the disk: when it has just ended, and once all that is kept for a while only is cleaned away.

The latter is what is left after the processes' own cleaning, with the defaults, on a day so far ahead that nothing is
young enough to be kept: it takes the same steps in the same code, and the longest of them is told as well.
"""

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.alone import SERVICES
from benchmarks.figures import Sheet
from benchmarks.load import MIXED
from benchmarks.system import a_place, running
from sagas.runtime.cleaning import DAY_MS, STEP_EVERY_MS, Keeping, runs_cleaning, service_cleaning
from sagas.store.participant import SqliteParticipantStore
from sagas.store.sqlite import SqliteStore
from services.place import Place
from services.processes import ORCHESTRATOR

if TYPE_CHECKING:
    import sqlite3 as sqlite
else:
    import pysqlite3 as sqlite

KB = 1000
"""As the figures are given that these are held against."""

MIGRATIONS = {service.participant.name: migrations for service, migrations in SERVICES.items()}


LATER_MS = 100 * DAY_MS
"""Longer than anything is kept that is not kept for ever."""

ORCHESTRATOR_KB, SERVICE_KB = 3, 1.2


async def disk_rows(sheet: Sheet, *, orders: int) -> None:
    """One round. The sizes are of the pages in use, measured when the processes have ended."""
    with a_place() as place:
        before: dict[str, int] = {}
        async with running(place) as system:
            await system.saturate(10, MIXED)
        names = [p.name for p in place.programs if p.name != "broker"]
        before = {name: _used_bytes(place.settings.database(name)) for name in names}
        async with running(place) as system:
            await system.saturate(orders, MIXED)
        for name in names:
            full = (_used_bytes(place.settings.database(name)) - before[name]) / orders / KB
            sheet.note(f"on disk a saga, {name}, nothing cleaned", full, "KB")
        for name in names:
            longest_ms = _clean(place, name)
            left = (_used_bytes(place.settings.database(name)) - before[name]) / orders / KB
            must, aim = (ORCHESTRATOR_KB, SERVICE_KB) if name == ORCHESTRATOR else (SERVICE_KB, None)
            sheet.note(f"on disk a saga, {name}, after cleanup", left, "KB", must=must, aim=aim)
            sheet.note(f"longest step of cleaning, {name}", longest_ms, "ms")


def _clean(place: Place, name: str) -> float:
    """Clean as on a day far ahead, to the end; how long the longest turn took, in ms."""
    longest_ms, now_ms = 0.0, int(time.time() * 1000) + LATER_MS
    with closing(_store(place, name)) as store:
        if isinstance(store, SqliteStore):
            cleaning = runs_cleaning(store.cleaner, Keeping())
        else:
            cleaning = service_cleaning(store, Keeping())
        while cleaning.is_due(now_ms):
            began = time.perf_counter()
            cleaning.step(now_ms)
            longest_ms = max(longest_ms, (time.perf_counter() - began) * 1e3)
            now_ms += STEP_EVERY_MS
    return longest_ms


def _store(place: Place, name: str) -> SqliteStore | SqliteParticipantStore:
    path = place.settings.database(name)
    return SqliteStore(path) if name == ORCHESTRATOR else SqliteParticipantStore(path, MIGRATIONS[name])


def _used_bytes(path: Path) -> int:
    connection = sqlite.connect(str(path))
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
    finally:
        connection.close()
