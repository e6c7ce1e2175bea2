"""Asking whether the own database can be written, without waiting for it longer than one likes.

Theory of operation. What runs in the database's thread cannot be abandoned, and while another process holds the lock it
takes as long as SQLite waits for that. So one task asks, one question at a time, and whoever wants to know waits
beside it for so long and no longer; who comes meanwhile is given the same answer. However many ask, one of them waits
in the thread. What is wrong goes to the log in full, and to those who ask in words that tell nothing of this machine.
"""

import logging

import anyio

from sagas.errors import StoreError
from sagas.ports import Clock, ParticipantStore
from sagas.runtime.offload import Offload

CHECK_MS_MAX = 1_500
"""For each part to answer: whoever asks usually waits 2 or 3 s, and asks again soon."""

OK = "ok"

_log = logging.getLogger("storefront")


class Probe:
    """Says whether `store` can be written; `run` has to be running."""

    def __init__(self, store: ParticipantStore, offload: Offload, clock: Clock) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock
        self._asked = anyio.Event()
        self._answered = anyio.Event()
        self._said = OK

    async def ask(self) -> str:
        """ "ok", or in words what is wrong: after `CHECK_MS_MAX` that there was no answer."""
        answered = self._answered
        self._asked.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_after, CHECK_MS_MAX, tasks.cancel_scope)
            await answered.wait()
            tasks.cancel_scope.cancel()
        return self._said if answered.is_set() else f"no answer within {CHECK_MS_MAX / 1000} s"

    async def run(self) -> None:
        """Ask the database whenever somebody wants to know, until cancelled."""
        while True:
            await self._asked.wait()
            said = await self._look()
            answered, self._answered, self._asked, self._said = self._answered, anyio.Event(), anyio.Event(), said
            answered.set()

    async def _look(self) -> str:
        try:
            await self._offload(_touch, self._store)
        except StoreError as error:
            if self._said == OK:
                _log.warning("the database cannot be written: %s", error)
            return "cannot be written"
        return OK

    async def _end_after(self, duration_ms: int, scope: anyio.CancelScope) -> None:
        await self._clock.sleep_ms(duration_ms)
        scope.cancel()


def _touch(store: ParticipantStore) -> None:
    # A transaction takes the write lock: a file that can only be read is not ready.
    with store.transaction() as transaction:
        transaction.sql.execute("SELECT 1")
