"""A projection at work: on the generation that is current, and on the next one as soon as a replay has made one.

Theory of operation. Each generation has a file and a consumer group of its own (`sagas/store/generations.py`). The
process opens the current one, or begins one where there is none, removes the older ones, and folds until it is told
to stop or the pointer says another number; then it turns to that one.
"""

import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import anyio

from sagas.errors import StoreError
from sagas.ports import Broker, Clock, OutboxRow, ParticipantStore
from sagas.runtime.offload import Offload
from sagas.runtime.process import LIMITS, Limits, run_until_stopped
from sagas.runtime.projection import Projection, ProjectionWork
from sagas.store.generations import Generations
from sagas.store.participant import SqliteParticipantStore

_log = logging.getLogger("sagas.projection")

TURN_POLL_S = 0.1
"""How soon a projection notices that another generation of it is current."""


async def project(
    projection: Projection,
    generations: Generations,
    *,
    broker: Broker,
    clock: Clock,
    offload: Offload,
    stop: anyio.Event,
    on_ready: Callable[[], None],
    kept_ms: int,
    limits: Limits = LIMITS,
    measure: Callable[[ParticipantStore], ParticipantStore] = lambda store: store,
    beside: Callable[[str], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Fold events until `stop` is set; `on_ready` is called for each generation that is turned to.

    `kept_ms` is how long it is remembered which events were read: no shorter than the topics keep them.
    `measure` is given each generation's store and hands back the one to fold into; `beside` runs beside it, with the
    name of its group, until it is turned from.
    Raises StoreError when a file, or the pointer to it, cannot be used when a generation is turned to.
    """
    while not stop.is_set():
        known, turn = generations.present(), anyio.Event()
        generation = known or generations.new(clock.now_ms())
        with closing(_opened(projection, generations, generation, is_new=known is None)) as store:
            await offload(generations.remove_older, generation, partial(_take_over, store))
            async with anyio.create_task_group() as turning:
                turning.start_soon(_turn, generations, generation, stop, turn)
                if beside is not None:
                    turning.start_soon(beside, generations.group(generation))
                await run_until_stopped(
                    work=ProjectionWork(projection, measure(store), kept_ms=kept_ms),
                    outbox=store,
                    broker=broker,
                    clock=clock,
                    offload=offload,
                    group=generations.group(generation),
                    topics=(),  # who writes to them makes them
                    subscribe_to=projection.topics,
                    stop=turn,
                    on_ready=on_ready,
                    limits=limits,
                )
                turning.cancel_scope.cancel()


def _opened(
    projection: Projection, generations: Generations, generation: int, *, is_new: bool
) -> SqliteParticipantStore:
    """The file of a generation, which is current then."""
    with ExitStack() as undoing:
        if is_new:
            # Or a process that cannot begin, and is started again and again, would leave a file each time.
            undoing.callback(generations.discard, generation)
        store = SqliteParticipantStore(generations.path(generation), projection.migrations)
        if is_new:
            undoing.callback(store.close)
            # Only now: who reads it finds its tables there.
            generations.make_current(generation)
        undoing.pop_all()
    return store


def _take_over(store: ParticipantStore, waiting: Sequence[OutboxRow]) -> None:
    """Publish from here what still waits in the outbox of an older generation."""
    with store.transaction() as transaction:
        transaction.add_outbox(waiting)


async def _turn(generations: Generations, generation: int, stop: anyio.Event, turn: anyio.Event) -> None:
    """Set `turn` once the process is to end, or another generation is current.

    A pointer that cannot be read names no other: it is said, once, and what is open is folded into as before.
    """
    was_told = False
    while not stop.is_set():
        try:
            if generations.current() != generation:
                break
            was_told = False
        except StoreError as error:
            if not was_told:
                _log.warning("going on with %s: %s", generations.path(generation), error)
            was_told = True
        with anyio.move_on_after(TURN_POLL_S):
            await stop.wait()
    turn.set()
