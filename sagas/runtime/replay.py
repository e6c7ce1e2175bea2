"""Replaying a projection: its topics from their beginning into a new file, beside the one that is in use.

Theory of operation. The new file has a consumer group of its own, which begins at offset 0. First everything is read
that the old file, as it was when the replay began, is made of: partition by partition up to the position that stands
in it, and not one message further. Then the two have to be equal, whatever came in meanwhile, because both are made
of the same messages. After that it catches up with the present, and is swapped in; the process that writes the current
file turns to it and goes on where its group stands.

Messages that are older than what the topics keep are not read again: then the topic's first offset is not 0, which is
said, and what only they told differs. So a partition is done with when it was read to its end, too, though the old
file's position in it was not met.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from sagas.errors import StoreError, told
from sagas.ports import Clock, Incoming, ParticipantStore, Subscription
from sagas.records import Partition
from sagas.runtime.offload import Offload
from sagas.runtime.projection import Positions, Projection
from sagas.runtime.worker import positions

BATCH_MAX = 1_000

EMPTY_POLLS = 3
"""In a row, before everything is held to be read: one may come of a partition that is just being given to us."""

EMPTY_WAIT_MS = 50


class Replayed(msgspec.Struct, kw_only=True):
    """How far a replay is. `begins` has the first offset of each partition that did not begin at 0."""

    messages: int = 0
    begins: Positions = {}


class Replay:
    """A projection read anew into `store` through `subscription`, which is of a group nobody has read with."""

    def __init__(
        self,
        projection: Projection,
        store: ParticipantStore,
        subscription: Subscription,
        clock: Clock,
        offload: Offload,
        *,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._projection = projection
        self._store = store
        self._subscription = subscription
        self._clock = clock
        self._offload = offload
        self._batch_max = batch_max
        self._begun: set[Partition] = set()
        self.done = Replayed()

    async def up_to(self, until: Mapping[Partition, int], on_progress: Callable[[int], None]) -> None:
        """Read exactly the messages up to the offsets in `until`; a partition that is not in it is not read.

        It ends where these are not there any more, too, whatever comes meanwhile.
        Raises BrokerError and StoreError; what was read then is of no use.
        """
        await self._read(on_progress, until)
        await self._subscription.rewind()

    async def to_the_end(self, on_progress: Callable[[int], None]) -> None:
        """Read everything there is."""
        await self._read(on_progress, None)

    async def _read(self, on_progress: Callable[[int], None], until: Mapping[Partition, int] | None) -> None:
        empty, left = 0, None if until is None else set(until)
        while empty < EMPTY_POLLS and (left is None or left):
            batch = await self._subscription.poll(self._batch_max)
            is_all = len(batch) < self._batch_max
            if until is not None and left is not None:
                left -= _met(batch, until)
                left = await self._still_to_come(left) if is_all else left
            if not batch:
                empty += 1
                await self._clock.sleep_ms(EMPTY_WAIT_MS)
                continue
            empty = 0
            wanted = [m for m in batch if until is None or m.offset <= until.get((m.topic, m.partition), -1)]
            if wanted:
                await self._offload(self._fold, wanted)
                await self._subscription.commit(positions(wanted))
                self._note(wanted)
                on_progress(len(wanted))
            if until is None and is_all:
                return  # that was all there was; where messages come without end, no poll would be empty

    async def _still_to_come(self, partitions: set[Partition]) -> set[Partition]:
        """Those of which the last poll, which left nothing of what it looked at, has not said all there is.

        What is missing in the others has expired or was lost, or is in a topic that this release does not read.
        """
        reading = await self._subscription.reading()
        return partitions & (reading.partitions - reading.read)

    def _fold(self, batch: Sequence[Incoming]) -> None:
        now_ms = self._clock.now_ms()
        try:
            self._projection.process(batch, self._store, now_ms)
        except StoreError:
            raise
        except Exception:
            # As the worker does: one by one, and the one that fails alone is kept as a dead letter.
            for incoming in batch:
                self._fold_one(incoming, now_ms)

    def _fold_one(self, incoming: Incoming, now_ms: int) -> None:
        try:
            self._projection.process([incoming], self._store, now_ms)
        except StoreError:
            raise
        except Exception as error:
            reason = f"its handler raised {told(error)}"
            self._projection.fail(incoming, reason, self._store, now_ms)

    def _note(self, batch: Sequence[Incoming]) -> None:
        for incoming in batch:
            at = (incoming.topic, incoming.partition)
            if at not in self._begun and incoming.offset:
                self.done.begins[at] = incoming.offset
            self._begun.add(at)
        self.done.messages += len(batch)


def _met(batch: Sequence[Incoming], until: Mapping[Partition, int]) -> set[Partition]:
    """The partitions of which a message at its offset in `until`, or beyond it, has come."""
    return {(m.topic, m.partition) for m in batch if m.offset >= until.get((m.topic, m.partition), m.offset + 1)}
