"""An asyncio event loop whose every choice comes from a seed, and whose time costs nothing.

Theory of operation. Of all callbacks that are ready, a seeded draw picks the next: so one seed explores
one order of tasks, and the same seed the same order again. When nothing is ready, the clock jumps to the
next timer. There is no selector, so nothing can wait for the outside: threads and sockets are refused.
A loop on which nothing is ready and no timer is set would wait for ever; it raises `Deadlock` instead,
and one that never comes to rest raises `StepLimit`.

Two things of a task leak its address in memory, and with it chance, into a program: the order of a set of
tasks, and of a dict of them. So tasks are numbered, and their number is their hash.

It stands on names that asyncio keeps to itself (`_run_once`, `_ready`, `_scheduled`);
`tests/simulation/test_loop.py` says at once when a Python version has changed them.
"""

import asyncio
import heapq
from asyncio import base_events, events
from collections.abc import Callable, Coroutine, Generator
from random import Random
from typing import Any, NoReturn, TypeVar, cast

STEPS_MAX = 5_000_000
"""Callbacks of one run; one that needs more goes round in circles."""

_SHOWN_MAX = 20

# Names of BaseEventLoop that its stub does not tell; a test says when a Python release has renamed them.
_READY = "_ready"
_SCHEDULED = "_scheduled"

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Nothing is ready, and nothing ever will be."""


class StepLimit(RuntimeError):
    """The run does not come to rest."""


class NumberedTask(asyncio.Task[T]):
    """A task whose hash is its number: sets of tasks have the same order in every process."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], *, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(base_events.BaseEventLoop):
    """Runs callbacks in an order drawn from `seed`, in virtual time that begins at 0.

    Use `loop.run_until_complete(main())`, or with anyio
    `anyio.run(main, backend_options={"loop_factory": lambda: SimulatedLoop(seed)})`.
    """

    def __init__(self, seed: int | str, *, steps_max: int = STEPS_MAX) -> None:
        super().__init__()
        self.steps = 0
        self._choices = Random(f"{seed}:order").random
        self._steps_max = steps_max
        self._now_s = 0.0
        self._tasks_made = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def run_in_executor(self, executor: object, func: Callable[..., object], *args: object) -> NoReturn:
        """Refused: a thread would bring its own chance in."""
        raise RuntimeError("a simulated loop has no threads; run the function inline")

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,
    ) -> "NumberedTask[T]":
        self._tasks_made += 1
        return NumberedTask(cast("Coroutine[Any, Any, T]", coroutine), number=self._tasks_made, loop=loop, **options)

    # ----------------------------------------------------------------- what BaseEventLoop asks for

    def _run_once(self) -> None:
        ready: Any = getattr(self, _READY)
        scheduled: Any = getattr(self, _SCHEDULED)
        while scheduled and scheduled[0]._cancelled:
            self._forget_timer(scheduled)
        if not ready:
            if not scheduled:
                raise Deadlock(self._report("deadlock: nothing is ready and no timer is set"))
            self._now_s = max(self._now_s, scheduled[0]._when)
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self._now_s):
            timer = self._forget_timer(scheduled)
            if not timer._cancelled:
                ready.append(timer)
        if ready:
            self._run_one(ready)

    def _run_one(self, ready: Any) -> None:
        self.steps += 1
        if self.steps > self._steps_max:
            raise StepLimit(self._report(f"no rest after {self._steps_max} steps"))
        ready.rotate(-int(self._choices() * len(ready)))
        handle = ready.popleft()
        if not handle._cancelled:
            handle._run()

    def _forget_timer(self, scheduled: Any) -> Any:
        timer = heapq.heappop(scheduled)
        timer._scheduled = False
        return timer

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """Cancelled timers are dropped when they come up."""

    def call_soon_threadsafe(  # type: ignore[override]  # the same, without the stub's variadic generics
        self, callback: Any, *args: Any, context: Any = None
    ) -> events.Handle:
        """As `call_soon`: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def _report(self, problem: str) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        lines = [f"  {task.get_name()}: {task.get_coro()}" for task in tasks[:_SHOWN_MAX]]
        return "\n".join([f"{problem} at {self._now_s:.3f} s; {len(tasks)} tasks wait:", *lines])
