"""How far a group is behind the end of a topic.

A stored offset and the log's last one come together in one reply. What has expired keeps its offsets and waits no
longer, so never more waits than the partition holds; and all of that, where nothing was stored yet.
"""

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_errors import Refusal, Refused


async def lag_of(connection: IggyConnection, stream: str, topic: str, group: str) -> int:
    """Messages of `topic` behind the stored offsets of `group`; 0 for a topic that is not there. Raises BrokerError."""
    details = await connection.call(f"get topic {topic!r}", lambda client: client.get_topic(stream, topic))
    if details is None:
        return 0
    behind = 0
    for partition in details.partitions:
        body = wire.offset_of(stream, topic, group, partition.id)
        name = f"read offset of {topic!r}/{partition.id} for {group!r}"
        known = wire.read_offsets(await _ask(connection, name, body))
        there = partition.messages_count
        behind += there if known is None else min(there, max(0, known.current - known.stored))
    return behind


async def _ask(connection: IggyConnection, name: str, body: bytes) -> bytes:
    """The reply, empty where nothing was stored: also by a group that nobody has made yet."""
    try:
        return await connection.call(name, lambda client: client.send_binary_request(wire.GET_OFFSET, body))
    except Refused as refused:
        if refused.refusal is not Refusal.NOT_FOUND:
            raise
        return b""
