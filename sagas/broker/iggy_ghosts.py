"""Members of a group that no connection is behind, and how a group is rid of them.

Theory of operation. A real Iggy keeps group members on its disk, and a connection that was there before a restart does
not come back: its member stays as a ghost that owns partitions nobody reads. The group shows more members than there
are connections in it. Both are asked for some time after a member has joined, and believed when they say so twice:
somebody may be joining or leaving between the two questions. Only servers that are one node are asked, for a node
does not tell of the others' connections; and only those that read partition by partition, since the embedded broker
has no ghosts.

A ghost cannot be removed, the group can: it is deleted, joined again, which makes it, and given the offsets it had.
* Two members that find the same ghost: a group is deleted by its number, which is never given again, so only one can;
  the other finds that it is in no group, and joins. What is stored again was read by the old group's number, too.
* A commit between reading and deleting is lost, and so are all offsets when the process dies right then: messages
  come again, and whoever reads knows them by their ids. Positions go back and never forward.
* Another member joins before the offsets are stored again: those of its partitions are refused. Then the new group is
  deleted as well, and all is done once more, at most `TRIES_MAX` times.
* For each connection it is done once. A ghost that is there all the same is said, with the partitions and the remedy.
"""

import logging
import math
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_errors import Refusal, Refused
from sagas.broker.iggy_lanes import Lane, Lanes
from sagas.records import Position

LOOK_S: Final = 1.0
"""How long after it has joined a member looks, and how much later once more if it saw a ghost."""
TRIES_MAX: Final = 5
"""How often others may be as quick as to join a group before its offsets are stored again."""

_log = logging.getLogger("sagas.broker")


class _Haunted(NamedTuple):
    """A group with a ghost, by its number, and what each of its members owns."""

    group: int
    partitions: int
    owned: tuple[tuple[int, ...], ...]


class Ghosts:
    """Those in the group of one subscription."""

    def __init__(self, lanes: Lanes, stream: str, group: str, topics: Sequence[str]) -> None:
        self._lanes = lanes
        self._stream = stream
        self._group = group
        self._topics = topics
        self._due_at = math.inf
        self._suspected: dict[str, int] = {}
        self._mended: dict[str, int] = {}

    def look_later(self, now_s: float) -> None:
        """This member has joined."""
        self._due_at = now_s + LOOK_S
        self._suspected = {}

    async def are_gone(self, now_s: float) -> bool:
        """Look, if it is time; whether the group was made again, so that this member is to join. Raises BrokerError."""
        if now_s < self._due_at:
            return False
        self._due_at = math.inf
        is_mended = False
        suspected: dict[str, int] = {}
        for topic in self._topics:
            found = await self._look(self._lanes.of(topic), topic)
            if found is None:
                continue
            if self._suspected.get(topic) != found.group:
                suspected[topic] = found.group
            else:
                is_mended |= await self._try_to_end(self._lanes.of(topic), topic, found)
        if suspected:
            self._suspected = suspected
            self._due_at = now_s + LOOK_S
        return is_mended

    async def _look(self, lane: Lane, topic: str) -> _Haunted | None:
        """What the group of a topic is, if it has a ghost. None also where the server does not tell."""
        connection = lane.connection
        try:
            if wire.read_node_count(await connection.request("get nodes", wire.GET_NODES, b"")) != 1:
                return None
            stream = await connection.call("get stream", lambda client: client.get_stream(self._stream))
            there = await connection.call("get topic", lambda client: client.get_topic(self._stream, topic))
            group = await connection.call(
                "get group", lambda client: client.get_consumer_group(self._stream, topic, self._group)
            )
            if stream is None or there is None or group is None:
                return None
            connected = 0
            clients = await connection.request("get clients", wire.GET_CLIENTS, b"")
            for number in wire.read_clients_in_groups(clients):
                reply = await connection.request("get client", wire.GET_CLIENT, struct.pack("<I", number))
                connected += (stream.id, there.id, group.id) in wire.read_groups_of_client(reply)
        except (Refused, struct.error) as error:
            _log.debug("group %r of topic %r: not looked for members that are gone: %s", self._group, topic, error)
            return None
        if group.members_count <= connected:
            return None
        return _Haunted(group.id, group.partitions_count, tuple(tuple(member.partitions) for member in group.members))

    async def _try_to_end(self, lane: Lane, topic: str, found: _Haunted) -> bool:
        try:
            return await self._end(lane, topic, found)
        except Refused as refused:
            if refused.refusal is Refusal.NOT_FOUND:
                return True  # another member was as quick
            _log.error(
                "topic %r: group %r has members that no connection is behind, which own partitions that nobody reads, "
                "and it could not be made again: %s; members own %s",
                *(topic, self._group, refused, list(found.owned)),
            )
            return True

    async def _end(self, lane: Lane, topic: str, found: _Haunted) -> bool:
        """Whether the group was made again."""
        if self._mended.get(topic) == lane.connection.epoch:
            _log.error(
                "topic %r: group %r has members that no connection is behind, and nobody reads their partitions; its "
                "members own %s, this one is to read %s. Delete the group: its members join again and read "
                "from the beginning, messages known by their ids change nothing",
                *(topic, self._group, list(found.owned), await self._own(lane, topic)),
            )
            return False
        self._mended[topic] = lane.connection.epoch
        known = [await self._stored(lane, topic, found.group, number) for number in range(found.partitions)]
        stored = [position for position in known if position is not None]
        _log.warning(
            "topic %r: group %r has members that no connection is behind (the server was restarted); it is made again, "
            "with the offsets %s",
            *(topic, self._group, {position.partition: position.offset for position in stored}),
        )
        group = found.group
        for _ in range(TRIES_MAX):
            if not await self._delete(lane, topic, group):
                return True  # another member was as quick
            await lane.members.join(topic)
            if not await lane.members.store(stored):
                return True
            details = await lane.connection.call(
                "get group", lambda client: client.get_consumer_group(self._stream, topic, self._group)
            )
            if details is None:
                return True
            group = details.id
        _log.error(
            "topic %r: others joined group %r each time before its offsets %s were stored again; what they own is read "
            "from the beginning, messages known by their ids change nothing",
            *(topic, self._group, {position.partition: position.offset for position in stored}),
        )
        return True

    async def _own(self, lane: Lane, topic: str) -> list[int]:
        shares = await lane.members.shares([topic])
        return list(shares[topic].partitions) if shares else []

    async def _stored(self, lane: Lane, topic: str, group: int, partition: int) -> Position | None:
        body = wire.offset_of(self._stream, topic, group, partition)
        known = wire.read_offsets(await lane.connection.request("read offset", wire.GET_OFFSET, body))
        # One past the end of the log would be refused; the partition is read from its beginning anyhow.
        if known is None or known.stored > known.current:
            return None
        return Position(topic=topic, partition=partition, offset=known.stored)

    async def _delete(self, lane: Lane, topic: str, group: int) -> bool:
        try:
            await lane.connection.call(
                f"delete group {self._group!r} of topic {topic!r}",
                lambda client: client.delete_consumer_group(self._stream, topic, group),
            )
        except Refused as refused:
            if refused.refusal is not Refusal.NOT_FOUND:
                raise
            return False
        return True
