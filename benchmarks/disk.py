"""What a saga leaves on the disk once everything that is only needed for a while has been cleaned away."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Sheet
from benchmarks.load import MIXED
from benchmarks.system import a_place, running

if TYPE_CHECKING:
    import sqlite3 as sqlite
else:
    import pysqlite3 as sqlite

KIB = 1024


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
            left = (_used_bytes(place.settings.database(name)) - before[name]) / orders / KIB
            if name == "orchestrator":
                sheet.note("on disk a saga, orchestrator, nothing cleaned", left, "KiB")
            else:
                sheet.note(f"on disk a saga, {name}, nothing cleaned", left, "KiB")


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
