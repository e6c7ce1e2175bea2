"""Running the synchronous database work beside the event loop, one piece at a time."""

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread

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
