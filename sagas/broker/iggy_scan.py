"""Reading a whole topic from its oldest message on, in no group: nothing is stored with the broker."""

from collections.abc import AsyncGenerator, Sequence

from apache_iggy import Consumer, PollingStrategy, ReceiveMessage, TopicDetails

from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_messages import read_message
from sagas.broker.iggy_portion import Portion
from sagas.broker.iggy_sweep import size_of
from sagas.errors import BrokerError, BrokerUnavailable
from sagas.ports import Incoming

COUNT_MAX = 1_000
"""Messages in one request, if they are not large (`iggy_portion.py`)."""

_READER = Consumer.Single(1)
"""Iggy wants a name; with offsets given and none stored it is not used for anything."""


class IggyScan:
    """The messages of a topic, partition by partition; made by `IggyBroker.scan`."""

    def __init__(self, connection: IggyConnection, stream: str, topic: str) -> None:
        self._connection = connection
        self._stream = stream
        self._topic = topic
        self._next: dict[int, int] = {}
        self._portion = Portion()

    async def count(self) -> int:
        """How many messages the topic holds now. Raises BrokerError when there is no such topic."""
        details = await self._details()
        self._next = {partition.id: self._next.get(partition.id, 0) for partition in details.partitions}
        return details.messages_count

    async def newest(self, count: int) -> AsyncGenerator[Sequence[Incoming], None]:
        """The last messages of each partition, `count` at most of each, and what comes while they are read.

        Of that no more than as many once again. In several parts, for they can be large. Raises BrokerError when there
        is no such topic.
        """
        details = await self._details()
        ends = {each.id: each.current_offset + 1 if each.messages_count else 0 for each in details.partitions}
        self._next = {partition: max(0, end - count) for partition, end in ends.items()}
        left = 2 * count * len(ends)
        while left > 0 and (batch := await self.poll()):
            yield batch
            left -= len(batch)

    async def poll(self) -> Sequence[Incoming]:
        """The next messages of one partition, those of the first that has any; () when all were read up to now."""
        if not self._next:
            await self.count()
        for partition in self._next:
            asked = self._portion.of(COUNT_MAX)
            try:
                polled = await self._poll_one(partition, asked)
            except BrokerUnavailable:
                self._portion.note_failed(asked)
                raise
            if polled:
                self._next[partition] = polled[-1].offset() + 1
                messages = [read_message(self._topic, message) for message in polled]
                self._portion.note_came(asked)
                self._portion.note_size(len(messages), sum(map(size_of, messages)))
                return messages
        return ()

    def close(self) -> None:
        """Give up the connection."""
        self._connection.close()

    async def _details(self) -> TopicDetails:
        details = await self._connection.call(
            f"get topic {self._topic!r}", lambda client: client.get_topic(self._stream, self._topic)
        )
        if details is None:
            raise BrokerError(
                f"topic {self._topic!r} of stream {self._stream!r} is not there; name another stream with IGGY_STREAM, "
                "or have it written first"
            )
        self._portion.note_size(details.messages_count, details.size)
        return details

    async def _poll_one(self, partition: int, count: int) -> list[ReceiveMessage]:
        return await self._connection.call(
            f"poll {self._topic!r}/{partition}",
            lambda client: client.poll_messages(
                self._stream,
                self._topic,
                consumer=_READER,
                polling_strategy=PollingStrategy.Offset(self._next[partition]),
                count=count,
                auto_commit=False,
                partition_id=partition,
            ),
        )
