"""The loop of every process: poll, work in one transaction, have the relay send, store the offsets.

Theory of operation. Offsets are stored only after the commit, so a crash anywhere means the batch
comes again, and the inbox (or the barrier) ends it. So they need not be stored after each batch, which would
double the requests to the broker: `STORE_EVERY_MS` bounds what a crash has read again. When the database
cannot be written (busy, full) nothing is acknowledged: the subscription goes back to the stored offsets and tries
again later. When the engine itself fails on a batch, its messages are dealt with one by one, and the one that fails
alone is published again a few times and then becomes a dead letter (`dead_letters.py`): a poison message
never blocks its partition.

In a consumer or a projection it is most likely its handler that raised, and nobody else would ask it again. So it is
called again where it stands, after each of the work's `pauses_ms`, and what stands behind it waits, which keeps the
order. Only then is it a dead letter. A process that is told to stop meanwhile reads it again after its next start.

A worker whose delivery is *at most once* stores the offsets before it works: what a crash or a failing database
interrupts is lost, and nothing comes twice. What it may not store, another member is given, and it leaves alone. For
figures that may miss some, never for sagas.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import anyio

from sagas.errors import BrokerError, StoreError, told
from sagas.ports import CaughtUp, Clock, Incoming, Position, Subscription
from sagas.records import Partition
from sagas.runtime.offload import Offload
from sagas.runtime.pace import Pace, sleep_unless
from sagas.runtime.relay import Relay
from sagas.runtime.topics import Topics

BATCH_MAX = 1_000

BRIEF_MAX = 200
"""Messages that are dealt with in the loop while that is quick; more go to the thread, and the next are read beside."""

STORE_EVERY_MS = 1_000
"""How long the offset of what was dealt with may wait before it is stored: Iggy takes a write to its disk for each."""

WAIT_MS_MAX = 100
"""How long messages are waited for where the broker tells of them: timers, offsets and the end have to wait as long."""

IDLE_WAIT_MS_MAX = 250
"""The same where no answer is awaited: what is due there can be that late."""

UNSTOPPED_MS_MAX = 50
"""A pause so short need not be ended when the process is to stop, and costs a third."""

HANDLER_PAUSES_MS = (200, 1_000, 5_000)
"""Before each further try of a consumer's or a projection's handler: a resource that is away for a moment is back."""

RETRY_MS_FIRST = 50
RETRY_MS_MAX = 2_000

Delivery = Literal["at-least-once", "at-most-once"]
"""Whether offsets are stored after the work, so that a crash repeats it, or before, so that a crash loses it."""

_log = logging.getLogger("sagas.worker")


class Work(Protocol):
    """What a worker does with messages. Synchronous; called through the process's `Offload`."""

    pauses_ms: Sequence[int]
    """Before each further try of a message whose handler raises; () where such a one is not tried in its place."""

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        """Deal with a batch in one transaction."""
        ...

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        """Deal with one message on which `process` failed: have it tried again later, or give up on it."""
        ...

    def after_poll(self, caught_up: CaughtUp | None, now_ms: int) -> bool:
        """Do what is due; `caught_up` is what was read and up to when, None when more may be waiting.

        Whether answers are awaited, so that the next poll should not wait long.
        """
        ...

    def is_awaiting(self) -> bool:
        """Whether answers are awaited, as far as that was seen last. Cheap."""
        ...

    def is_due(self, now_ms: int) -> bool:
        """Whether `after_poll` has something to do though no message came. Cheap: called at every empty poll."""
        ...


class _Stopped(Exception):
    """The process is to end between two tries of a message: it is not acknowledged."""


class Worker:
    """One subscription and the work done with what it reads."""

    def __init__(
        self,
        work: Work,
        subscription: Subscription,
        relay: Relay,
        clock: Clock,
        offload: Offload,
        *,
        pace: Pace | None = None,
        batch_max: int = BATCH_MAX,
        store_every_ms: int = STORE_EVERY_MS,
        brief: Offload | None = None,
        delivery: Delivery = "at-least-once",
        topics: Topics | None = None,
    ) -> None:
        """`topics` are made again when they are found missing."""
        self._topics = topics
        self._is_at_most_once = delivery == "at-most-once"
        self._work = work
        self._subscription = subscription
        self._relay = relay
        self._clock = clock
        self._offload = offload
        self._brief = brief or offload
        self._pace = pace or Pace()
        self._batch_max = batch_max
        self._store_every_ms = store_every_ms
        self._unstored: dict[Partition, int] = {}
        self._noted_ms = 0
        self._is_busy = True
        self._has_decided = False
        self._is_told = False
        self._stop = anyio.Event()
        self.can_read_ahead = False
        """Whether the broker can tell of messages, as it said last."""
        self._retry_ms = RETRY_MS_FIRST

    async def run(self, stop: anyio.Event) -> None:
        """Work until `stop` is set; a batch that was begun is finished first."""
        self._stop = stop
        while not stop.is_set():
            try:
                count = await self.turn()
                self._is_told = await self._wait(count)
                self._retry_ms = RETRY_MS_FIRST
            except _Stopped:
                break
            except (BrokerError, StoreError) as error:
                _log.warning("trying again in %d ms: %s", self._retry_ms, error)
                self._is_told = False
                if self._topics is not None:
                    await self._topics.mend(error)
                await self._pause(stop, self._retry_ms)
                self._retry_ms = min(self._retry_ms * 2, RETRY_MS_MAX)
                continue
            if count:
                self._pace.reset()
            elif not self._is_told:
                await self._pause(stop, self._pace.next_wait_ms(is_busy=self._is_busy))
        try:
            await self._store_offsets()
        except BrokerError as error:
            _log.warning("offsets could not be stored, the last messages will be read again: %s", error)

    async def _wait(self, count: int) -> bool:
        """Wait for messages where the broker can tell of them; whether it did."""
        if count >= self._batch_max or self._work.is_due(self._clock.now_ms()):
            # What is due asks for a poll that looks everywhere, and not only where something is told to be.
            return False
        self.can_read_ahead = await self._subscription.wait(WAIT_MS_MAX if self._is_busy else IDLE_WAIT_MS_MAX)
        return self.can_read_ahead

    async def turn(self) -> int:
        """One round: poll, deal with it, store offsets; how many messages came. Raises BrokerError, StoreError."""
        if self._has_decided:
            await self._relay.make_room()
            self._has_decided = False
        started_ms = self._clock.now_ms()
        # A poll that was told where to look looks nowhere else: what is due needs one that does, and that comes next.
        is_due = not self._is_told and self._work.is_due(started_ms)
        batch = await self._subscription.poll(self._batch_max)
        if batch and self._is_at_most_once:
            batch = _without(batch, await self._subscription.commit(positions(batch)))
        if batch:
            self._has_decided = True
            if self.can_read_ahead and len(batch) >= self._batch_max:
                await self._deal_with_and_read_ahead(batch)
            else:
                await self._deal_with(batch)
            self._relay.send()
            self._is_busy = self._work.is_awaiting()
            if not self._is_at_most_once:
                self._note_offsets(batch)
        if is_due:
            caught_up = None
            if len(batch) < self._batch_max:
                caught_up = CaughtUp(ms=started_ms, reading=await self._subscription.reading())
            self._is_busy = await self._offload(self._work.after_poll, caught_up, self._clock.now_ms())
            self._relay.send()
        # Either way: a clock that was set back would put it off until it has caught up.
        if self._unstored and abs(self._clock.now_ms() - self._noted_ms) >= self._store_every_ms:
            await self._store_offsets()
        return len(batch)

    def _note_offsets(self, batch: Sequence[Incoming]) -> None:
        if not self._unstored:
            self._noted_ms = self._clock.now_ms()
        self._unstored.update(_last_of(batch))

    async def _store_offsets(self) -> None:
        if self._unstored:
            await self._subscription.commit(positions_of(self._unstored))
            self._unstored = {}

    async def _deal_with_and_read_ahead(self, batch: Sequence[Incoming]) -> None:
        """Where the broker has more than a batch, the next one is read while this one is dealt with."""
        failures: list[Exception] = []

        async def read_ahead() -> None:
            try:
                await self._subscription.wait(0)
            except BrokerError as error:
                _log.debug("not read ahead: %s", error)  # the next poll says it, if it is still so

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_ahead)
            try:
                await self._deal_with(batch)
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _deal_with(self, batch: Sequence[Incoming]) -> None:
        offload = self._brief if len(batch) <= BRIEF_MAX else self._offload
        try:
            try:
                await offload(self._work.process, batch, self._clock.now_ms())
            except StoreError:
                raise
            except Exception:
                _log.exception("a batch of %d messages failed; dealing with them one by one", len(batch))
                for incoming in batch:
                    await self._deal_with_one(incoming)
        except (StoreError, _Stopped):
            # Whoever of the batch it met: nothing of it is acknowledged.
            await self._subscription.rewind()
            raise

    async def _deal_with_one(self, incoming: Incoming) -> None:
        """Try it once, and again after each of the work's pauses; then have it put away."""
        pauses_ms = self._work.pauses_ms
        for pause_ms in (*pauses_ms, None):
            try:
                await self._offload(self._work.process, [incoming], self._clock.now_ms())
            except StoreError:
                raise
            except Exception as error:
                _log.exception("message %s of %s cannot be dealt with", incoming.id, incoming.topic)
                if pause_ms is None:
                    reason = f"{'its handler raised' if pauses_ms else 'this engine failed on it:'} {told(error)}"
                    await self._offload(self._work.fail, incoming, reason, self._clock.now_ms())
            else:
                return
            if pause_ms is not None:
                await self._wait_to_try_again(pause_ms)

    async def _wait_to_try_again(self, pause_ms: int) -> None:
        _log.warning("trying again in %d ms", pause_ms)
        await sleep_unless(self._stop, pause_ms, self._clock)
        # At most once its offset is stored already: it would be lost, so the tries that are left come at once.
        if self._stop.is_set() and not self._is_at_most_once:
            raise _Stopped

    async def _pause(self, stop: anyio.Event, duration_ms: float) -> None:
        if duration_ms <= UNSTOPPED_MS_MAX:
            await anyio.sleep(duration_ms / 1000)
            return
        with anyio.move_on_after(duration_ms / 1000):
            await stop.wait()


def positions(batch: Sequence[Incoming]) -> list[Position]:
    """The last offset of each partition in `batch`."""
    return positions_of(_last_of(batch))


def _last_of(batch: Sequence[Incoming]) -> dict[Partition, int]:
    # Of a partition they come in their order, so its last one counts.
    return {(message.topic, message.partition): message.offset for message in batch}


def _without(batch: Sequence[Incoming], refused: Sequence[Position]) -> Sequence[Incoming]:
    """What is left of a batch without the partitions whose offset was refused: another member is given those."""
    others = {(position.topic, position.partition) for position in refused}
    return [message for message in batch if (message.topic, message.partition) not in others] if others else batch


def positions_of(last: Mapping[Partition, int]) -> list[Position]:
    """Offsets by partition, as they are stored."""
    return [Position(topic=topic, partition=partition, offset=offset) for (topic, partition), offset in last.items()]
