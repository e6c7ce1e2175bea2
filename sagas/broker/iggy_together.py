"""Reading, sending and the rest in several partitions with one request, by a server that can.

Theory of operation. The embedded broker has four requests that Iggy has not (`embedded/together.py`). They carry
batches as they are (`batch_messages.py`), and go through the client, which passes on what it does not know, or past it
(`iggy_direct.py`). A server that
does not know them says so, and is not asked again for `ASK_AGAIN_S`: then it may be another one. Meanwhile the caller
does it partition by partition.

A read may wait for messages. It has a connection of its own, since a connection takes one request at a time and a
commit must not wait for a message; so it says by its number which connection is the group's member.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_errors import Refusal, Refused
from sagas.errors import BrokerError
from sagas.ports import Settled
from sagas.records import Partition

ASK_AGAIN_S: Final = 10.0


class Requests(Protocol):
    """A connection that carries requests of any kind."""

    async def request(self, name: str, code: int, body: bytes) -> bytes:
        """The body of the reply; `name` is what errors call it.

        Raises BrokerUnavailable when the outcome is unknown, `Refused` when the broker said no.
        """
        ...

    @property
    def is_prompt(self) -> bool:
        """Whether `begin` would send something now."""
        ...

    def begin(self, name: str, code: int, body: bytes, settled: Settled) -> None:
        """Send a request at once; `settled` is called once with what `request` would have raised, None for nothing."""

    def close(self) -> None:
        """Give up the connection for good."""


class Together:
    """What goes over one connection about several partitions of `stream`."""

    def __init__(self, connection: Requests, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._ask_at = 0.0
        self._has_taken = False

    async def read(
        self, group: str, member: int, wanted: Sequence[tuple[Partition, int]], count_max: int, at_most_ms: int
    ) -> list[tuple[Partition, int, bytes]] | None:
        """Batches of those partitions that have a message at their offset, each with both; None: ask each by itself.

        `member` is the number of the connection that is the group's. Returns as soon as there is something, after
        `at_most_ms` at the latest. Raises BrokerUnavailable.
        """
        if not self.is_known:
            return None
        body = wire.read_together(self._stream, group, member, at_most_ms, count_max, wanted)
        try:
            reply = await self._connection.request("read messages", wire.READ_TOGETHER, body)
        except Refused:
            # Also for a topic that is gone: what is wrong with it comes out when it is asked by itself.
            self._is_unknown_for_a_while()
            return None
        return [(*wanted[place], batches) for place, batches in wire.read_parts(reply) if place < len(wanted)]

    async def send(self, batches: Sequence[tuple[Partition, int, bytes]]) -> bool:
        """Append batches, each with its partition and count, all or none; whether the server can do that.

        Raises BrokerUnavailable when the outcome is unknown, `Refused` when it was refused.
        """
        if not self.is_known:
            return False
        body = wire.send_together(self._stream, batches)
        try:
            await self._connection.request("send messages", wire.SEND_TOGETHER, body)
        except Refused as refused:
            if refused.refusal is not Refusal.UNKNOWN_REQUEST:
                raise
            self._is_unknown_for_a_while()
            return False
        self._has_taken = True
        return True

    def begin_send(self, batches: Sequence[tuple[Partition, int, bytes]], settled: Settled) -> None:
        """Send batches at once; `settled` is called with what `send` would have raised, or that it cannot be done."""

        def note(error: BrokerError | None) -> None:
            if isinstance(error, Refused) and error.refusal is Refusal.UNKNOWN_REQUEST:
                self._is_unknown_for_a_while()
            settled(error)

        self._connection.begin("send messages", wire.SEND_AHEAD, wire.send_together(self._stream, batches), note)

    async def each(self, name: str, requests: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]] | None:
        """Status and reply of several requests of a group's member, by their codes; None: send each by itself.

        `name` is what errors call them. Raises BrokerUnavailable.
        """
        if not self.is_known or len(requests) < 2:
            return None
        body = wire.each(requests)
        try:
            reply = await self._connection.request(name, wire.EACH, body)
        except Refused:
            self._is_unknown_for_a_while()
            return None
        return wire.read_parts(reply)

    def close(self) -> None:
        """Give up the connection."""
        self._connection.close()

    @property
    def is_prompt(self) -> bool:
        """Whether `begin_send` would send something now, to a server that was seen to take it.

        One that may take it is asked with `send` first: what it refuses then goes another way, and is no failure.
        """
        return self._has_taken and self._connection.is_prompt

    @property
    def is_known(self) -> bool:
        """Whether the server takes such requests, as far as that was seen."""
        return asyncio.get_running_loop().time() >= self._ask_at

    def _is_unknown_for_a_while(self) -> None:
        self._has_taken = False
        self._ask_at = asyncio.get_running_loop().time() + ASK_AGAIN_S
