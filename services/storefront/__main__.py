"""The storefront as a process: `python -m services.storefront`."""

import logging
import os
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import anyio

from sagas.clock import SystemClock
from sagas.config import Settings
from sagas.config_layers import read_settings
from sagas.errors import SagaError
from sagas.folders import make_data_folder, working_folder
from sagas.hosting import broker_of
from sagas.measuring import measured_broker, watching_of
from sagas.ports import TopicSpec
from sagas.runtime.cleaning import REST_MS, STEP_EVERY_MS
from sagas.runtime.offload import Thread
from sagas.runtime.process import stop_on_signals
from sagas.runtime.relay import Relay
from sagas.runtime.topics import Topics
from sagas.store.participant import SqliteParticipantStore
from sagas.streams import announce, prepare_streams
from services.contracts import ORDERS, STREAM
from services.readmodel.reader import Reader
from services.storefront import desk
from services.storefront.app import storefront
from services.storefront.limits import Streams, TokenBucket
from services.storefront.parts import Parts
from services.storefront.probe import Probe
from services.storefront.process import listening, serve_until_stopped
from services.storefront.settings import StorefrontSettings
from services.storefront.tables import MIGRATIONS
from services.storefront.watch import Watch

if TYPE_CHECKING:
    from sagas.metrics.watching import Watching

NAME = "storefront"

_FILE_MASK = 0o077  # what customers ordered is their and our business only


def main() -> int:
    """Serve until SIGTERM. The exit code: 0, or 1 with a line on stderr."""
    os.umask(_FILE_MASK)
    prepare_streams()
    try:
        settings = read_settings(os.environ, folder=working_folder(), stream=STREAM).settings
        own = StorefrontSettings.of(settings)
        logging.basicConfig(
            stream=sys.stderr,
            level=settings.log_level,
            format=f"%(asctime)s {NAME} %(levelname)s %(name)s: %(message)s",
        )
        make_data_folder(settings.data_dir)
        with (
            closing(SqliteParticipantStore(settings.database(NAME), MIGRATIONS)) as store,
            closing(listening(own.host, own.port)) as listener,
            watching_of(NAME, settings) as watching,
        ):
            anyio.run(_serve, settings, own, store, listener, watching)
    except (SagaError, OSError) as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def _serve(
    settings: Settings,
    own: StorefrontSettings,
    store: SqliteParticipantStore,
    listener: socket.socket,
    watching: "Watching | None",
) -> None:
    clock, offload, stop = SystemClock(), Thread(), anyio.Event()
    real = broker_of(settings)
    broker = measured_broker(real, watching)
    topic = settings.topic or ORDERS.events
    topics = Topics(broker, [TopicSpec(name=topic, partitions=settings.partitions)])
    relay = Relay(
        store,
        broker,
        clock,
        offload,
        batch_max=settings.outbox_batch,
        interval_ms=settings.outbox_interval_ms,
        topics=topics,
    )
    reader, looking = Reader(settings.data_dir), Thread()
    watch = Watch(reader, clock, looking)
    parts = Parts(
        store=store,
        broker=broker,
        clock=clock,
        offload=offload,
        wake=relay.send,
        writing=TokenBucket(own.rate_limit_rps, own.rate_limit_burst, clock.now_ms()),
        reading=TokenBucket(own.rate_limit_rps, own.rate_limit_burst, clock.now_ms()),
        stop=stop,
        reader=reader,
        looking=looking,
        watch=watch,
        streams=Streams(),
        probe=Probe(store, offload, clock),
        topic=topic,
    )
    address = "{}:{}".format(*listener.getsockname()[:2])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signals, stop)
        tasks.start_soon(_forget, parts)
        tasks.start_soon(watch.run)
        tasks.start_soon(parts.probe.run)
        try:
            await serve_until_stopped(
                storefront(parts),
                listener,
                relay=relay,
                topics=topics,
                stop=stop,
                on_ready=lambda: _say_ready(address, watching),
            )
        finally:
            with anyio.CancelScope(shield=True):
                await real.close()
        tasks.cancel_scope.cancel()


async def _forget(parts: Parts) -> None:
    forgetting = desk.forgetting(parts.store)
    while True:
        await parts.clock.sleep_ms(STEP_EVERY_MS)
        if not forgetting.is_due(parts.clock.now_ms()):
            continue
        try:
            await parts.offload(forgetting.step, parts.clock.now_ms())
        except SagaError as error:
            logging.getLogger(NAME).warning("old keys are forgotten later: %s", error)
            await parts.clock.sleep_ms(REST_MS)


def _say_ready(address: str, watching: "Watching | None") -> None:
    if watching is not None:
        watching.is_started = True
    announce(f"ready {NAME} http://{address}/")


if __name__ == "__main__":
    raise SystemExit(main())
