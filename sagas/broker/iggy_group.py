"""The requests about a consumer group: join, leave, who may read what, and from where.

A group exists topic by topic, and is made by its first member.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_errors import Refusal, Refused, refused_by_status
from sagas.broker.iggy_together import Together
from sagas.errors import TopicMissing
from sagas.records import Position

_log = logging.getLogger("sagas.broker")


class Extent(NamedTuple):
    """How large a topic is; `size` is in bytes, `made` says when each partition was made."""

    made: dict[int, int]
    messages: int
    size: int


class IggyGroup:
    """The group `name` on the topics of `stream`, as the member behind `connection` sees it."""

    def __init__(self, connection: IggyConnection, stream: str, name: str) -> None:
        self.name = name
        self._connection = connection
        self._together = Together(connection, stream)
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

    async def shares(self, topics: Sequence[str]) -> dict[str, wire.Share] | None:
        """Which partitions of each topic are this member's now; None when it is no member of one."""
        bodies = [wire.group_at(self._stream, topic, self.name) for topic in topics]
        shares: dict[str, wire.Share] = {}
        for topic, reply in zip(topics, await self._each("sync group", wire.SYNC_GROUP, bodies), strict=True):
            if isinstance(reply, Refused):
                raise reply
            share = wire.read_share(reply)
            if share is None:
                return None
            shares[topic] = share
        return shares

    async def extent(self, topic: str) -> Extent:
        """How large the topic is; nothing when it is not there."""
        details = await self._connection.call(
            f"get topic {topic!r}", lambda client: client.get_topic(self._stream, topic)
        )
        if details is None:
            return Extent({}, 0, 0)
        made = {partition.id: partition.created_at for partition in details.partitions}
        return Extent(made, details.messages_count, details.size)

    async def number(self) -> int:
        """By which number the server knows the connection: another one after each time it was made."""
        return wire.read_number(await self._raw("get me", wire.GET_ME, b""))

    async def store(self, positions: Sequence[Position]) -> list[Position]:
        """Store offsets; those of partitions that are not this member's, or not what they were taken for."""
        bodies = [wire.store_offset(self._stream, p.topic, self.name, p.partition, p.offset) for p in positions]
        replies = await self._each("store offset", wire.STORE_OFFSET, bodies)
        lost: list[Position] = []
        for position, reply in zip(positions, replies, strict=True):
            if not isinstance(reply, Refused):
                continue
            if reply.refusal is Refusal.INVALID_OFFSET:
                _log.error(
                    "topic %r, partition %d: offset %d cannot be stored, the log ends before it: the broker lost "
                    "messages; reading goes on from the stored offset",
                    *(position.topic, position.partition, position.offset),
                )
            elif reply.refusal not in {Refusal.NOT_FOUND, Refusal.NOT_A_MEMBER}:
                raise reply
            lost.append(position)
        return lost

    async def _each(self, what: str, code: int, bodies: Sequence[bytes]) -> list[bytes | Refused]:
        """The replies to requests of one kind, which go as one where the server can take it."""
        name = f"{what} of group {self.name!r}"
        found = await self._together.each(name, [(code, body) for body in bodies])
        if found is not None:
            return [refused_by_status(name, status) if status else reply for status, reply in found]
        replies: list[bytes | Refused] = []
        for body in bodies:
            try:
                replies.append(await self._raw(name, code, body))
            except Refused as refused:
                replies.append(refused)
        return replies

    async def _raw(self, name: str, code: int, body: bytes) -> bytes:
        return await self._connection.call(name, lambda client: client.send_binary_request(code, body))

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
            if refused.refusal is Refusal.NOT_FOUND:
                raise TopicMissing(self._stream, topic) from None
            if refused.refusal is not Refusal.EXISTS:  # Another member was as quick: good.
                raise
