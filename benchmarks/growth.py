"""What many stored sagas cost: throughput and lists with a thousand of them, a hundred thousand and a million."""

import time
from statistics import median
from uuid import uuid4

import msgspec

from benchmarks.figures import Sheet, percentile
from benchmarks.limits import NOW_MS, completed_run
from benchmarks.load import MIXED
from benchmarks.system import System, a_place, running
from sagas.core.ids import instance_id
from sagas.core.instance import Instance
from sagas.ports import InstanceFilter, JournalRow
from sagas.runtime.rows import journal_row
from sagas.store.database import Database
from sagas.store.encoding import blob, unpack_id
from sagas.store.records import journal_parameters, pack_instance
from sagas.store.sqlite import SqliteStore
from services.place import Place

FEW, SOME, MANY = 1_000, 100_000, 1_000_000
QUICK_MANY = 50_000
LIST_MS_MAX = 50
LISTS = 200
_PART = 5_000

_CREATE = """
    INSERT INTO instances (id, saga, key, state, is_live, revision, updated_ms, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_JOURNAL = """
    INSERT INTO journal (instance_id, revision, at_ms, verdict, message_id, note, input, moves)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_SEE = "INSERT INTO inbox (message_id, seen_at) VALUES (?, ?)"


async def growth_rows(sheet: Sheet, *, many: int, orders: int) -> None:
    """One round with few of them and with each number up to `many`."""
    few = await _with_stored(sheet, FEW, orders)
    for count in sorted({count for count in (SOME, many) if count <= many}):
        rate = await _with_stored(sheet, count, orders)
        sheet.note(f"throughput with {count:,} stored, as a share", rate / few, better="more", must=0.9)


async def _with_stored(sheet: Sheet, count: int, orders: int) -> float:
    with a_place() as place:
        fill(place, count)
        async with running(place) as system:
            await system.saturate(orders // 4, MIXED)
            load = await system.saturate(orders, MIXED)
            sheet.note(f"sagas at saturation with {count:,} stored", load.per_second, "/s", better="more")
            _lists(sheet, system, count)
        return load.per_second


def _lists(sheet: Sheet, system: System, count: int) -> None:
    keys = [f"stored-{number * count // LISTS}" for number in range(LISTS)]
    by_key = [system.list_ms(InstanceFilter(saga="order", key=key, count_max=50)) for key in keys]
    by_state = [system.list_ms(InstanceFilter(saga="order", state="completed", count_max=50)) for _ in keys]
    sheet.note(f"list of 50 by state, of {count:,}, p99", percentile(by_state, 0.99), "ms", must=LIST_MS_MAX)
    sheet.note(f"list by key, of {count:,}, p99", percentile(by_key, 0.99), "ms", must=LIST_MS_MAX)
    sheet.note(f"list of 50 by state, of {count:,}, p50", median(by_state), "ms")


def fill(place: Place, count: int) -> None:
    """Store `count` sagas that completed lately, with their journals and what the inbox remembers of them.

    The rows are those that the store writes, in its schema and with its functions, but by one statement for each table
    and without deciding anything: a million take a minute instead of a quarter of an hour.
    """
    path = place.settings.database("orchestrator")
    SqliteStore(path).close()
    database = Database(path)
    try:
        first_ms = int(time.time() * 1e3) - count - 86_400_000
        run, journal = _completed()
        steps = [journal_parameters(row) for row in journal]
        for at in range(0, count, _PART):
            with database.transaction():
                _write(database, run, steps, range(at, min(count, at + _PART)), first_ms)
    finally:
        database.close()


def _completed() -> tuple[Instance, list[JournalRow]]:
    before, rows = None, list[JournalRow]()
    for message, decision in completed_run():
        rows.append(journal_row(before, decision, message, str(uuid4()), NOW_MS))
        before = decision.instance
    assert before is not None
    return before, rows


def _write(database: Database, run: Instance, steps: list[tuple[object, ...]], numbers: range, first_ms: int) -> None:
    ids = [bytes.fromhex(instance_id("order", f"stored-{n}", first_ms + n).replace("-", "")) for n in numbers]
    runs = [
        msgspec.structs.replace(
            run,
            id=unpack_id(i),
            key=f"stored-{n}",
            started_ms=first_ms + n,
            updated_ms=first_ms + n,
            begun_by=unpack_id(i[:-1] + bytes(1)),
        )
        for n, i in zip(numbers, ids, strict=True)
    ]
    database.change_many(
        _CREATE,
        [
            (blob(i), r.saga, r.key, r.state, 0, r.revision, r.updated_ms, pack_instance(r))
            for i, r in zip(ids, runs, strict=True)
        ],
    )
    # Ids of messages begin as their run's does.
    told = [(i, number, i[:-1] + bytes([number]), step) for i in ids for number, step in enumerate(steps)]
    journal = [(blob(i), *step[1:4], blob(message), *step[5:]) for i, _, message, step in told]
    database.change_many(_ADD_JOURNAL, journal)
    # What began a run is known by the run.
    database.change_many(_SEE, [(blob(message), first_ms + numbers.stop) for _, number, message, _ in told if number])
