"""What replies carry, encoded: streams, topics, groups, clients, the cluster, statistics."""

import os
import platform
import resource
import shutil
from pathlib import Path
from struct import Struct
from typing import Final

import msgspec

from sagas.broker.embedded.frames import name8, text32, u32, u64
from sagas.broker.embedded.options import parse_options
from sagas.broker.log import Group, Log, Stream, Topic

SERVER_VERSION: Final = "0.9.0"
PROTOCOL_VERSION: Final = (0 << 20) | (11 << 10) | 0
_CLUSTER_NAME: Final = "sagas"
_NOBODY: Final = 2**32 - 1
_TRANSPORT_TCP: Final = 1
_TOPIC = Struct("<IQIQBQQQ")
_PARTITION = Struct("<IQIQQQ")
_PORTS_AND_ROLE = Struct("<HHHHBB")
_STATS_NUMBERS = Struct("<IffQQQQQQQQIIIIQII")
_STATS_END = Struct("<IIIQQ")


class ClientInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A connection as others may see it. `groups` holds the ids of stream, topic and group of its memberships."""

    number: int
    address: str
    is_authenticated: bool
    groups: tuple[tuple[int, int, int], ...] = ()


def login(session: int) -> bytes:
    """The answer to a login: user 0, the only one there is."""
    return u32(0) + u64(session) + u32(PROTOCOL_VERSION) + name8(SERVER_VERSION)


def cluster(host: str, port: int) -> bytes:
    """A cluster of one node, at the address that the client dialled: with one, clients look no further."""
    node = text32("node-0") + text32(host) + _PORTS_AND_ROLE.pack(port, 0, 0, 0, 0, 0)
    return text32(_CLUSTER_NAME) + u32(1) + node


def stream_header(stream: Stream[None]) -> bytes:
    """A stream without its topics."""
    size = sum(partition.held_bytes for topic in stream.topics.values() for partition in topic.partitions)
    messages = sum(partition.count for topic in stream.topics.values() for partition in topic.partitions)
    numbers = u32(stream.id) + u64(stream.created_us) + u32(len(stream.topics)) + u64(size) + u64(messages)
    return numbers + name8(stream.name) + u32(0)


def stream_details(stream: Stream[None]) -> bytes:
    """A stream with the headers of its topics."""
    return stream_header(stream) + b"".join(topic_header(topic) for topic in stream.topics.values())


def topic_header(topic: Topic[None]) -> bytes:
    """A topic without its partitions. Its options are echoed; there are no others that follow from them."""
    options = parse_options(topic.options)
    numbers = _TOPIC.pack(
        topic.id,
        topic.created_us,
        len(topic.partitions),
        options.message_expiry_us,
        options.compression,
        options.size_max,
        sum(partition.held_bytes for partition in topic.partitions),
        sum(partition.count for partition in topic.partitions),
    )
    return numbers + name8(topic.name) + u32(len(topic.options)) + topic.options + u32(0)


def topic_details(topic: Topic[None]) -> bytes:
    """A topic with its partitions."""
    return topic_header(topic) + b"".join(
        _PARTITION.pack(
            partition.id,
            partition.created_us,
            partition.segments,
            partition.current_offset,
            partition.held_bytes,
            partition.count,
        )
        for partition in topic.partitions
    )


def group_header(group: Group) -> bytes:
    """A group without its members."""
    return u32(group.id) + u32(group.partitions) + u32(len(group.slots)) + name8(group.name)


def group_details(group: Group, now_ms: int) -> bytes:
    """A group with its members and what each of them owns."""
    return group_header(group) + b"".join(
        u32(slot) + u32(len(owned)) + b"".join(map(u32, owned)) for slot, owned in group.roster(now_ms)
    )


def client_header(client: ClientInfo) -> bytes:
    """A connection without its groups."""
    user = 0 if client.is_authenticated else _NOBODY
    numbers = u32(client.number) + u32(user) + bytes((_TRANSPORT_TCP,))
    return numbers + text32(client.address) + u32(len(client.groups))


def client_details(client: ClientInfo) -> bytes:
    """A connection with its groups."""
    return client_header(client) + b"".join(u32(number) for group in client.groups for number in group)


def stats(log: Log[None], clients: int, *, started_us: int, now_us: int, directory: Path) -> bytes:
    """Figures of the server. What this server does not measure is 0."""
    topics = [topic for stream in log.streams.values() for topic in stream.topics.values()]
    partitions = [partition for topic in topics for partition in topic.partitions]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(partition.held_bytes for partition in partitions)
    messages = sum(partition.count for partition in partitions)
    segments = sum(partition.segments for partition in partitions)
    groups = sum(len(topic.groups) for topic in topics)
    disk = shutil.disk_usage(directory)
    numbers = _STATS_NUMBERS.pack(
        os.getpid(), 0.0, 0.0, memory, 0, 0, now_us - started_us, started_us, 0, 0, size,
        len(log.streams), len(topics), len(partitions), segments, messages, clients, groups,
    )  # fmt: skip
    system = (platform.node(), platform.system(), platform.release(), platform.version(), SERVER_VERSION)
    return numbers + b"".join(map(text32, system)) + _STATS_END.pack(0, 0, 1, disk.free, disk.total)
