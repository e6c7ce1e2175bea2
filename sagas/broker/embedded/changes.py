"""What changes the streams, topics and groups: the records of the metadata journal.

A change is applied to the log first; one that is refused is not written. Applying the same changes to an empty log
gives the same ids and epochs again (see `sagas.broker.log`), so the journal is all there is to restore.
"""

import msgspec

from sagas.broker.embedded.options import parse_options
from sagas.broker.log import Group, Log, Stream, Topic


class StreamCreated(msgspec.Struct, frozen=True, kw_only=True, tag="stream-created"):
    """A stream began."""

    name: str
    at_us: int


class StreamDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="stream-deleted"):
    """A stream ended, with everything in it."""

    stream: int


class TopicCreated(msgspec.Struct, frozen=True, kw_only=True, tag="topic-created"):
    """A topic began; `options` is the block that the client sent."""

    stream: int
    name: str
    partitions: int
    at_us: int
    options: bytes


class TopicDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="topic-deleted"):
    """A topic ended, with everything in it."""

    stream: int
    topic: int


class TopicPurged(msgspec.Struct, frozen=True, kw_only=True, tag="topic-purged"):
    """A topic lost all its messages."""

    stream: int
    topic: int


class PartitionsCreated(msgspec.Struct, frozen=True, kw_only=True, tag="partitions-created"):
    """A topic grew."""

    stream: int
    topic: int
    count: int
    at_us: int


class PartitionsDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="partitions-deleted"):
    """A topic shrank."""

    stream: int
    topic: int
    count: int


class GroupCreated(msgspec.Struct, frozen=True, kw_only=True, tag="group-created"):
    """A group began."""

    stream: int
    topic: int
    name: str


class GroupDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="group-deleted"):
    """A group ended, with its stored offsets."""

    stream: int
    topic: int
    group: int


Change = (
    StreamCreated
    | StreamDeleted
    | TopicCreated
    | TopicDeleted
    | TopicPurged
    | PartitionsCreated
    | PartitionsDeleted
    | GroupCreated
    | GroupDeleted
)

encode_change = msgspec.msgpack.Encoder().encode
decode_change = msgspec.msgpack.Decoder[Change](Change).decode


def apply(log: Log[None], change: Change) -> Stream[None] | Topic[None] | Group:
    """Make the change; returns what began, ended or was changed. Raises Refusal."""
    match change:
        case StreamCreated(name=name, at_us=at_us):
            return log.create_stream(name, at_us)
        case StreamDeleted(stream=stream):
            return log.delete_stream(stream)
        case TopicCreated(stream=stream, name=name, partitions=count, at_us=at_us, options=options):
            return log.create_topic(stream, name, count, at_us, options, expiry_us=parse_options(options).expiry_us)
        case TopicDeleted(stream=stream, topic=topic):
            return log.delete_topic(stream, topic)
        case TopicPurged(stream=stream, topic=topic):
            return log.purge_topic(stream, topic)
        case PartitionsCreated(stream=stream, topic=topic, count=count, at_us=at_us):
            return log.create_partitions(stream, topic, count, at_us)
        case PartitionsDeleted(stream=stream, topic=topic, count=count):
            return log.delete_partitions(stream, topic, count)
        case GroupCreated(stream=stream, topic=topic, name=name):
            return log.topic(stream, topic).create_group(name)
        case GroupDeleted(stream=stream, topic=topic, group=group):
            return log.topic(stream, topic).delete_group(group)
