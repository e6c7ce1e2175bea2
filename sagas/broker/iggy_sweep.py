"""Polling one partition after the other: what every Iggy server can."""

from collections.abc import Sequence

from apache_iggy import Consumer, PollingStrategy, ReceiveMessage

from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_messages import read_message
from sagas.ports import Incoming
from sagas.records import Partition

Read = tuple[Partition, int, list[Incoming]]
"""What was read of a partition, from an offset on."""


class Sweep:
    """Polls over one connection, in the name of a group."""

    def __init__(self, connection: IggyConnection, stream: str, group: str) -> None:
        self._connection = connection
        self._stream = stream
        self._consumer = Consumer.Group(group)

    async def read(self, wanted: Sequence[tuple[Partition, int]], count_max: int) -> list[Read]:
        """At most `count_max` messages of partitions, each from its offset on. Raises BrokerError; then of none."""
        found: list[Read] = []
        for at, offset in wanted:
            polled = await self._poll(at, offset, count_max)
            if polled:
                found.append((at, offset, [read_message(at[0], message) for message in polled]))
                count_max -= len(polled)
                if count_max <= 0:
                    break
        return found

    async def _poll(self, at: Partition, offset: int, count_max: int) -> list[ReceiveMessage]:
        topic, partition = at
        return await self._connection.call(
            f"poll {topic!r}/{partition}",
            lambda client: client.poll_messages(
                self._stream,
                topic,
                consumer=self._consumer,
                polling_strategy=PollingStrategy.Offset(offset),
                count=count_max,
                auto_commit=False,
                partition_id=partition,
            ),
        )
