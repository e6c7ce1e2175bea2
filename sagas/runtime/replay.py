"""Replaying a projection: its topics from their beginning into a new file, beside the one that is in use.

Theory of operation. The new file has a consumer group of its own, which begins at offset 0. First everything is read
that the old file, as it was when the replay began, is made of: partition by partition up to the position that stands
in it, and not one message further. Then the two have to be equal, whatever came in meanwhile, because both are made
of the same messages. After that it catches up with the present, and is swapped in; the process that writes the current
file turns to it and goes on where its group stands.

Messages that are older than what the topics keep are not read again: then the topic's first offset is not 0, which is
said, and what only they told differs.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from sagas.errors import StoreError, told
from sagas.ports import Clock, Incoming, ParticipantStore, Subscription
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
        self._reached: dict[tuple[str, int], int] = {}
        self.done = Replayed()

    async def up_to(self, until: Mapping[tuple[str, int], int], on_progress: Callable[[int], None]) -> None:
        """Read exactly the messages up to the offsets in `until`; a partition that is not in it is not read.

        Raises BrokerError and StoreError; what was read then is of no use.
        """
        await self._read(on_progress, until)
        await self._subscription.rewind()

    async def to_the_end(self, on_progress: Callable[[int], None]) -> None:
        """Read everything there is."""
        await self._read(on_progress, None)

    async def _read(self, on_progress: Callable[[int], None], until: Mapping[tuple[str, int], int] | None) -> None:
        empty = 0
        while empty < EMPTY_POLLS and not self._has_reached(until):
            batch = await self._subscription.poll(self._batch_max)
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
            if until is None and len(batch) < self._batch_max:
                return  # that was all there is; where messages come without end, no poll would be empty

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
            reason = f"this engine failed on it: {told(error)}"
            self._projection.fail(incoming, reason, self._store, now_ms)

    def _note(self, batch: Sequence[Incoming]) -> None:
        for incoming in batch:
            at = (incoming.topic, incoming.partition)
            if at not in self._reached and incoming.offset:
                self.done.begins[at] = incoming.offset
            self._reached[at] = max(incoming.offset, self._reached.get(at, 0))
        self.done.messages += len(batch)

    def _has_reached(self, until: Mapping[tuple[str, int], int] | None) -> bool:
        return until is not None and all(self._reached.get(at, -1) >= offset for at, offset in until.items())
