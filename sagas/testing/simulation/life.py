"""One life of a process, from its start to its crash, and what all processes of a run share.

Theory of operation. Everything a process does to the outside passes its `Life`: every port call asks it first
whether the process still lives, and the life may end right there (`points.py`). The node makes a new
life after a while, with new objects on the same database.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any, TypeVar, TypeVarTuple

from sagas.testing.simulation.faults import Faults
from sagas.testing.simulation.history import History
from sagas.testing.simulation.loop import SimulatedLoop
from sagas.testing.simulation.points import CLOCK, Crash, Points, Role

BEGINS_MS = 1_735_689_600_000
"""When every run begins: 2025-01-01T00:00:00Z. Ids carry the time, so a fixed one makes them repeatable."""

CALM = Faults()
"""No fault at all."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Scene:
    """What all processes of a run share: time, chance, the faults that are on, and the record."""

    def __init__(self, loop: SimulatedLoop, faults: Faults, seed: int, *, timers: bool, delays: bool = False) -> None:
        self.loop = loop
        self.faults = faults
        self.timers = timers
        self.delays = delays
        """Whether a saga has delays, which end without timers as well."""
        self.points = Points()
        self.history = History()
        self.random = Random(f"{seed}:chance")
        self.is_over = False
        self.jumped_ms = 0
        self.lives: dict[str, Life] = {}
        """Each that ever was, by its identity."""
        self.is_member: Callable[[int], bool] = lambda _: False
        """Whether the broker holds somebody of this number for a member."""
        self._tasks: list[asyncio.Task[None]] = []

    def now_ms(self) -> int:
        """The time of the world: of the broker and of every process whose clock did not jump."""
        self.history.now_ms = BEGINS_MS + int(self.loop.time() * 1000)
        return self.history.now_ms

    async def sleep_ms(self, duration_ms: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(duration_ms / 1000)

    def chance(self, rate: float) -> bool:
        """Whether something happens that has this probability."""
        return rate > 0 and self.random.random() < rate

    def up_to(self, high: float) -> float:
        """Some number from 0 to `high`."""
        return self.random.random() * high

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task that belongs to no process."""
        self._tasks.append(self.loop.create_task(work, name=name))

    async def end(self) -> None:
        """Stop what still runs besides the processes."""
        self.is_over = True
        await cancel(self._tasks)

    def calm(self) -> None:
        """No new fault from now on."""
        self.faults = CALM
        self.points.stop()

    def note(self, who: str, what: str) -> None:
        """Put something on record."""
        self.now_ms()
        self.history.note(who, what)


class WorldClock:
    """The `Clock` port on the world's time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def now_ms(self) -> int:
        """UTC, Unix time in milliseconds."""
        return self._scene.now_ms()

    async def sleep_ms(self, duration_ms: int) -> None:
        """Let virtual time pass."""
        await self._scene.sleep_ms(duration_ms)


class Life:
    """A process between its start and its end."""

    def __init__(self, scene: Scene, name: str, role: Role, *, is_mortal: bool = True) -> None:
        self.scene = scene
        self.name = name
        self.role: Role = role
        self.identity = f"{name} life {len(scene.lives) + 1}"
        scene.lives[self.identity] = self
        self.is_alive = True
        self.ended: asyncio.Future[None] = scene.loop.create_future()
        self.members: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.is_mortal = is_mortal
        self._paused_until_s = 0.0

    def reach(self, name: str) -> None:
        """A port call. Raises Crash when this life has ended, or ends here."""
        if not self.is_mortal:
            return
        if not self.is_alive:
            raise Crash(name)
        if self.scene.points.visit(self.role, name):
            self.scene.points.note_crash(self.role, name)
            self.crash(name)
            raise Crash(name)

    def crash(self, where: str) -> None:
        """Be gone, as with kill -9."""
        if self.is_alive:
            self.scene.history.crashes += 1
            self.end(f"crashes at {where}")

    def end(self, why: str) -> None:
        """Be over."""
        if self.is_alive:
            self.is_alive = False
            self.scene.note(self.name, why)
        if not self.ended.done():
            self.ended.set_result(None)

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Run a task of this life; when it fails, the process ends, as it does in production."""
        task = self.scene.loop.create_task(work, name=f"{self.name} {what}")
        self.tasks.append(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Crash):
            if self.is_alive:
                self.scene.now_ms()
                self.scene.history.fail(self.name, error)
            self.end("ends")

    async def bury(self) -> None:
        """Cancel what still runs; it can do nothing any more."""
        await cancel(self.tasks)

    # ----------------------------------------------------------------- time

    def pause(self, duration_ms: float) -> None:
        """Stand still for a while, at the next chance."""
        self._paused_until_s = self.scene.loop.time() + duration_ms / 1000

    async def travel(self) -> None:
        """One way of a call to the broker: it takes its time, and this process may stand still meanwhile."""
        latency_ms = self.scene.faults.latency_ms
        await asyncio.sleep(self.scene.up_to(latency_ms) / 1000 if latency_ms else 0)
        await self._stand_still()

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The `Offload` port without a thread."""
        await asyncio.sleep(0)
        await self._stand_still()
        return function(*args)

    async def _stand_still(self) -> None:
        while self._paused_until_s > self.scene.loop.time() and self.scene.faults.pause_every_ms:  # noqa: ASYNC110
            await asyncio.sleep(min(0.1, self._paused_until_s - self.scene.loop.time()))


async def cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel tasks and wait until they have ended, whatever with."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        await asyncio.wait([task])


class LifeProcesses:
    """The `Processes` that a life knows of: itself, and of any other whether it has ended.

    That one has ended is seen from its own machine alone, which closes its connections: while the broker still holds
    it for a member, it is one of a machine that has failed, and of that nobody can tell.
    """

    def __init__(self, life: Life) -> None:
        self._life = life

    def this_process(self) -> str:
        """This life; the next one of the same name is another."""
        return self._life.identity

    def has_ended(self, process: str) -> bool:
        """Whether the life is known to have ended."""
        scene = self._life.scene
        other = scene.lives[process]
        return not other.is_alive and not any(map(scene.is_member, other.members))


class ProcessClock:
    """The `Clock` port as a process sees it: its clock may have jumped, and asking for the time is a port call."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def now_ms(self) -> int:
        """UTC, Unix time in milliseconds."""
        self._life.reach(CLOCK)
        return self._life.scene.now_ms() + self._life.scene.jumped_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        """Let virtual time pass."""
        await self._life.scene.sleep_ms(duration_ms)
