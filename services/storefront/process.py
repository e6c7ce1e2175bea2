"""The life of the storefront: serve, publish what was accepted, end in order.

Theory of operation. It serves from the start, whether the broker can be had or not: an order is accepted once it
is in our database. Beside the server the relay publishes what was accepted, as soon as the topics are there. Told to
end, no new connection is taken, the requests at hand are answered, streams of events end (their clients come again
elsewhere, or later), the outbox is published for as long as that takes within a bound, and the process
ends. What was not published goes out after the next start.
"""

import logging
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
import uvicorn
from starlette.types import ASGIApp

from sagas.errors import BrokerError, StoreError
from sagas.runtime.relay import Relay
from sagas.runtime.topics import Topics
from services.storefront.connection import Connection

CONNECTIONS_MAX = 1_000
"""Served at once, streams of events included; more are answered 503."""

KEEP_ALIVE_S = 15
"""For a connection's next request to come, its head whole (`connection.py`)."""

FINISH_S_MAX = 4
"""For the requests at hand, when told to end."""

DRAIN_S_MAX = 4.0
"""For the outbox, when told to end. Together with the requests less than the 10 s that processes are given."""

STOP_POLL_S = 0.05
CONNECT_RETRY_S = 0.25
BACKLOG = 512

_log = logging.getLogger("storefront")


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process has one place for them."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError with the address in it."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, kind)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
    except OSError as error:
        found.close()
        raise OSError(error.errno, f"{error.strerror}; set SAGAS_STOREFRONT_ADDRESS", f"{host}:{port}") from error
    return found


def config_of(app: ASGIApp) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S_MAX,
    )


async def serve_until_stopped(
    app: ASGIApp,
    listener: socket.socket,
    *,
    relay: Relay,
    topics: Topics,
    stop: anyio.Event,
    on_ready: Callable[[], None],
) -> None:
    """Serve and publish until `stop` is set, then end in order."""
    server = Server(config_of(app))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_publish, relay, topics)
        tasks.start_soon(_end_when_told, server, stop)
        tasks.start_soon(_say_when_started, server, on_ready)
        await server.serve([listener])
        await _drain(relay)
        tasks.cancel_scope.cancel()


async def _publish(relay: Relay, topics: Topics) -> None:
    was_told = False
    while True:
        try:
            await topics.ensure()
        except BrokerError as error:
            if not was_told:
                _log.warning("orders are accepted and wait for the broker: %s", error)
                was_told = True
            await anyio.sleep(CONNECT_RETRY_S)
        else:
            break
    await relay.run()


async def _end_when_told(server: uvicorn.Server, stop: anyio.Event) -> None:
    await stop.wait()
    server.should_exit = True


async def _say_when_started(server: uvicorn.Server, on_ready: Callable[[], None]) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
        await anyio.sleep(STOP_POLL_S)
    on_ready()


async def _drain(relay: Relay) -> None:
    with anyio.move_on_after(DRAIN_S_MAX):
        try:
            await relay.drain()
        except (BrokerError, StoreError) as error:
            _log.warning("could not publish everything, the rest goes out after the next start: %s", error)
