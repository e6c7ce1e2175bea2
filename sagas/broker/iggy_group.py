"""The requests about a consumer group: join, leave, who may read what, and from where.

A group exists topic by topic, and is made by its first member.
"""

import logging

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_errors import Refusal, Refused
from sagas.records import Position

_log = logging.getLogger("sagas.broker")


class IggyGroup:
    """The group `name` on the topics of `stream`, as the member behind `connection` sees it."""

    def __init__(self, connection: IggyConnection, stream: str, name: str) -> None:
        self.name = name
        self._connection = connection
        self._stream = stream

    async def join(self, topic: str) -> None:
        """Be a member, of a group that may still have to be made."""
        try:
            await self._join(topic)
        except Refused as refused:
            if refused.refusal is not Refusal.NOT_FOUND:
                raise
            await self._create(topic)
            await self._join(topic)

    async def leave(self, topic: str) -> None:
        """Be a member no more."""
        await self._connection.call(
            f"leave group {self.name!r} of topic {topic!r}",
            lambda client: client.leave_consumer_group(self._stream, topic, self.name),
        )

    async def share(self, topic: str) -> wire.Share | None:
        """Which partitions are this member's now; None when it is no member."""
        body = wire.group_at(self._stream, topic, self.name)
        reply = await self._connection.call(
            f"sync group {self.name!r} of topic {topic!r}",
            lambda client: client.send_binary_request(wire.SYNC_GROUP, body),
        )
        return wire.read_share(reply)

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it is not there."""
        details = await self._connection.call(
            f"get topic {topic!r}", lambda client: client.get_topic(self._stream, topic)
        )
        return 0 if details is None else details.partitions_count

    async def number(self) -> int:
        """By which number the server knows the connection: another one after each time it was made."""
        reply = await self._connection.call("get me", lambda client: client.send_binary_request(wire.GET_ME, b""))
        return wire.read_number(reply)

    async def store(self, position: Position) -> bool:
        """Store an offset; False when the partition is not this member's, or not what it was taken for."""
        where = f"{position.topic!r}/{position.partition}"
        body = wire.store_offset(self._stream, position.topic, self.name, position.partition, position.offset)
        try:
            await self._connection.call(
                f"store offset of {where}", lambda client: client.send_binary_request(wire.STORE_OFFSET, body)
            )
        except Refused as refused:
            if refused.refusal is Refusal.INVALID_OFFSET:
                _log.error(
                    "topic %r, partition %d: offset %d cannot be stored, the log ends before it: the broker lost "
                    "messages; reading goes on from the stored offset",
                    *(position.topic, position.partition, position.offset),
                )
            elif refused.refusal not in {Refusal.NOT_FOUND, Refusal.NOT_A_MEMBER}:
                raise
            return False
        return True

    async def start_of(self, topic: str, partition: int) -> int:
        """The offset to read first in a partition that has become this member's."""
        body = wire.offset_of(self._stream, topic, self.name, partition)
        reply = await self._connection.call(
            f"read offset of {topic!r}/{partition} for {self.name!r}",
            lambda client: client.send_binary_request(wire.GET_OFFSET, body),
        )
        known = wire.read_offsets(reply)
        if known is None:
            return 0
        following = known.next_offset(is_empty=known.is_at_zero and await self._is_empty(topic, partition))
        if following is not None:
            return following
        _log.error(
            "topic %r, partition %d: group %r has dealt with offset %d and the log ends at %d: the broker lost "
            "messages; reading the partition from its beginning, messages known by their id change nothing",
            *(topic, partition, self.name, known.stored, known.current),
        )
        return 0

    async def _is_empty(self, topic: str, partition: int) -> bool:
        details = await self._connection.call(
            f"get topic {topic!r}", lambda client: client.get_topic(self._stream, topic)
        )
        return details is None or all(p.id != partition or p.messages_count == 0 for p in details.partitions)

    async def _join(self, topic: str) -> None:
        await self._connection.call(
            f"join group {self.name!r} of topic {topic!r}",
            lambda client: client.join_consumer_group(self._stream, topic, self.name),
        )

    async def _create(self, topic: str) -> None:
        try:
            await self._connection.call(
                f"create group {self.name!r} of topic {topic!r}",
                lambda client: client.create_consumer_group(self._stream, topic, self.name),
            )
        except Refused as refused:
            if refused.refusal is not Refusal.EXISTS:  # Another member was as quick: good.
                raise
