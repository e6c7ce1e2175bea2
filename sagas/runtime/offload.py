"""Running the synchronous database work beside the event loop, one piece at a time.

Theory of operation. A large batch takes long, so it runs in a thread, and the loop goes on receiving and sending. For
another one the loop would have nothing to do meanwhile but to wait for it, and on busy cores each of the two switches
waits a millisecond for its turn: as long as such work has shown to be quick it runs in the loop itself. What was slow
once (a disk that is busy, a database that another process holds) is done in the thread again until it has become quick.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar, TypeVarTuple

from anyio import CapacityLimiter, current_time, to_thread

QUICK_S: Final = 0.03
"""How long brief work may keep the loop waiting: two hundred messages and a sync of a good disk."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Offload(Protocol):
    """Runs a function to its end while the event loop goes on. Two calls never overlap."""

    async def __call__(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """What `function(*args)` returns or raises."""
        ...


class Thread:
    """An `Offload` with one thread: a hop costs 90 µs, so it is made once a batch and not once a message."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)

    async def __call__(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """What `function(*args)` returns or raises. Not abandoned on cancellation: a commit is finished."""
        return await to_thread.run_sync(function, *args, limiter=self._limiter)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being run."""
        return self._limiter.borrowed_tokens == 0


class Brief:
    """An `Offload` for little work: beside the loop in `thread`, or in it when that is free and the last was quick."""

    def __init__(self, thread: Thread, *, quick_s: float = QUICK_S) -> None:
        self._thread = thread
        self._quick_s = quick_s
        self._is_quick = False

    async def __call__(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """What `function(*args)` returns or raises."""
        began = current_time()
        try:
            if self._is_quick and self._thread.is_idle:
                return function(*args)
            return await self._thread(function, *args)
        finally:
            self._is_quick = current_time() - began <= self._quick_s
