"""Reading a whole topic from its oldest message on, in no group: nothing is stored with the broker."""

from collections.abc import Sequence

from apache_iggy import Consumer, PollingStrategy, ReceiveMessage

from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_messages import read_message
from sagas.errors import BrokerError
from sagas.ports import Incoming

COUNT_MAX = 1_000
"""Messages in one request."""

_READER = Consumer.Single(1)
"""Iggy wants a name; with offsets given and none stored it is not used for anything."""


class IggyScan:
    """The messages of a topic, partition by partition; made by `IggyBroker.scan`."""

    def __init__(self, connection: IggyConnection, stream: str, topic: str) -> None:
        self._connection = connection
        self._stream = stream
        self._topic = topic
        self._next: dict[int, int] = {}

    async def count(self) -> int:
        """How many messages the topic holds now. Raises BrokerError when there is no such topic."""
        details = await self._connection.call(
            f"get topic {self._topic!r}", lambda client: client.get_topic(self._stream, self._topic)
        )
        if details is None:
            raise BrokerError(
                f"topic {self._topic!r} of stream {self._stream!r} is not there; name another stream with IGGY_STREAM, "
                "or have it written first"
            )
        self._next = {partition.id: self._next.get(partition.id, 0) for partition in details.partitions}
        return details.messages_count

    async def poll(self) -> Sequence[Incoming]:
        """The next messages of one partition, those of the first that has any; () when all were read up to now."""
        if not self._next:
            await self.count()
        for partition in self._next:
            polled = await self._poll_one(partition)
            if polled:
                self._next[partition] = polled[-1].offset() + 1
                return [read_message(self._topic, message) for message in polled]
        return ()

    def close(self) -> None:
        """Give up the connection."""
        self._connection.close()

    async def _poll_one(self, partition: int) -> list[ReceiveMessage]:
        return await self._connection.call(
            f"poll {self._topic!r}/{partition}",
            lambda client: client.poll_messages(
                self._stream,
                self._topic,
                consumer=_READER,
                polling_strategy=PollingStrategy.Offset(self._next[partition]),
                count=COUNT_MAX,
                auto_commit=False,
                partition_id=partition,
            ),
        )
