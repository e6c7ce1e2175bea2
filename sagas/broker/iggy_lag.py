"""How far a group is behind the end of a topic.

A stored offset and the log's last one come together in one reply. Where nothing was stored yet, the partition's own
count is not told: then all that the topic has besides the other partitions' messages counts as waiting.
"""

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_connection import IggyConnection


async def lag_of(connection: IggyConnection, stream: str, topic: str, group: str) -> int:
    """Messages of `topic` behind the stored offsets of `group`; 0 for a topic that is not there. Raises BrokerError."""
    details = await connection.call(f"get topic {topic!r}", lambda client: client.get_topic(stream, topic))
    if details is None:
        return 0
    behind, before, unknown = 0, 0, 0
    for partition in range(details.partitions_count):
        body = wire.offset_of(stream, topic, group, partition)
        known = wire.read_offsets(await _ask(connection, f"read offset of {topic!r}/{partition} for {group!r}", body))
        if known is None:
            unknown += 1
        else:
            behind += max(0, known.current - known.stored)
            before += known.current + 1
    return behind + (max(0, details.messages_count - before) if unknown else 0)


async def _ask(connection: IggyConnection, name: str, body: bytes) -> bytes:
    return await connection.call(name, lambda client: client.send_binary_request(wire.GET_OFFSET, body))
