"""The life of one process: get ready, work until told to stop, drain, end.

Theory of operation. The first SIGTERM or SIGINT sets `stop`: no further batch is begun, the one at
hand is finished, the outbox is published, the group is left, and the process ends with 0. What could
not be drained in time loses nothing, for everything is committed: it goes out after the next start.
A second signal ends at once.
"""

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

import anyio
import msgspec
from anyio.abc import TaskGroup

from sagas.errors import BrokerError, StoreError
from sagas.ports import Broker, Clock, Outbox, Subscription, TopicSpec
from sagas.runtime import relay, worker
from sagas.runtime.offload import Brief, Offload, Thread
from sagas.runtime.relay import Relay
from sagas.runtime.topics import Topics
from sagas.runtime.worker import Delivery, Work, Worker

DRAIN_S_MAX = 9.0
"""Of a drain: an orchestrator of containers typically kills 10 s after SIGTERM."""

CONNECT_RETRY_S = 0.25

_log = logging.getLogger("sagas.process")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a process takes at once: messages a poll, rows of the outbox, and how often it looks for such rows."""

    poll_max: int = worker.BATCH_MAX
    outbox_batch: int = relay.BATCH_MAX
    outbox_interval_ms: int = relay.INTERVAL_MS


LIMITS = Limits()


async def run_until_stopped(
    *,
    work: Work,
    outbox: Outbox,
    broker: Broker,
    clock: Clock,
    offload: Offload,
    group: str,
    topics: Sequence[TopicSpec],
    subscribe_to: Sequence[str],
    stop: anyio.Event,
    on_ready: Callable[[], None],
    feed: Relay | None = None,
    limits: Limits = LIMITS,
    delivery: Delivery = "at-least-once",
    first: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Work until `stop` is set, then drain. `feed` is a second relay, that tells others of the journal.

    `first` is done before anything is read, once the topics are there; what it raises besides BrokerError and
    StoreError, for which it is done again, ends the process.
    """
    own_topics = Topics(broker, topics)
    async with anyio.create_task_group() as tasks:
        subscription = await _connect(broker, own_topics, group, subscribe_to, stop, first)
        if subscription is None:
            return
        brief = Brief(offload) if isinstance(offload, Thread) else offload
        sender = Relay(
            outbox,
            broker,
            clock,
            brief,
            batch_max=limits.outbox_batch,
            committed_max=relay.BATCH_MAX,
            interval_ms=limits.outbox_interval_ms,
            topics=own_topics,
        )
        tasks.start_soon(sender.run)
        if feed is not None:
            tasks.start_soon(feed.run)
        on_ready()
        await Worker(
            work,
            subscription,
            sender,
            clock,
            offload,
            batch_max=limits.poll_max,
            brief=brief,
            delivery=delivery,
            topics=own_topics,
        ).run(stop)
        await _drain(sender, subscription, feed, tasks)


async def _drain(sender: Relay, subscription: Subscription, feed: Relay | None, tasks: TaskGroup) -> None:
    with anyio.move_on_after(DRAIN_S_MAX) as limit:
        try:
            await sender.drain()
            await subscription.close()
            if feed is not None:
                await feed.drain()
        except (BrokerError, StoreError) as error:
            _log.warning("could not drain, the rest goes out after the next start: %s", error)
    if limit.cancelled_caught:
        _log.warning("not drained within %.0f s, the rest goes out after the next start", DRAIN_S_MAX)
    tasks.cancel_scope.cancel()


async def _connect(
    broker: Broker,
    topics: Topics,
    group: str,
    subscribe_to: Sequence[str],
    stop: anyio.Event,
    first: Callable[[], Awaitable[None]] | None,
) -> Subscription | None:
    """The subscription, as soon as the broker can be had; None when told to stop before."""
    was_told = False
    while not stop.is_set():
        try:
            await topics.ensure()
            if first is not None:
                await first()
            return await broker.subscribe(group, subscribe_to)
        except (BrokerError, StoreError) as error:
            if not was_told:
                awaited = "broker" if isinstance(error, BrokerError) else "database"
                _log.warning("waiting for the %s: %s", awaited, error)
                was_told = True
            with anyio.move_on_after(CONNECT_RETRY_S):
                await stop.wait()
    return None


async def stop_on_signals(stop: anyio.Event) -> None:
    """Set `stop` at the first SIGTERM or SIGINT, and end the process at the second. Runs until cancelled."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if stop.is_set():
                _log.warning("second %s: ending now", number.name)
                os._exit(1)
            _log.info("%s: draining", number.name)
            stop.set()
