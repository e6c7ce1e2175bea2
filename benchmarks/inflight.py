"""A burst of starts with the participants away, a kill, and the way back: all of it is bounded and comes home."""

import os
import signal
import time

import anyio

from benchmarks.figures import Sheet
from benchmarks.load import MIXED
from benchmarks.system import a_place, client_of, until
from services.processes import BROKER, ORCHESTRATOR, Fleet

MANY = 100_000
QUICK_MANY = 5_000
MIB_MAX = 400
PROGRESS_S_MAX = 3


async def inflight_rows(sheet: Sheet, *, many: int) -> None:
    """One round."""
    with a_place() as place:
        environ = place.environ(os.environ)
        middle = [p for p in place.programs if p.name in (BROKER, ORCHESTRATOR)]
        services = [p for p in place.programs if p.name not in (BROKER, ORCHESTRATOR)]
        with Fleet(place.folder, middle, environ) as core, Fleet(place.folder, services, environ) as participants:
            await anyio.to_thread.run_sync(core.start)
            async with client_of(place, core) as system:
                # Their topics are there once they have run; then they are away, and nothing gets beyond its first step.
                await anyio.to_thread.run_sync(participants.start)
                participants.stop()
                orders = system.orders(many, MIXED)
                began = time.perf_counter()
                await system.publish(orders)
                await until(lambda: system.store.in_flight() >= many)
                sheet.note(
                    f"{many:,} starts taken in, a second", many / (time.perf_counter() - began), "/s", better="more"
                )
                os.kill(system.pids()[ORCHESTRATOR], signal.SIGKILL)
                await anyio.to_thread.run_sync(participants.start)
                # The participants answer what lies in their topics: that is what it has to find when it is back.
                await anyio.sleep(2)
                began = time.perf_counter()
                core.revive()
                await until(lambda: system.count_in("reserve.pending") > 0)
                seconds = time.perf_counter() - began
                sheet.note(f"first progress after kill -9 with {many:,} in flight", seconds, "s", must=PROGRESS_S_MAX)
                seconds = await system.all_ended(orders) - began
                sheet.note(f"{many:,} in flight, until all have ended", seconds, "s")
                for name, mib in system.peak_mib().items():
                    sheet.note(f"peak memory after a burst of {many:,}, {name}", mib, "MiB", must=MIB_MAX)
                wal = place.settings.database("orchestrator").with_name("orchestrator.db-wal").stat().st_size
                sheet.note(f"write-ahead log after a burst of {many:,}", wal / 2**20, "MiB", must=64)
