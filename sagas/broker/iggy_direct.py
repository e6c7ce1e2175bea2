"""A connection of our own to a broker on this machine, for the requests that the client only passes on.

Theory of operation. A call through the client costs 170 µs of CPU before anything is done, for it crosses into the
client's own runtime and its threads, and back; the same bytes written to a socket cost 50 (measured). What is read and
sent together (`iggy_together.py`) is coded by us from end to end, and the embedded broker is always on loopback,
without TLS. So to a loopback address, and nowhere else, these requests go over a plain socket. Groups, topics and all
that a real Iggy is asked are the client's.

Requests are answered in their order, so several may be under way. A connection whose outcome is unknown (time ran out,
a caller was cancelled, bytes that are no reply) is given up, with all that is under way on it; the next call makes
another one. A server that does not let us in is taken for one that has no such requests: then the client is used.
"""

import asyncio
import ipaddress
import struct
from collections import deque
from typing import Final
from uuid import uuid4

from sagas.broker.connection_string import IggyAddress
from sagas.broker.embedded.frames import (
    OPERATION_LOGIN,
    OPERATION_READ,
    BadFrame,
    Reply,
    ReplyReader,
    encode_request,
    name8,
)
from sagas.broker.iggy_errors import Refusal, Refused, refused_by_status
from sagas.errors import BrokerError, BrokerUnavailable
from sagas.ports import Settled

_PROTOCOL: Final = 11 << 10
_SESSION: Final = struct.Struct("<4xIQ")


def is_direct(address: IggyAddress) -> bool:
    """Whether requests to this address may go past the client."""
    host = address.server.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    return is_here and not address.is_tls and bool(address.credentials.username)


class DirectConnection:
    """A socket to the broker at `address`, connected when it is needed."""

    def __init__(self, address: IggyAddress, call_timeout_s: float) -> None:
        self._address = address
        self._timeout_s = call_timeout_s
        self._line: _Line | None = None
        self._is_closed = False
        self._connecting = asyncio.Lock()

    async def request(self, name: str, code: int, body: bytes) -> bytes:
        """The body of the reply; see `iggy_together.Requests`."""
        line = self._line
        if line is None or line.is_over:
            line = await self._connected(name)
        return await self._answered(line, f"broker {self._address.server}: {name}", OPERATION_READ, code, body)

    @property
    def is_prompt(self) -> bool:
        """Whether there is a connection; see `iggy_together.Requests`."""
        return self._line is not None and not self._line.is_over

    def begin(self, name: str, code: int, body: bytes, settled: Settled) -> None:
        """Send a request at once; see `iggy_together.Requests`."""
        where = f"broker {self._address.server}: {name}"
        if self._line is None:
            settled(BrokerUnavailable(f"{where}: not connected"))
            return
        answer = self._line.send(OPERATION_READ, code, body, self._timeout_s)
        answer.add_done_callback(lambda reply: settled(_failure_of(reply, where)))

    def close(self) -> None:
        """Give up the connection for good."""
        self._is_closed = True
        if self._line is not None:
            self._line.end(_Lost("this connection was closed"))

    async def _connected(self, name: str) -> "_Line":
        async with self._connecting:
            if self._is_closed:
                raise BrokerError(f"broker {self._address.server}: this connection was closed")
            if self._line is not None and not self._line.is_over:
                return self._line
            host, _, port = self._address.server.rpartition(":")
            where = f"broker {self._address.server}: {name}"
            connecting = asyncio.get_running_loop().create_connection(
                _Line, host.removeprefix("[").removesuffix("]"), int(port)
            )
            try:
                _, line = await asyncio.wait_for(connecting, self._timeout_s)
            except OSError as error:  # also a TimeoutError
                reason = str(error) or f"no answer within {self._timeout_s:g} s"
                raise BrokerUnavailable(f"{where}: cannot connect: {reason}") from None
            await self._log_in(line, where)
            self._line = line
            return line

    async def _log_in(self, line: "_Line", where: str) -> None:
        who = self._address.credentials
        password = who.password.encode()
        body = struct.pack("<I", _PROTOCOL) + name8("sagas") + name8("1") + name8(who.username)
        body += bytes((len(password),)) + password + struct.pack("<I", 0)
        try:
            reply = await self._answered(line, f"{where}: connect", OPERATION_LOGIN, 0, body)
            line.session = _SESSION.unpack_from(reply)[1]
        except (Refused, struct.error) as error:
            line.end(_Lost("not logged in"))
            raise Refused(where, f"not let in: {error}", Refusal.UNKNOWN_REQUEST) from None

    async def _answered(self, line: "_Line", where: str, operation: int, code: int, body: bytes) -> bytes:
        answer = line.send(operation, code, body, self._timeout_s)
        try:
            reply = await answer
        except _Lost as lost:
            if operation == OPERATION_LOGIN and not isinstance(lost, _Unanswered):
                raise Refused(where, str(lost)) from None
            raise BrokerUnavailable(f"{where}: {lost}") from None
        except asyncio.CancelledError:
            # The reply is still to come, and nobody would take it off the connection.
            line.end(_Lost("a caller was cancelled"))
            raise
        if reply.status:
            raise refused_by_status(where, reply.status)
        return reply.body


def _failure_of(answer: "asyncio.Future[Reply]", where: str) -> BrokerError | None:
    """What is wrong with an answer that is there, None for nothing."""
    lost = answer.exception()
    if lost is not None:
        return BrokerUnavailable(f"{where}: {lost}")
    status = answer.result().status
    return refused_by_status(where, status) if status else None


class _Lost(Exception):
    """The connection is over, and what was under way on it is unknown."""


class _Unanswered(_Lost):
    """The server is there and says nothing."""


class _Line(asyncio.Protocol):
    """One connection, from its beginning to its end."""

    def __init__(self) -> None:
        self.session = 0
        self.is_over = False
        self._transport: asyncio.Transport | None = None
        self._client = uuid4().bytes
        self._number = 0
        self._replies = ReplyReader()
        self._waiting: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    def send(self, operation: int, code: int, body: bytes, timeout_s: float) -> "asyncio.Future[Reply]":
        """Send a request; what comes back for it. `_Lost` when the connection ends, or `timeout_s` pass, before."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        if self.is_over or self._transport is None:
            answer.set_exception(_Lost("the connection was lost"))
            return answer
        due_at = loop.time() + timeout_s
        self._waiting.append((answer, due_at))
        if self._watch is None:
            self._watch = loop.call_at(due_at, self._look_at_oldest, timeout_s)
        self._transport.write(
            encode_request(operation, code, body, client=self._client, number=self._number, session=self.session)
        )
        self._number += 1
        return answer

    def end(self, reason: _Lost) -> None:
        """Give the connection up, and what is under way on it."""
        self.is_over = True
        if self._transport is not None:
            self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            answer, _ = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(reason)

    # ------------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server has accepted."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            for reply in self._replies.feed(data):
                self._hand_over(reply)
        except BadFrame as error:
            self.end(_Lost(f"the server said what is no reply: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The server is gone, or we gave it up."""
        self.end(_Lost(f"the connection was lost{f': {exc}' if exc else ''}"))

    def _hand_over(self, reply: Reply) -> None:
        if not self._waiting:
            raise BadFrame("a reply that nobody waits for")
        answer, _ = self._waiting.popleft()
        if not answer.done():
            answer.set_result(reply)

    def _look_at_oldest(self, timeout_s: float) -> None:
        """Give up when the request that waits longest has waited too long; else look again when it would have.

        One timer for all requests: to set one for each, and take it back, costs as much as coding it.
        """
        self._watch = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        _, due_at = self._waiting[0]
        if due_at <= loop.time():
            self.end(_Unanswered(f"no answer within {timeout_s:g} s"))
        else:
            self._watch = loop.call_at(due_at, self._look_at_oldest, timeout_s)
