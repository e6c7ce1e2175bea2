"""Waiting until somebody tells of news, or until the time is up: what a subscription in memory sleeps on.

Theory of operation. A wait with a limit is a cancel scope with a timer, and both are made and ended although the limit
is hardly ever reached. On asyncio one timer does for many waits: it is set for a limit and stays when that wait ends
early; when it fires, whoever waits looks at the time, and sets it again if some is left. That makes a process with the
broker in memory a tenth faster. Other event loops have no timers to be had, so there it is a cancel scope.
"""

import asyncio
from collections.abc import Callable

from anyio import Event, move_on_after


class Notifier:
    """Wakes all who wait. For any event loop."""

    def __init__(self) -> None:
        self._event: Event | None = None

    def notify(self) -> None:
        """Have all who wait look again."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait_for(self, predicate: Callable[[], bool], at_most_s: float) -> None:
        """Return when `predicate` holds after a notification, or the time is up; after a turn of the loop at least."""
        with move_on_after(at_most_s):
            while True:
                self._event = self._event or Event()
                await self._event.wait()
                if predicate():
                    return

    def close(self) -> None:
        """Keep nothing for a next wait. Who waits now is not kept from it."""


class AsyncioNotifier(Notifier):
    """The same for asyncio's loops, with a timer that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[asyncio.Future[bool]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due_s = 0.0

    def notify(self) -> None:
        """Have all who wait look again."""
        self._wake(is_notified=True)

    async def wait_for(self, predicate: Callable[[], bool], at_most_s: float) -> None:
        """Return when `predicate` holds after a notification, or the time is up; after a turn of the loop at least."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + at_most_s
        while True:
            if self._timer is None or self._due_s > until_s or self._loop is not loop:
                self._set_timer(loop, until_s)
            woken: asyncio.Future[bool] = loop.create_future()
            self._waiting.append(woken)
            is_notified = await woken
            if not is_notified and loop.time() >= until_s:
                return
            # Also where only the timer fired: a notification that came just after it found nobody waiting.
            if predicate():
                return

    def close(self) -> None:
        """Keep no timer, unless somebody waits for it."""
        if self._timer is not None and all(woken.done() for woken in self._waiting):
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due_s, self._ring)
        self._loop, self._due_s = loop, due_s

    def _ring(self) -> None:
        self._timer = None
        self._wake(is_notified=False)

    def _wake(self, *, is_notified: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for woken in waiting:
            # A wait that was cancelled has left it here.
            if not woken.done():
                woken.set_result(is_notified)


def notifier() -> Notifier:
    """One for the event loop that runs."""
    try:
        # A loop of another kind may run as a guest of asyncio's, and is no task of it.
        is_asyncio = asyncio.current_task() is not None
    except RuntimeError:
        is_asyncio = False
    return AsyncioNotifier() if is_asyncio else Notifier()
