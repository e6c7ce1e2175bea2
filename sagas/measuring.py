"""Metrics for an entry point: on when SAGAS_METRICS_PORT is set, otherwise nothing of them is loaded.

Without metrics each function here hands back what it was given, so that nothing measures and nothing costs.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sagas.clock import SystemClock
from sagas.config import Settings
from sagas.errors import SettingsError
from sagas.ports import Broker, ParticipantStore, Store
from sagas.records import Gauges
from sagas.store.gauges import read_gauges

if TYPE_CHECKING:
    from sagas.metrics.watching import Watching

_ORCHESTRATOR = "orchestrator"


@contextmanager
def watching_of(
    name: str, settings: Settings, *, database: Callable[[], Path | None] | None = None
) -> "Generator[Watching | None, None, None]":
    """The pages of the process `name`, served until the block ends; None when they are switched off.

    `database` says where its database is, each time it is looked at, None while there is none. Left out, it is the one
    of its name.

    Raises SettingsError when they cannot be served.
    """
    if not settings.metrics_port:
        yield None
        return
    try:
        from sagas.metrics.watching import Watching
    except ImportError as error:
        raise SettingsError(
            f"SAGAS_METRICS_PORT={settings.metrics_port}: metrics need prometheus-client; "
            "pip install 'iggy-sagas[web]', or unset it"
        ) from error
    read = partial(waiting_in, name, database or partial(settings.database, name))
    with Watching(name, settings.metrics_host, settings.metrics_port, read) as watching:
        yield watching


def waiting_in(name: str, database: Callable[[], Path | None], now_ms: int) -> Gauges:
    """What waits in the database of the process `name`: nothing while there is none. Raises StoreError."""
    path = database()
    if path is None:
        return Gauges(outbox_rows=0, outbox_oldest_ms=None, letters_open=0)
    return read_gauges(path, now_ms, is_orchestrator=name == _ORCHESTRATOR)


def measured_broker(broker: Broker, watching: "Watching | None") -> Broker:
    """`broker`, measured if somebody watches."""
    if watching is None:
        return broker
    from sagas.metrics.measured import MeasuredBroker

    return MeasuredBroker(broker, watching.instruments, SystemClock())


def measured_store(store: Store, watching: "Watching | None") -> Store:
    """The orchestrator's `store`, measured if somebody watches."""
    if watching is None:
        return store
    from sagas.metrics import measured

    return measured.measured_store(store, watching.instruments)


def measured_participant_store(store: ParticipantStore, topic: str, watching: "Watching | None") -> ParticipantStore:
    """A participant's `store`, measured if somebody watches; its answers are what it publishes to `topic`, "": none."""
    if watching is None:
        return store
    from sagas.metrics import measured

    return measured.measured_participant_store(store, topic, watching.instruments)
