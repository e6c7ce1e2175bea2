"""The whole system under load: its processes, orders published with the real client, and what they use.

Everything that production has is on: the broker, the orchestrator and four services as processes of their own, SQLite
with synchronous=FULL, inbox, journal, outbox and barrier. CPU, memory and sizes are read from /proc and from the files.
"""

import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import anyio
import msgspec

from sagas.broker.iggy import IggyBroker
from sagas.core.instance import COMPLETED
from sagas.ports import InstanceFilter, Outgoing
from sagas.store.sqlite import SqliteStore
from services import pidfile
from services.place import Place, place_of
from services.processes import Fleet, make_folders, pid_path
from services.stories import Kind, Story, message_of

STREAM = "bench"
CHUNK = 500
"""Orders in one publish."""

PLENTIFUL = ("123",)
"""What the shop has a million of: anything else is sold out after some hundred orders, which then end too early."""

LOOK_S = 0.02
_LOOK_AT_MAX = 500
WATCH_S = 0.003
WAIT_S_MAX = 600


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a number of orders took: seconds, and the CPU seconds of each process meanwhile."""

    count: int
    seconds: float
    cpu_s: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """Orders a second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds an order, of all processes together."""
        return sum(self.cpu_s.values()) * 1e3 / self.count


class System:
    """A running system, and one client of it."""

    def __init__(self, place: Place, fleet: Fleet, broker: IggyBroker, store: SqliteStore) -> None:
        self.place = place
        self.fleet = fleet
        self.store = store
        self._broker = broker
        self._published = 0
        self._prefix = uuid4().hex[:8]
        self._to_complete: set[str] = set()
        self._astray: set[str] = set()
        self._looks = sqlite3.connect(f"file:{place.settings.database('orchestrator')}?mode=ro", uri=True)

    # ----------------------------------------------------------------- orders

    def orders(self, count: int, kinds: Sequence[Kind] = ("delivered",)) -> list[Outgoing]:
        """`count` new orders, of these kinds in turn."""
        first, self._published = self._published, self._published + count
        stories = [
            Story(number=number, kind=kinds[number % len(kinds)], order_id=f"b-{self._prefix}-{number}")
            for number in range(first, first + count)
        ]
        self._to_complete |= {story.order_id for story in stories if story.is_to_complete}
        return [
            message_of(story, message_id=str(uuid4()), now_ns=time.time_ns(), products=PLENTIFUL) for story in stories
        ]

    async def publish(self, orders: Sequence[Outgoing]) -> None:
        """Place them, as fast as the broker takes them."""
        for at in range(0, len(orders), CHUNK):
            await self._broker.publish(orders[at : at + CHUNK])

    async def saturate(self, count: int, kinds: Sequence[Kind]) -> Load:
        """Place `count` orders at once and wait until all have ended."""
        orders = self.orders(count, kinds)
        before, began = self.cpu_s(), time.perf_counter()
        await self.publish(orders)
        seconds = await self.all_ended(orders) - began
        after = self.cpu_s()
        return Load(count=count, seconds=seconds, cpu_s={name: after[name] - before[name] for name in after})

    async def all_ended(self, orders: Sequence[Outgoing]) -> float:
        """Wait until each of them has ended, in whatever order; when the last was seen to, on the performance counter.

        Raises RuntimeError when too many came to another end than they should.
        """
        left: list[str] = [order.key for order in orders]
        seen = time.perf_counter()
        while left:
            await until(lambda: not self.store.in_flight())
            seen = time.perf_counter()
            # Nothing may be in flight because not all are read yet: then it is asked again.
            parts = (left[start : start + _LOOK_AT_MAX] for start in range(0, len(left), _LOOK_AT_MAX))
            ended = {key for part in parts for key in self.ended(part)}
            left = [key for key in left if key not in ended]
            await anyio.sleep(LOOK_S)
        return seen

    def ended(self, keys: Sequence[str]) -> list[str]:
        """Those of these orders that have come to their end, in one look: many looks would take what is measured."""
        marks = ",".join("?" * len(keys))
        sql = f"SELECT key, state FROM instances WHERE key IN ({marks}) AND is_live = 0"
        rows: list[tuple[str, str]] = self._looks.execute(sql, keys).fetchall()
        for key, state in rows:
            self._note_end(key, state)
        return [key for key, _ in rows]

    def close(self) -> None:
        """Look no more."""
        self._looks.close()

    def _note_end(self, key: str, state: str) -> None:
        if (state == COMPLETED) == (key in self._to_complete):
            return
        self._astray.add(key)
        # A machine that stands still for long may time a few out; more, and what was measured is another load.
        if len(self._astray) > self._published // 50:
            raise RuntimeError(
                f"{len(self._astray)} of {self._published} orders ended otherwise than meant, such as {key}: {state}"
            )

    async def one_at_a_time(self, count: int, kind: Kind) -> list[float]:
        """Milliseconds from placing an order to its end, with nothing else to do; the first sixth is left out."""
        took: list[float] = []
        for order in self.orders(count, (kind,)):
            began = time.perf_counter()
            await self.publish([order])
            await self._until_ended(order.key)
            took.append((time.perf_counter() - began) * 1e3)
        return took[count // 6 :]

    async def _until_ended(self, key: str) -> None:
        await until(lambda: bool(self.ended([key])), every_s=WATCH_S / 3)

    async def at_rate(self, per_second: int, seconds: float, kinds: Sequence[Kind]) -> list[float]:
        """Milliseconds from placing an order to its end, at a steady rate; every tenth order is watched."""
        orders = self.orders(int(per_second * seconds), kinds)
        took: list[float] = []
        waiting: dict[str, float] = {}
        is_over = False

        async def watch() -> None:
            while waiting or not is_over:
                for key in self.ended(list(waiting)):
                    took.append((time.perf_counter() - waiting.pop(key)) * 1e3)
                await anyio.sleep(WATCH_S)

        with anyio.fail_after(WAIT_S_MAX):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                began, at = time.perf_counter(), 0
                while at < len(orders):
                    due = min(len(orders), int((time.perf_counter() - began) * per_second) + 1)
                    now = time.perf_counter()
                    waiting.update((order.key, now) for order in orders[at:due:10])
                    await self.publish(orders[at:due])
                    at = due
                    await anyio.sleep(0.005)
                is_over = True
        await self.all_ended(orders[-50:])
        return took[len(took) // 10 :]

    # ----------------------------------------------------------------- what is used

    def pids(self) -> dict[str, int]:
        """The processes by name."""
        holders = {p.name: pidfile.holder(pid_path(self.place.folder, p.name)) for p in self.place.programs}
        return {name: pid for name, pid in holders.items() if pid is not None}

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds of each process since it began."""
        return {name: _cpu_s(pid) for name, pid in self.pids().items()}

    def peak_mib(self) -> dict[str, float]:
        """The most memory each process ever had, in MiB."""
        return {name: _status_kib(pid, "VmHWM") / 1024 for name, pid in self.pids().items()}

    def count_in(self, state: str) -> int:
        """How many orders are in a state."""
        return self.store.counts().get(state, 0)

    def list_ms(self, wanted: InstanceFilter) -> float:
        """Milliseconds for one page of instances."""
        began = time.perf_counter()
        self.store.instances(wanted)
        return (time.perf_counter() - began) * 1e3


async def until(condition: Callable[[], bool], *, every_s: float = LOOK_S) -> None:
    """Look every `every_s` until the condition holds. Raises TimeoutError after `WAIT_S_MAX`."""
    with anyio.fail_after(WAIT_S_MAX):
        while not condition():  # noqa: ASYNC110 - it comes true in another process
            await anyio.sleep(every_s)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_kib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


@contextmanager
def a_place() -> Generator[Place, None, None]:
    """A data folder that goes away, with an embedded broker or the server that IGGY_CONNECTION_STRING names."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_folders(folder)
        known = {k: v for k, v in os.environ.items() if k == "IGGY_CONNECTION_STRING"}
        yield place_of(known, folder, stream=f"{STREAM}-{uuid4().hex[:8]}", always_stream=True)


@asynccontextmanager
async def running(place: Place, environ: Mapping[str, str] | None = None) -> AsyncGenerator[System, None]:
    """The system in that place, up and stopped at the end."""
    with Fleet(place.folder, place.programs, {**place.environ(os.environ), **(environ or {})}) as fleet:
        await anyio.to_thread.run_sync(fleet.start)
        async with client_of(place, fleet) as system:
            yield system


@asynccontextmanager
async def client_of(place: Place, fleet: Fleet) -> AsyncGenerator[System, None]:
    """A client of a system that runs."""
    broker = IggyBroker.from_connection_string(place.settings.connection_string, stream=place.settings.stream)
    store = SqliteStore(place.settings.database("orchestrator"), read_only=True)
    try:
        with closing(System(place, fleet, broker, store)) as system:
            yield system
    finally:
        store.close()
        await broker.close()
