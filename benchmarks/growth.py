"""What many stored sagas cost: throughput and lists with a thousand of them, and with a million."""

import time
from statistics import median
from uuid import uuid4

import msgspec

from benchmarks.figures import Sheet, percentile
from benchmarks.limits import NOW_MS, completed_run
from benchmarks.load import MIXED
from benchmarks.system import System, a_place, running
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import Instance
from sagas.ports import Changes, InstanceFilter, JournalRow
from sagas.runtime.rows import journal_row
from sagas.store.sqlite import SqliteStore
from services.place import Place

FEW, MANY = 1_000, 1_000_000
QUICK_MANY = 50_000
LIST_MS_MAX = 50
LISTS = 200
_PART = 5_000


async def growth_rows(sheet: Sheet, *, many: int, orders: int) -> None:
    """One round of both."""
    few = await _with_stored(sheet, FEW, orders)
    lots = await _with_stored(sheet, many, orders)
    sheet.note(f"throughput with {many:,} stored, as a share", lots / few, better="more", must=0.9)


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
    """Store `count` sagas that have completed, with their journals and inbox, through the store itself."""
    store = SqliteStore(place.settings.database("orchestrator"))
    try:
        first_ms = int(time.time() * 1e3) - count - 86_400_000
        run, journal = _completed()
        for at in range(0, count, _PART):
            numbers = range(at, min(count, at + _PART))
            with store.transaction() as transaction:
                transaction.write(_changes(run, journal, numbers, first_ms))
    finally:
        store.close()


def _completed() -> tuple[Instance, list[JournalRow]]:
    before, rows = None, list[JournalRow]()
    for message, decision in completed_run():
        rows.append(journal_row(before, decision, message, str(uuid4()), NOW_MS))
        before = decision.instance
    assert before is not None
    return before, rows


def _changes(run: Instance, journal: list[JournalRow], numbers: range, first_ms: int) -> Changes:
    changes = Changes(now_ms=first_ms + numbers.stop, inbox=[], created=[], journal=[])
    for number in numbers:
        key = f"stored-{number}"
        instance = instance_id("order", key, first_ms + number)
        changes.created.append(msgspec.structs.replace(run, id=instance, key=key))
        for row in journal:
            message = derived_id(instance, str(row.revision))
            changes.inbox.append(message)
            changes.journal.append(msgspec.structs.replace(row, instance_id=instance, message_id=message))
    return changes
