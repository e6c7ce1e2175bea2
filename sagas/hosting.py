"""Entry points of processes: read the environment, choose the adapters, run until told to stop.

`host_orchestrator` and `host_service` are what `sagas run` and `python -m services.inventory` call.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from sagas.broker.iggy import IggyBroker
from sagas.clock import SystemClock
from sagas.config import Settings, masked
from sagas.config_layers import read_settings
from sagas.core.definition import Definition
from sagas.core.starting import started_on
from sagas.errors import SagaError
from sagas.folders import working_folder
from sagas.garbage import expect_batches
from sagas.guarded import failed, guarded
from sagas.measuring import measured_broker, measured_participant_store, measured_store, watching_of
from sagas.ports import Migration, Outbox, TopicSpec
from sagas.projecting import project
from sagas.retention import keeping_of
from sagas.runtime import event_store
from sagas.runtime.admission import admit
from sagas.runtime.cleaning import runs_cleaning
from sagas.runtime.consumer import Consumer, ConsumerWork
from sagas.runtime.lost_runs import tell_lost_runs
from sagas.runtime.offload import Thread
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.participant import Service
from sagas.runtime.process import Limits, run_until_stopped, stop_on_signals
from sagas.runtime.projection import Projection
from sagas.runtime.restored import require_memory
from sagas.runtime.roles import OrchestratorWork, ServiceWork
from sagas.runtime.topics import Topics
from sagas.runtime.worker import Delivery, Work
from sagas.store.generations import Generations
from sagas.store.participant import SqliteParticipantStore
from sagas.store.sqlite import SqliteStore
from sagas.streams import announce

if TYPE_CHECKING:
    from sagas.metrics.watching import Watching

ORCHESTRATOR = "orchestrator"
"""The name of the orchestrator's process, database file and consumer group."""

_log = logging.getLogger("sagas.hosting")


def host_orchestrator(definitions: Sequence[Definition], settings: Settings, *, may_strand: bool = False) -> int:
    """Run the sagas `definitions` until SIGTERM. The exit code: 0, or 1 with a line on stderr.

    Several may run on one database; one that stands still for the setting `lease_ms` is held for dead by the others.
    It does not begin when a run under way could not go on under these definitions, unless it `may_strand`.
    """

    def start() -> None:
        with ExitStack() as tasks:
            store = tasks.enter_context(
                closing(SqliteStore(settings.database(ORCHESTRATOR), lease_ms=settings.lease_ms))
            )
            here = started_on(definitions, settings.topic)
            admit(here, store, SystemClock().now_ms(), may_strand=may_strand)
            watching = tasks.enter_context(watching_of(ORCHESTRATOR, settings))
            orchestrator = Orchestrator(here, measured_store(store, watching), store)
            topics = orchestrator.topic_specs(settings.partitions)
            work = OrchestratorWork(orchestrator, store, runs_cleaning(store.cleaner, keeping_of(settings)))
            journal = _journal(store, settings)
            if journal is not None:
                topics.append(event_store.topic_spec(settings.partitions))
            first = partial(_tell_lost_runs, here, store)
            reads = orchestrator.topics
            anyio.run(
                partial(_host, ORCHESTRATOR, settings, work, store, topics, reads, watching, journal, first=first)
            )

    return guarded(ORCHESTRATOR, settings, start)


def host_service(service: Service, migrations: Sequence[Migration] = (), *, stream: str = "sagas") -> int:
    """Carry out the commands of `service` until SIGTERM, its settings from the environment and `pyproject.toml`.

    `migrations` make its own tables; `stream` is the stream when neither of them says another.
    The exit code: 0, or 1 with a line on stderr.
    """
    name = service.participant.name
    try:
        settings = read_settings(os.environ, folder=working_folder(), stream=stream).settings
    except SagaError as error:
        return failed(name, error)

    def start() -> None:
        with (
            closing(SqliteParticipantStore(settings.database(name), migrations)) as store,
            watching_of(name, settings) as watching,
        ):
            topics = service.topic_specs(settings.partitions)
            measured = measured_participant_store(store, service.participant.events, watching)
            work = ServiceWork(service, measured, keeping_of(settings))
            reads = [service.participant.commands]
            first = partial(_require_memory, service, store, settings.database(name))
            anyio.run(partial(_host, name, settings, work, store, topics, reads, watching, first=first))

    return guarded(name, settings, start)


def host_projection(projection: Projection, *, stream: str = "sagas") -> int:
    """Fold the events that `projection` reads until SIGTERM, its settings from the environment.

    When a replay makes another generation current, it turns to that one. The exit code: 0, or 1 with a line on stderr.
    """
    try:
        settings = read_settings(os.environ, folder=working_folder(), stream=stream).settings
    except SagaError as error:
        return failed(projection.name, error)

    def start() -> None:
        generations = Generations(settings.data_dir, projection.name)
        with watching_of(projection.name, settings, database=partial(_file_of, generations)) as watching:
            anyio.run(_host_projection, projection, generations, settings, watching)

    return guarded(projection.name, settings, start)


def _file_of(generations: Generations) -> Path | None:
    current = generations.current()
    return None if current is None else generations.path(current)


async def _host_projection(
    projection: Projection, generations: Generations, settings: Settings, watching: "Watching | None"
) -> None:
    stop = anyio.Event()
    broker = broker_of(settings)
    was_ready: list[None] = []

    def on_ready() -> None:
        if not was_ready:
            _say_ready(projection.name, settings, watching)
        was_ready.append(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signals, stop)
        try:
            await project(
                projection,
                generations,
                broker=measured_broker(broker, watching),
                clock=SystemClock(),
                offload=Thread(),
                stop=stop,
                on_ready=on_ready,
                kept_ms=keeping_of(settings).processed_ms,
                limits=limits_of(settings),
                measure=lambda store: measured_participant_store(store, "", watching),
                beside=None
                if watching is None
                else lambda group: watching.follow_lag(lambda: broker.lag(group, projection.topics)),
            )
        finally:
            with anyio.CancelScope(shield=True):
                await broker.close()
        tasks.cancel_scope.cancel()


def host_consumer(consumer: Consumer, migrations: Sequence[Migration] = (), *, stream: str = "sagas") -> int:
    """Read the events of `consumer` until SIGTERM, its settings from the environment and `pyproject.toml`.

    `migrations` make its own tables; `stream` is the stream when neither of them says another.
    The exit code: 0, or 1 with a line on stderr.
    """
    name = consumer.name
    try:
        settings = read_settings(os.environ, folder=working_folder(), stream=stream).settings
    except SagaError as error:
        return failed(name, error)

    def start() -> None:
        with (
            closing(SqliteParticipantStore(settings.database(name), migrations)) as store,
            watching_of(name, settings) as watching,
        ):
            makes = consumer.publishes  # who writes to the others makes them
            measured = measured_participant_store(store, "", watching)
            work = ConsumerWork(consumer, measured, kept_ms=keeping_of(settings).processed_ms)
            anyio.run(_host, name, settings, work, store, makes, consumer.topics, watching, None, consumer.delivery)

    return guarded(name, settings, start)


async def _host(
    name: str,
    settings: Settings,
    work: Work,
    outbox: Outbox,
    topics: Sequence[TopicSpec],
    subscribe_to: Sequence[str],
    watching: "Watching | None",
    journal: Outbox | None = None,
    delivery: Delivery = "at-least-once",
    first: Callable[[IggyBroker], Awaitable[None]] | None = None,
) -> None:
    stop = anyio.Event()
    offload = Thread()
    broker = broker_of(settings)
    # A connection takes one request at a time: telling of the journal must not keep a command waiting.
    feeding = broker_of(settings) if journal else None
    feed = (
        event_store.feed(journal, feeding, SystemClock(), offload, topics=Topics(feeding, topics))
        if journal and feeding
        else None
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signals, stop)
        if watching is not None:
            tasks.start_soon(watching.follow_lag, lambda: broker.lag(name, subscribe_to))
        try:
            await run_until_stopped(
                work=work,
                outbox=outbox,
                broker=measured_broker(broker, watching),
                clock=SystemClock(),
                offload=offload,
                group=name,
                topics=topics,
                subscribe_to=subscribe_to,
                stop=stop,
                on_ready=lambda: _say_ready(name, settings, watching),
                feed=feed,
                limits=limits_of(settings),
                delivery=delivery,
                first=partial(first, broker) if first is not None else None,
            )
        finally:
            with anyio.CancelScope(shield=True):
                if feeding is not None:
                    await feeding.close()
                await broker.close()
        tasks.cancel_scope.cancel()


async def _tell_lost_runs(definitions: Sequence[Definition], store: SqliteStore, broker: IggyBroker) -> None:
    participants = {step.to: None for definition in definitions for step in definition.steps.values()}
    await tell_lost_runs(participants, store.missing_runs, broker.newest)


async def _require_memory(service: Service, store: SqliteParticipantStore, path: Path, broker: IggyBroker) -> None:
    await require_memory(service.participant, store.remembered, str(path), broker.newest)


def _journal(store: SqliteStore, settings: Settings) -> Outbox | None:
    """The journal to tell others of, None when that is switched off."""
    if settings.event_store:
        store.begin_feed()
        return event_store.JournalOutbox(store)
    waiting = store.waiting_to_be_fed()
    if waiting:
        _log.warning("%d journal rows wait for the event store, which is switched off here", waiting)
    return None


def limits_of(settings: Settings) -> Limits:
    """How much a process takes at once."""
    return Limits(
        poll_max=settings.poll_max_count,
        outbox_batch=settings.outbox_batch,
        outbox_interval_ms=settings.outbox_interval_ms,
    )


def broker_of(settings: Settings) -> IggyBroker:
    """The broker that the settings name. Raises SettingsError."""
    return IggyBroker.from_connection_string(
        settings.connection_string,
        stream=settings.stream,
        call_timeout_s=settings.broker_timeout_ms / 1000,
        send_count_max=settings.batch_max_size,
    )


def _say_ready(name: str, settings: Settings, watching: "Watching | None") -> None:
    expect_batches()
    if watching is not None:
        watching.is_started = True
    announce(f"ready {name} {masked(settings.connection_string)} stream {settings.stream}")
