"""Sending: which partition a message goes to, and how all of a batch gets there.

Theory of operation. Partitions are chosen here (`partitioning.py`) and sent by number, with the count the topic really
has: asked once for each connection. What was added to a topic since then is used after the next reconnect.

A server that can takes the messages of all partitions in one request (`iggy_together.py`). With any other there
are several connections, each for its own partitions, so that these do not wait for each other's messages to be on
the broker's disk; the messages of one partition always take the same way, one after the other.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import anyio
from apache_iggy import SendMessage, TopicDetails

from sagas.broker.batch_messages import encode_batch
from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_errors import Refusal, Refused
from sagas.broker.iggy_messages import make_message
from sagas.broker.iggy_together import Requests, Together
from sagas.broker.partitioning import partition_of
from sagas.errors import BrokerError, BrokerUnavailable, TopicMissing
from sagas.ports import Outgoing, Settled
from sagas.records import Partition

SENDERS: Final = 12
"""Connections that send, as far as there are so many partitions: what is sent to one waits for the broker's disk."""

SEND_COUNT_MAX: Final = 1000
"""Messages of a partition in one request."""

SEND_BYTES_MAX: Final = 1_000_000
"""Payload bytes of a partition in one request; a longer message goes alone. A frame of more than 64 MiB is refused."""

TOGETHER_BYTES_MAX: Final = 8_000_000
"""Payload bytes of all partitions in one request, as long as there is more than one."""

HEADERS_MAX: Final = 80_000
"""Headers in one request. Of the longest ones that are 41.6 MB, which a frame has room for beside the payloads.

Counted and not measured: that would cost as much for each message as all the rest of this.
"""

Chunk = tuple[Partition, list[Outgoing]]
"""Messages for a partition that go in one request."""


class IggySender:
    """Sends to the topics of `stream`: over `together` where the server can, else over `connections`.

    The first of these is the one that others may use, too.
    """

    def __init__(
        self,
        connections: Sequence[IggyConnection],
        together: Requests,
        stream: str,
        count_max: int = SEND_COUNT_MAX,
    ) -> None:
        self._connections = connections
        self._first = connections[0]
        self._stream = stream
        self._count_max = count_max
        self._together = Together(together, stream)
        self._counts: dict[str, int] = {}
        self._counts_epoch = 0
        self._lane_of: dict[Partition, int] = {}

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Append all; see `ports.Broker`.

        Raises BrokerError naming the message, before anything is sent, when Iggy cannot take one.
        """
        counts = {topic: await self._partition_count(topic) for topic in {message.topic for message in messages}}
        chunks = self._chunks_of(messages, counts)
        if not (self._together.is_known and await self._send_together(chunks)):
            await self._send_in_lanes(chunks)

    def begin(self, messages: Sequence[Outgoing], settled: Settled) -> bool:
        """Send all in one request, where nothing has to be asked before; see `ports.PromptBroker`.

        It goes out in the loop's next round: whoever has dealt with messages asks for the next ones in this one, and
        these are read meanwhile, instead of after what is sent was written and told.
        """
        if not (self._together.is_prompt and self._first.is_connected and self._counts_epoch == self._first.epoch):
            return False
        if not all(message.topic in self._counts for message in messages):
            return False
        requests = list(_requests(self._chunks_of(messages, self._counts)))
        if len(requests) != 1:
            return False
        asyncio.get_running_loop().call_soon(self._send_in_turn, requests[0], settled)
        return True

    def _send_in_turn(self, request: Sequence[Chunk], settled: Settled) -> None:
        def note(error: BrokerError | None) -> None:
            if isinstance(error, Refused):
                self._note_refused(error, [at[0] for at, _ in request])
            elif isinstance(error, BrokerUnavailable):
                self._drop_all()
            settled(error)

        try:
            batches = _encoded(request)
        except BrokerError as error:
            settled(error)
        except Exception as error:
            # Nobody is above this call who would hear of it: whoever publishes the same meets it again.
            settled(BrokerError(f"messages could not be encoded: {error!r}"))
        else:
            self._together.begin_send(batches, note)

    async def details(self, topic: str) -> TopicDetails | None:
        """What the server says of the topic, asked anew; None when it is not there."""
        return await self._first.call(f"get topic {topic!r}", lambda client: client.get_topic(self._stream, topic))

    def close(self) -> None:
        """Give up the connections."""
        self._together.close()
        for connection in self._connections:
            connection.close()

    # ------------------------------------------------------------------- in one request

    async def _send_together(self, chunks: Sequence[Chunk]) -> bool:
        """Send all, unless the server can do it partition by partition only; whether it was done."""
        requests = [_encoded(request) for request in _requests(chunks)]
        try:
            # The first tells: a server that has taken one takes the others.
            return all([await self._together.send(request) for request in requests])
        except Refused as refused:
            self._note_refused(refused, [at[0] for at, _ in chunks])
            raise
        except BrokerUnavailable:
            self._drop_all()
            raise

    # ------------------------------------------------------------------- partition by partition

    async def _send_in_lanes(self, chunks: Sequence[Chunk]) -> None:
        lanes: list[list[tuple[Partition, list[SendMessage]]]] = [[] for _ in self._connections]
        for (topic, partition), chunk in chunks:
            number = self._lane_of.setdefault((topic, partition), len(self._lane_of) % len(lanes))
            lanes[number].append(((topic, partition), [make_message(message) for message in chunk]))
        busy = [(connection, lane) for connection, lane in zip(self._connections, lanes, strict=True) if lane]
        failures: list[BrokerError] = []
        if len(busy) == 1:
            await self._send_lane(*busy[0], failures)
        elif busy:
            async with anyio.create_task_group() as tasks:
                for connection, lane in busy:
                    tasks.start_soon(self._send_lane, connection, lane, failures)
        if failures:
            if any(isinstance(failure, BrokerUnavailable) for failure in failures):
                self._drop_all()
            raise failures[0]

    async def _send_lane(
        self,
        connection: IggyConnection,
        lane: Sequence[tuple[Partition, list[SendMessage]]],
        failures: list[BrokerError],
    ) -> None:
        try:
            for (topic, partition), messages in lane:
                await self._send(connection, topic, partition, messages)
        except BrokerError as error:
            failures.append(error)

    async def _send(self, connection: IggyConnection, topic: str, partition: int, messages: list[SendMessage]) -> None:
        try:
            await connection.call(
                f"send to {topic!r}/{partition}",
                lambda client: client.send_messages(self._stream, topic, partition, messages),
            )
        except Refused as refused:
            self._note_refused(refused, [topic])
            raise

    def _drop_all(self) -> None:
        """The server was away, or is: no other connection has to find that out by another failure."""
        for connection in self._connections:
            connection.drop()

    # ------------------------------------------------------------------- partitions

    def _chunks_of(self, messages: Sequence[Outgoing], counts: Mapping[str, int]) -> list[Chunk]:
        """The messages by partition, `counts` being how many each topic has."""
        batches: dict[Partition, list[Outgoing]] = {}
        for message in messages:
            at = (message.topic, partition_of(message.key, counts[message.topic]))
            batches.setdefault(at, []).append(message)
        return [(at, chunk) for at, batch in batches.items() for chunk in _chunks(batch, self._count_max)]

    def _note_refused(self, refused: Refused, topics: Collection[str]) -> None:
        if refused.refusal is Refusal.NOT_FOUND:
            # A topic was deleted, or made again with fewer partitions: count them anew next time.
            for topic in topics:
                self._counts.pop(topic, None)

    async def _partition_count(self, topic: str) -> int:
        if not self._first.is_connected:
            await self._first.connect()
        if self._counts_epoch != self._first.epoch:
            self._counts = {}
            self._counts_epoch = self._first.epoch
        known = self._counts.get(topic)
        if known is not None:
            return known
        details = await self.details(topic)
        if details is None or not details.partitions_count:
            raise TopicMissing(self._stream, topic)
        self._counts[topic] = details.partitions_count
        return details.partitions_count


def _encoded(request: Sequence[Chunk]) -> list[tuple[Partition, int, bytes]]:
    return [(at, len(chunk), encode_batch(chunk)) for at, chunk in request]


def _requests(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Chunks that go together: each partition once, and not too many bytes."""
    request: dict[Partition, list[Outgoing]] = {}
    size, headers = 0, 0
    for at, chunk in chunks:
        chunk_size = sum(len(message.payload) for message in chunk)
        chunk_headers = sum(len(message.headers) for message in chunk)
        is_full = size + chunk_size > TOGETHER_BYTES_MAX or headers + chunk_headers > HEADERS_MAX
        if request and (at in request or is_full):
            yield list(request.items())
            request, size, headers = {}, 0, 0
        request[at] = chunk
        size += chunk_size
        headers += chunk_headers
    if request:
        yield list(request.items())


def _chunks(batch: Sequence[Outgoing], count_max: int) -> Iterator[list[Outgoing]]:
    chunk: list[Outgoing] = []
    size, headers = 0, 0
    for message in batch:
        is_full = size + len(message.payload) > SEND_BYTES_MAX or headers + len(message.headers) > HEADERS_MAX
        if chunk and (len(chunk) >= count_max or is_full):
            yield chunk
            chunk, size, headers = [], 0, 0
        chunk.append(message)
        size += len(message.payload)
        headers += len(message.headers)
    if chunk:
        yield chunk
