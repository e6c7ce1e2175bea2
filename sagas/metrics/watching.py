"""The metrics of one process: instruments, the pages that show them, and what is looked up now and then.

Made by the entry points when SAGAS_METRICS_PORT is set. Gauges of the database are read when somebody looks;
how far a group lags behind is asked of the broker every `LAG_EVERY_S`, for that takes a request a partition.
"""

import logging
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

import anyio
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from sagas.errors import BrokerError, StoreError
from sagas.metrics.instruments import Instruments
from sagas.metrics.page import Page
from sagas.records import Gauges

LAG_EVERY_S = 10.0

_log = logging.getLogger("sagas.metrics")


class Watching:
    """The metrics of the process `name`. Use it in a `with` block, whose end closes the pages.

    `read_waiting` reads what waits in its database at a time in Unix milliseconds.
    """

    def __init__(self, name: str, host: str, port: int, read_waiting: Callable[[int], Gauges]) -> None:
        """Raises SettingsError when the address cannot be had."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.instruments = Instruments(registry)
        self.instruments.build.labels(_release(), name).set(1)
        self.is_started = False
        self._read_waiting = read_waiting
        self._page = Page(host, port, self.instruments, self._is_ready, self._refresh)

    def __enter__(self) -> "Watching":
        self._page.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._page.close()

    @property
    def port(self) -> int:
        """The port of the pages."""
        return self._page.port

    async def follow_lag(self, ask: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        """Keep the gauge of the consumer's lag up to date, until cancelled."""
        while True:
            await anyio.sleep(LAG_EVERY_S)
            try:
                lags = await ask()
            except BrokerError as error:
                _log.debug("the lag is not known now: %s", error)
            else:
                for topic, count in lags.items():
                    self.instruments.lag.labels(topic).set(count)

    def _is_ready(self) -> bool:
        return self.is_started and self.instruments.is_up

    def _refresh(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        try:
            waiting = self._read_waiting(now_ms)
        except StoreError as error:
            _log.warning("the database's gauges are as they were: %s", error)
            return
        to = self.instruments
        to.outbox_rows.set(waiting.outbox_rows)
        to.outbox_age_s.set(_age_s(waiting.outbox_oldest_ms, now_ms))
        to.letters_open.set(waiting.letters_open)
        to.timers_overdue.set(waiting.timers_overdue)
        to.timer_age_s.set(_age_s(waiting.timer_oldest_ms, now_ms))
        to.in_flight.set(waiting.in_flight)
        to.stuck.clear()
        for saga, count in waiting.stuck.items():
            to.stuck.labels(saga).set(count)


def _age_s(since_ms: int | None, now_ms: int) -> float:
    return 0.0 if since_ms is None else max(0, now_ms - since_ms) / 1000


def _release() -> str:
    try:
        return f"{version('iggy-sagas')} python {platform.python_version()}"
    except PackageNotFoundError:  # run from its sources
        return "unknown"
