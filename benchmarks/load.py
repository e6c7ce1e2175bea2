"""A round of the running system: idle, one at a time, at a rate, at saturation, and what lies on the disk after it."""

import time
from collections.abc import Sequence
from statistics import harmonic_mean, median

import anyio
import anyio.to_thread
import msgspec

from benchmarks.figures import Sheet, percentile
from benchmarks.own_rows import own_rows_per_second
from benchmarks.system import Load, System, a_place, running
from services.stories import Kind

MIXED: Sequence[Kind] = ("delivered", "delivered", "delivered", "delivered", "card declined")
"""One in five turns back, as on a bad day."""
DECLINED: Sequence[Kind] = ("card declined",)

RATE_PER_SECOND = 1_000
"""Of the row that no other engine reaches."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is run in a round."""

    single: int
    mixed: int
    declined: int
    rate_s: float
    idle_s: float


FULL = Sizes(single=90, mixed=20_000, declined=4_000, rate_s=8, idle_s=20)
QUICK = Sizes(single=36, mixed=2_000, declined=1_000, rate_s=3, idle_s=3)


async def system_rows(sheet: Sheet, sizes: Sizes) -> None:
    """One round."""
    with a_place() as place:
        async with running(place) as system:
            await system.saturate(200, MIXED)  # warm: code paths, caches, connections
            await _idle(sheet, system, sizes)
            await _one_at_a_time(sheet, system, sizes)
            mixed = await _at_saturation(sheet, system, sizes)
            declined = await system.saturate(sizes.declined, DECLINED)
            sheet.note("throughput when every payment fails", declined.per_second, "/s", better="more")
            sheet.note(
                "the same as a share of the mixed one", declined.per_second / mixed.per_second, better="more", must=0.8
            )
            await _at_rates(sheet, system, sizes, mixed)
            for name, mib in system.peak_mib().items():
                sheet.note(f"peak memory, {name}", mib, "MiB", must=400)


async def _idle(sheet: Sheet, system: System, sizes: Sizes) -> None:
    await anyio.sleep(1)
    before, began = system.cpu_s(), time.perf_counter()
    await anyio.sleep(sizes.idle_s)
    seconds = time.perf_counter() - began
    busiest = max((after - before[name]) / seconds for name, after in system.cpu_s().items())
    sheet.note("CPU of the busiest process when idle", busiest * 100, "%", must=2)
    (first,) = (await system.one_at_a_time(2, "delivered"))[:1]
    sheet.note("first order after the quiet", first, "ms", must=150)


async def _one_at_a_time(sheet: Sheet, system: System, sizes: Sizes) -> None:
    took = await system.one_at_a_time(sizes.single, "delivered")
    sheet.note("one at a time, p50", median(took), "ms", must=20, aim=12)
    sheet.note("one at a time, p99", percentile(took, 0.99), "ms", must=35, aim=20)
    failing = await system.one_at_a_time(sizes.single // 3, "card declined")
    sheet.note("one at a time with a payment that fails, p50", median(failing), "ms")


async def _at_saturation(sheet: Sheet, system: System, sizes: Sizes) -> Load:
    # Right before and right after it: a shared machine is twice as fast in one minute as in the next.
    before = await anyio.to_thread.run_sync(own_rows_per_second, MIXED)
    mixed = await system.saturate(sizes.mixed, MIXED)
    after = await anyio.to_thread.run_sync(own_rows_per_second, MIXED)
    limit = harmonic_mean([before, after])
    sheet.note("sagas at saturation", mixed.per_second, "/s", better="more")
    sheet.note("limit: the orchestrator's rows, bare executemany", limit, "sagas/s", better="more")
    sheet.note("share of the limit of its rows", mixed.per_second / limit, better="more", must=0.35)
    sheet.note("CPU a saga, all processes", mixed.cpu_ms, "ms", must=1.0, aim=0.45)
    for name, seconds in mixed.cpu_s.items():
        sheet.note(f"CPU a saga, {name}", seconds * 1e3 / mixed.count, "ms")
    return mixed


async def _at_rates(sheet: Sheet, system: System, sizes: Sizes, mixed: Load) -> None:
    if mixed.per_second > RATE_PER_SECOND:
        steady = await system.at_rate(RATE_PER_SECOND, sizes.rate_s, MIXED)
        sheet.note("p50 at 1,000 sagas/s", median(steady), "ms", must=50, aim=25)
        sheet.note("p99 at 1,000 sagas/s", percentile(steady, 0.99), "ms")
    half = await system.at_rate(int(mixed.per_second / 2), sizes.rate_s, MIXED)
    sheet.note("p50 at half of saturation", median(half), "ms")
    sheet.note("p99 at half of saturation", percentile(half, 0.99), "ms", must=150)
