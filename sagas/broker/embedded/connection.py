"""One client's connection: frames in, replies out, strictly in order.

Theory of operation. A request is served when it is read, unless one before it still waits for messages to come. Then
it waits in line. A reply that has to wait for data to be on the disk keeps those behind it waiting, and not what
they are replies to: a client that sends ahead has its messages read by others meanwhile, and one sync does for
several of them. Replies that nobody waits for are kept back for a while, for each would wake the client by itself. A
client that does not read its replies, or sends far ahead, is not read from any more until it has caught up, so it
holds no memory. Anything that is no frame ends the connection.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from sagas.broker.embedded.arrivals import Wait
from sagas.broker.embedded.commands import Answer, Broker, Session
from sagas.broker.embedded.dispatch import answer, log_in, log_out
from sagas.broker.embedded.flusher import Flusher
from sagas.broker.embedded.frames import (
    EVICTED_CREDENTIALS,
    OPERATION_LOGIN,
    OPERATION_LOGOUT,
    BadFrame,
    FrameReader,
    Request,
    encode_eviction,
    encode_reply,
)
from sagas.broker.log import Refusal

CONNECTIONS_MAX: Final = 512
"""Far more than a demo opens; one more is closed at once instead of running the process out of descriptors."""

PENDING_MAX: Final = 32
"""Replies of a connection that wait for the disk before its next request has to."""

LATE_S: Final = 0.05
"""How long a reply that nobody waits for may be kept back, to be sent with others: each wakes the client by itself."""

logger = logging.getLogger(__name__)


class _Pending:
    """A reply that may not be sent yet."""

    def __init__(self, data: bytes, *, is_awaited: bool = True, is_ready: bool = False) -> None:
        self.data = data
        self.is_awaited = is_awaited
        self.is_ready = is_ready


class Connection(asyncio.Protocol):
    """A client, from the connection to its end. `fail` stops the server: it is called when a write fails."""

    def __init__(
        self,
        broker: Broker,
        flusher: Flusher,
        connections: "dict[int, Connection]",
        number: int,
        fail: Callable[[OSError], None],
    ) -> None:
        self._broker = broker
        self._flusher = flusher
        self._connections = connections
        self._number = number
        self._fail = fail
        self._frames = FrameReader()
        self._waiting: deque[Request] = deque()
        self._pending: deque[_Pending] = deque()
        self._late: list[bytes] = []
        self._late_timer: asyncio.TimerHandle | None = None
        self._is_held = False
        self._is_paused = False
        self._wait: tuple[Request, Wait] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None

    # ------------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._connections) >= CONNECTIONS_MAX:
            logger.warning("more than %d connections: the newest is closed", CONNECTIONS_MAX)
            transport.abort()
            return
        self._connections[self._number] = self
        host, port = transport.get_extra_info("peername")[:2]
        local_host, local_port = transport.get_extra_info("sockname")[:2]
        self._session = Session(self._number, f"{host}:{port}", local_host, local_port)
        self._session.last_heard_ms = self._broker.now_ms()
        self._broker.sessions[self._number] = self._session

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, and with it its memberships."""
        self._connections.pop(self._number, None)
        self._broker.sessions.pop(self._number, None)
        self._waiting.clear()
        self._pending.clear()
        self._late.clear()
        self._wait = None
        self._broker.arrivals.forget(self)
        for timer in (self._timer, self._late_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._late_timer = None
        self._transport = None
        if self._session is not None:
            log_out(self._broker, self._session)
            self._session = None

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            self._waiting.extend(self._frames.feed(data))
        except BadFrame as error:
            logger.warning("connection %d is closed: %s", self._number, error)
            self._waiting.clear()
            self.abort()
            return
        self._serve()

    def pause_writing(self) -> None:
        """The client does not read its replies."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """The client has read."""
        self._is_paused = False
        self._serve()

    # ------------------------------------------------------------------ the rest

    def abort(self) -> None:
        """Close at once; replies that are not sent yet are not sent."""
        if self._transport is not None:
            self._transport.abort()

    def _serve(self) -> None:
        """Serve what waits, until a reply has to wait itself."""
        session, transport = self._session, self._transport
        if session is None or transport is None:
            return
        if self._waiting:
            session.last_heard_ms = self._broker.now_ms()
        while self._waiting and not (self._is_held or self._is_paused or len(self._pending) >= PENDING_MAX):
            try:
                self._serve_one(session, self._waiting.popleft())
            except OSError as error:
                # asyncio would take it for this connection's own trouble, and the others would go on.
                self._fail(error)
                return
        if self._waiting and transport.is_reading():
            transport.pause_reading()
        elif not self._waiting and not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()

    def _serve_one(self, session: Session, request: Request) -> None:
        try:
            if request.operation == OPERATION_LOGIN:
                body = log_in(self._broker, session, request.body)
                self._send(
                    encode_eviction(request, EVICTED_CREDENTIALS) if body is None else encode_reply(request, body)
                )
            elif request.operation == OPERATION_LOGOUT:
                log_out(self._broker, session)
                self._send(encode_reply(request))
            else:
                self._reply(request, answer(self._broker, session, request))
        except Refusal as refusal:
            self._send(encode_reply(request, status=refusal.status))

    def _reply(self, request: Request, done: Answer) -> None:
        if done.wait is not None:
            self._answer_when_there(request, done.wait)
            return
        reply = encode_reply(request, done.body, done.batches)
        if not done.files:
            self._send(reply)
            return
        pending = _Pending(reply, is_awaited=done.is_awaited)
        self._pending.append(pending)

        def release() -> None:
            if done.after is not None:
                done.after()
            pending.is_ready = True
            while self._pending and self._pending[0].is_ready:
                first = self._pending.popleft()
                self._write(first.data, is_awaited=first.is_awaited)
            if self._waiting:
                self._serve()

        self._flusher.release_after_sync(done.files, release, is_awaited=done.is_awaited)

    def _answer_when_there(self, request: Request, wait: Wait) -> None:
        found = wait.reply()
        if found or not wait.at_most_ms:
            self._send(encode_reply(request, *found))
            return
        self._is_held = True
        self._wait = request, wait
        self._broker.arrivals.watch(self, wait.partitions)
        self._deadline = self._loop.time() + wait.at_most_ms / 1000
        # One that is under way is left alone, and looks at the deadline: most waits end long before their time.
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_time)

    def look(self) -> None:
        """Messages have come to what is, or was, waited for."""
        if self._wait is not None:
            # What has come may be for another member of the group: then this one waits on.
            found = self._wait[1].reply()
            if found:
                self._end_wait(self._wait[0], found)

    def _look_at_the_time(self) -> None:
        self._timer = None
        if self._wait is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_time)
        else:
            self._end_wait(self._wait[0], ())

    def _end_wait(self, request: Request, found: tuple[bytes, ...]) -> None:
        self._wait = None
        self._is_held = False
        self._send(encode_reply(request, *found))
        if self._waiting:
            # Not at once: a message that ends this wait may be followed by one that ends the next client's, and so on.
            self._loop.call_soon(self._serve)

    def _send(self, data: bytes) -> None:
        """Reply, behind what has to be replied before."""
        if self._pending:
            self._pending.append(_Pending(data, is_ready=True))
        else:
            self._write(data)

    def _write(self, data: bytes, *, is_awaited: bool = True) -> None:
        self._late.append(data)
        if is_awaited:
            self._write_late()
        elif self._late_timer is None:
            self._late_timer = self._loop.call_later(LATE_S, self._write_late)

    def _write_late(self) -> None:
        if self._late_timer is not None:
            self._late_timer.cancel()
            self._late_timer = None
        if self._transport is not None:
            self._transport.write(b"".join(self._late))
        self._late.clear()
