"""The relay: publishes what was committed to the outbox, and has it taken away.

Theory of operation. Rows are published in the order in which they were written, and marked only once the broker has
acknowledged all of them. A crash or a lost acknowledgement in between publishes them again under the same ids, which
every reader recognises.

A database that hands over what it has just committed (`CommittedOutbox`) is not asked for it: its rows go from memory
to the broker, and what was acknowledged is marked by its next transaction. The table counts all the same. It is read at
the start, after anything that failed, when too much waits in memory, and every `interval_ms`: for what a crash
left behind and for what others write to it. The rows in memory are in it as well, and are dropped where it is read to
its end; where it is not, it is read up to the first of them. (Else whoever commits as much at once as is read at once
would never come back from the table to the memory.)
A gap in the numbers says that somebody else has committed in between: then it is read as well, or a command of
this process could overtake an earlier one that another has decided and not published.

Where the broker can (`PromptBroker`), what a batch has committed is *sent* in the same step in which it was committed,
without waking a task, and before the worker begins what may keep the loop busy for longer. It is then *under way*
until the broker has said what became of it, and more may be sent behind it. Whatever is not as usual (something failed,
the table is due, a gap, too much at once) is left to the task, which publishes in turn. What is under way
lies in the table still, and is passed over when that is read.
"""

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial

import anyio

from sagas.errors import BrokerError, StoreError
from sagas.ports import Broker, Clock, CommittedOutbox, Outbox, OutboxRow, Outgoing, PromptBroker
from sagas.runtime.offload import Offload
from sagas.runtime.topics import Topics

BATCH_MAX = 1_000
"""Rows published at once, and read at once from the table."""

INTERVAL_MS = 100
BUSY_INTERVAL_MS = 10_000
"""How often the table is read while rows are published from memory: a part of them would be read back for nothing.

What others write is seen by the gap that it leaves in the numbers, at the next commit."""

FLOWING_MS = 1_000
"""How long after the last row from memory that is so. A batch may take a part of it, and a reading would wait for its
end, find all that it has committed, and keep it from being sent at once: again at every batch."""

BACKOFF_MS_MAX = 2_000

BACKLOG_MAX = 5_000
"""Rows that wait in memory, or are under way, before the worker has to: the broker takes less than is decided."""

_log = logging.getLogger("sagas.relay")


class Relay:
    """Carries rows from one outbox to the broker."""

    def __init__(
        self,
        outbox: Outbox,
        broker: Broker,
        clock: Clock,
        offload: Offload,
        *,
        batch_max: int = BATCH_MAX,
        committed_max: int = 0,
        interval_ms: int = INTERVAL_MS,
        topics: Topics | None = None,
    ) -> None:
        """`batch_max` rows are read from the table at once, `committed_max` (0: as many) taken from memory.

        `topics` are made again when they are found missing.
        """
        self._outbox = outbox
        self._committed = outbox if isinstance(outbox, CommittedOutbox) else None
        self._broker = broker
        self._prompt = broker if isinstance(broker, PromptBroker) else None
        self._clock = clock
        self._offload = offload
        self._batch_max = batch_max
        self._committed_max = committed_max or batch_max
        self._interval_ms = interval_ms
        self._topics = topics or Topics(broker, ())
        self._woken = anyio.Event()
        # Taken without giving the loop a turn: it is taken at least once a batch, and hardly ever held.
        self._lock = anyio.Lock(fast_acquire=True)
        self._waiting: deque[OutboxRow] = deque()
        self._is_table_due = True
        self._read_ms = 0
        self._read_up_to = 0
        self._under_way: set[int] = set()
        self._losses = 0
        self._landed = anyio.Event()
        self._flowed_ms = 0

    def wake(self) -> None:
        """Say that there is something to publish."""
        self._woken.set()

    def send(self) -> None:
        """Send what was just committed, at once where that can be done, else as soon as the task comes to it."""
        if not self._is_sent_at_once():
            self.wake()

    async def run(self) -> None:
        """Publish until cancelled. A broker or a database that is away is asked again, ever more slowly."""
        backoff_ms = self._interval_ms
        while True:
            try:
                while await self.flush() and self._may_have_more():
                    pass
                backoff_ms = self._interval_ms
            except (BrokerError, StoreError) as error:
                # Also a database that is locked or full for a while: the rows are there, and go out later.
                _log.warning("publishing failed, trying again in %d ms: %s", backoff_ms, error)
                await self._topics.mend(error)
                await anyio.sleep(backoff_ms / 1000)
                backoff_ms = min(backoff_ms * 2, BACKOFF_MS_MAX)
                continue
            if not self._woken.is_set():
                with anyio.move_on_after(self._interval_ms / 1000):
                    await self._woken.wait()
            self._woken = anyio.Event()

    async def drain(self) -> None:
        """Publish until nothing is left, and have all of it marked. Raises BrokerError, StoreError."""
        await self._all_landed()
        self._is_table_due = True
        while await self.flush():
            pass
        if self._committed is not None:
            await self._mark_at_once([])

    async def make_room(self) -> None:
        """Publish until few enough rows wait in memory. Raises BrokerError, StoreError."""
        self._take()
        while len(self._waiting) > BACKLOG_MAX:
            await self.flush()

    async def flush(self) -> int:
        """Publish one batch; how many rows it had. Raises BrokerError, StoreError; then nothing is marked."""
        async with self._lock:
            rows = await self._next()
            if not rows:
                return 0
            try:
                await self._broker.publish(_outgoing(rows))
            except BaseException:
                self._is_table_due = True
                raise
            await self._mark([row.seq for row in rows])
            return len(rows)

    # ----------------------------------------------------------------- without the task

    def _is_sent_at_once(self) -> bool:
        if self._prompt is None or self._committed is None or self._is_table_due or self._lock.locked():
            return False
        self._take()
        rows = list(self._waiting)
        if not rows:
            return True
        has_gap = rows[-1].seq != self._read_up_to + len(rows)
        if has_gap or len(rows) > self._committed_max or len(self._under_way) + len(rows) > BACKLOG_MAX:
            return False
        seqs = [row.seq for row in rows]
        self._under_way.update(seqs)
        if not self._prompt.send(_outgoing(rows), partial(self._note_settled, seqs)):
            self._under_way.difference_update(seqs)
            return False
        self._waiting.clear()
        self._read_up_to = seqs[-1]
        self._flowed_ms = self._clock.now_ms()
        return True

    def _note_settled(self, seqs: Sequence[int], error: BrokerError | None) -> None:
        self._under_way.difference_update(seqs)
        if error is None and self._committed is not None:
            self._committed.note_published(seqs)
        elif error is not None:
            _log.warning("publishing failed, trying again: %s", error)
            self._losses += 1
            self._is_table_due = True
            self.wake()
        if not self._under_way:
            self._landed.set()

    async def _all_landed(self) -> None:
        while self._under_way:
            # Several may wait: who comes later waits for the same event.
            if self._landed.is_set():
                self._landed = anyio.Event()
            await self._landed.wait()

    # ----------------------------------------------------------------- where the rows are

    def _may_have_more(self) -> bool:
        """Whether to look once more without being woken: what is committed meanwhile wakes."""
        return self._committed is None or self._is_table_due or bool(self._waiting)

    async def _next(self) -> list[OutboxRow]:
        if self._committed is None:
            return await self._offload(self._outbox.unpublished, self._batch_max)
        self._take()
        now_ms = self._clock.now_ms()
        if self._waiting:
            self._flowed_ms = now_ms
        is_flowing = abs(now_ms - self._flowed_ms) < FLOWING_MS
        interval_ms = max(BUSY_INTERVAL_MS, self._interval_ms) if is_flowing else self._interval_ms
        # Either way: a clock that was set back would put it off until it has caught up.
        if self._is_table_due or self._has_gap() or abs(now_ms - self._read_ms) >= interval_ms:
            rows = await self._read_table(now_ms)
            if rows:
                return rows
            self._take()
            if self._has_gap():
                return await self._read_table(now_ms)
        batch: list[OutboxRow] = []
        while self._waiting and len(batch) < self._committed_max and not self._has_gap():
            batch.append(self._waiting.popleft())
            self._read_up_to = batch[-1].seq
        return batch

    def _has_gap(self) -> bool:
        return bool(self._waiting) and self._waiting[0].seq != self._read_up_to + 1

    async def _read_table(self, now_ms: int) -> list[OutboxRow]:
        self._is_table_due = True  # until it was read: reading it may fail
        if len(self._under_way) >= self._batch_max:
            await self._all_landed()  # or nothing else would be seen
        sent, losses = frozenset(self._under_way), self._losses
        waited = self._waiting[-1].seq if self._waiting else 0
        rows = await self._offload(self._outbox.unpublished, self._batch_max)
        has_more = len(rows) >= self._batch_max
        self._read_ms = now_ms
        if not has_more:
            # Read to its end: what waited before it was read and is not in it, somebody else has published.
            while self._waiting and self._waiting[0].seq <= waited:
                self._waiting.popleft()
            self._read_up_to = max(self._read_up_to, waited)
        if rows:
            # Numbers are given in the order of commits: whatever has a lower one was read now, or is published.
            last = rows[-1].seq
            if has_more and self._waiting and self._waiting[0].seq <= last:
                last, has_more = self._waiting[0].seq - 1, False
            while self._waiting and self._waiting[0].seq <= last:
                self._waiting.popleft()
            self._read_up_to = max(self._read_up_to, last)
            rows = [row for row in rows if row.seq <= last and row.seq not in sent]
        self._is_table_due = has_more or self._losses != losses
        return rows

    def _take(self) -> None:
        if self._committed is None:
            return
        for row in self._committed.take_committed():
            if row.seq > self._read_up_to:
                self._waiting.append(row)

    async def _mark(self, seqs: list[int]) -> None:
        if self._committed is not None:
            self._committed.note_published(seqs)
        else:
            await self._mark_at_once(seqs)

    async def _mark_at_once(self, seqs: list[int]) -> None:
        await self._offload(self._outbox.mark_published, seqs, self._clock.now_ms())


def _outgoing(rows: Sequence[OutboxRow]) -> list[Outgoing]:
    return [Outgoing(id=r.id, topic=r.topic, key=r.key, payload=r.payload, headers=r.headers) for r in rows]
