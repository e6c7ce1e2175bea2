"""The server: listens, serves, and stops cleanly.

It ends in one of two ways. Asked to (SIGTERM, SIGINT, or its task is cancelled), it closes everything and returns.
When a write or a sync fails it stops without another reply: what is on the disk is unknown then, and a broker that
went on would acknowledge what it cannot keep.
"""

import asyncio
import ipaddress
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from sagas.broker.embedded.commands import Broker
from sagas.broker.embedded.connection import Connection
from sagas.broker.embedded.disk import Disk
from sagas.broker.embedded.files import sync_data
from sagas.broker.embedded.flusher import Flusher
from sagas.errors import BrokerError, told

SILENCE_MAX_S: Final = 36
"""A member of a group that is silent for longer is taken to be dead, as by Iggy: clients ping every 5 s."""
TICK_S: Final = 5
"""How often silent members and expired messages are looked for, and whether the offsets journal has grown."""
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


async def serve(address: str, data_dir: Path, *, on_ready: Callable[[str], None], is_iggy_only: bool = False) -> None:
    """Serve Iggy's TCP protocol on `address`, "host:port" on loopback, until SIGTERM or SIGINT.

    Port 0 takes a free one. With `is_iggy_only` there are no requests but Iggy's own. `on_ready` is called with the
    real address once clients can connect. Raises BrokerError when the address cannot be used, when another broker
    uses `data_dir`, when that was damaged, and when writing fails.
    """
    host, port = loopback_address(address)
    _allow_many_files()
    try:
        disk = Disk(data_dir)
        try:
            await _Server(disk, is_iggy_only=is_iggy_only).run(host, port, on_ready)
            disk.sync()
        finally:
            disk.close()
    except OSError as error:
        raise BrokerError(f"{data_dir}: {error}") from error


def loopback_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port". Raises BrokerError unless the host is this machine's loopback."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise BrokerError(f"address {address!r}: expected host:port, such as 127.0.0.1:8090")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise BrokerError(
            f"address {address!r}: this broker is for one machine and listens on loopback only, such as"
            " 127.0.0.1:8090; to serve others run Apache Iggy and set IGGY_CONNECTION_STRING"
        )
    return host, int(port)


class _Server:
    def __init__(self, disk: Disk, *, is_iggy_only: bool) -> None:
        self._broker = Broker(
            disk=disk, now_us=_now_us, now_ms=_steady_ms, started_us=_now_us(), is_iggy_only=is_iggy_only
        )
        self._flusher = Flusher()
        self._connections: dict[int, Connection] = {}
        self._numbers = 0
        self._stop = asyncio.Event()
        self._failures: list[BaseException] = []

    async def run(self, host: str, port: int, on_ready: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        try:
            server = await loop.create_server(self._connection, host, port)
        except OSError as error:
            raise BrokerError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        tasks = [asyncio.ensure_future(work) for work in (self._stop.wait(), self._flusher.run(), self._tick())]
        try:
            on_ready(_shown(server.sockets[0].getsockname()))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._failures += [raised for raised in (task.exception() for task in done) if raised is not None]
        finally:
            server.close()
            self._abort_all()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)
        if self._failures:
            first = self._failures[0]
            remedy = (
                "; make room or mend the disk and start it again: what was acknowledged is kept"
                if isinstance(first, OSError)
                else ""
            )
            raise BrokerError(f"stopped without acknowledging what was under way: {told(first)}{remedy}") from first

    def _connection(self) -> Connection:
        self._numbers += 1
        return Connection(self._broker, self._flusher, self._connections, self._numbers, self._fail)

    def _fail(self, error: OSError) -> None:
        self._failures.append(error)
        self._abort_all()
        self._stop.set()

    def _abort_all(self) -> None:
        for connection in list(self._connections.values()):
            connection.abort()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            deadline_ms = _steady_ms() - SILENCE_MAX_S * 1000
            for number, session in list(self._broker.sessions.items()):
                if session.last_heard_ms < deadline_ms and self._broker.disk.log.is_member(session.member):
                    logger.warning("connection %d was silent for %d s: its memberships end", number, SILENCE_MAX_S)
                    self._connections[number].abort()
            for file, remove in self._broker.disk.expire(_now_us()):
                self._flusher.release_after_sync((file,), remove)
            await self._renew_recent()
            renewed = self._broker.disk.renew_offsets()
            if renewed is not None:
                self._flusher.release_after_sync((renewed,), partial(self._broker.disk.remove_older_offsets, renewed))

    async def _renew_recent(self) -> None:
        if not self._broker.disk.has_recent_grown:
            return
        await asyncio.to_thread(self._broker.disk.prepare_recent)
        renewed = self._broker.disk.renew_recent()
        if renewed is not None:
            kept, descriptors = renewed
            # A segment that was full is still to be synced by the flusher: it is done with that when it comes to this.
            is_synced = asyncio.Event()
            self._flusher.release_after_sync((kept,), is_synced.set)
            await is_synced.wait()
            # Beside everything else: nobody waits for the partitions' files.
            await asyncio.to_thread(_sync_and_close, descriptors)
            self._broker.disk.remove_older_recent(kept)


def _sync_and_close(descriptors: list[int]) -> None:
    try:
        for descriptor in descriptors:
            sync_data(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _allow_many_files() -> None:
    """Each partition keeps a file open: the usual limit of 1,024 is soon reached, and may be raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says that there is no limit, and takes no such number
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _now_us() -> int:
    return time.time_ns() // 1000


def _steady_ms() -> int:
    """For what takes as long as it takes, whatever the clock is set to meanwhile: silence and hand-offs."""
    return time.monotonic_ns() // 1_000_000


def _shown(socket_name: tuple[object, ...]) -> str:
    host, port = str(socket_name[0]), socket_name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
