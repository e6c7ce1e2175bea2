"""Streams, topics, partitions and groups: creating, deleting, looking them up, joining and leaving.

A change is answered when it is on the disk. Looking up what does not exist gives an empty body, never a refusal.
"""

from sagas.broker.embedded import replies
from sagas.broker.embedded.changes import (
    Change,
    GroupCreated,
    GroupDeleted,
    PartitionsCreated,
    PartitionsDeleted,
    StreamCreated,
    StreamDeleted,
    TopicCreated,
    TopicDeleted,
    TopicPurged,
)
from sagas.broker.embedded.commands import Answer, Broker, Session
from sagas.broker.embedded.frames import BodyReader, u32, u64
from sagas.broker.embedded.options import parse_options
from sagas.broker.log import Group, Ident, Stream, Topic

# --------------------------------------------------------------------------- looking up


def get_stream(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """One stream with its topics."""
    del session
    stream = broker.disk.log.find_stream(body.ident())
    return Answer(body=replies.stream_details(stream) if stream else b"")


def get_streams(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """All streams."""
    del session, body
    return Answer(body=b"".join(map(replies.stream_header, broker.disk.log.streams.values())))


def get_topic(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """One topic with its partitions."""
    del session
    topic = broker.disk.log.find_topic(body.ident(), body.ident())
    return Answer(body=replies.topic_details(topic) if topic else b"")


def get_topics(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """All topics of a stream."""
    del session
    topics = broker.disk.log.stream(body.ident()).topics
    return Answer(body=u32(len(topics)) + b"".join(map(replies.topic_header, topics.values())))


def get_group(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """One group with its members."""
    del session
    found = _find_group(broker, body)
    return Answer(body=replies.group_details(found, broker.now_ms()) if found else b"")


def get_groups(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """All groups of a topic."""
    del session
    topic = broker.disk.log.topic(body.ident(), body.ident())
    return Answer(body=b"".join(map(replies.group_header, topic.groups.values())))


# --------------------------------------------------------------------------- changing


def create_stream(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Begin a stream."""
    del session
    return _changed(broker, StreamCreated(name=body.name8(), at_us=broker.now_us()))


def delete_stream(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """End a stream."""
    del session
    return _removed(broker, StreamDeleted(stream=broker.disk.log.stream(body.ident()).id))


def purge_stream(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Remove the messages of all topics of a stream."""
    del session
    stream = broker.disk.log.stream(body.ident())
    answer = Answer()
    for topic in stream.topics:
        answer = _removed(broker, TopicPurged(stream=stream.id, topic=topic))
    return answer


def create_topic(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Begin a topic."""
    del session
    stream = broker.disk.log.stream(body.ident())
    count, name, options = body.u32(), body.name8(), body.rest()
    parse_options(options)
    return _changed(
        broker,
        TopicCreated(stream=stream.id, name=name, partitions=count, at_us=broker.now_us(), options=options),
    )


def delete_topic(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """End a topic."""
    del session
    stream, topic = _ids(broker, body)
    return _removed(broker, TopicDeleted(stream=stream, topic=topic))


def purge_topic(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Remove a topic's messages."""
    del session
    stream, topic = _ids(broker, body)
    return _removed(broker, TopicPurged(stream=stream, topic=topic))


def create_partitions(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Let a topic grow."""
    del session
    stream, topic = _ids(broker, body)
    change = PartitionsCreated(stream=stream, topic=topic, count=body.u32(), at_us=broker.now_us())
    _, file = broker.disk.change(change)
    return Answer(files=(file,))


def delete_partitions(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Let a topic shrink."""
    del session
    stream, topic = _ids(broker, body)
    return _removed(broker, PartitionsDeleted(stream=stream, topic=topic, count=body.u32()))


def create_group(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Begin a group."""
    del session
    stream, topic = _ids(broker, body)
    return _changed(broker, GroupCreated(stream=stream, topic=topic, name=body.name8()))


def delete_group(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """End a group."""
    del session
    stream, topic = _ids(broker, body)
    group = broker.disk.log.topic(stream, topic).group(body.ident())
    _, file = broker.disk.change(GroupDeleted(stream=stream, topic=topic, group=group.id))
    return Answer(files=(file,))


# --------------------------------------------------------------------------- membership


def join_group(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Become a member."""
    broker.disk.log.topic(body.ident(), body.ident()).group(body.ident()).join(session.member, broker.now_ms())
    return Answer()


def leave_group(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """End a membership."""
    broker.disk.log.topic(body.ident(), body.ident()).group(body.ident()).leave(session.member)
    return Answer()


def sync_group(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Which partitions a member may read; nothing when it is no member."""
    group = _find_group(broker, body)
    assignment = group.sync(session.member, broker.now_ms()) if group else None
    if assignment is None:
        return Answer()
    owned = assignment.partitions
    return Answer(body=u64(assignment.generation) + u32(len(owned)) + b"".join(map(u32, owned)))


# --------------------------------------------------------------------------- shared


def _find_group(broker: Broker, body: BodyReader) -> Group | None:
    stream, topic, group = body.ident(), body.ident(), body.ident()
    found = broker.disk.log.find_topic(stream, topic)
    return found.find_group(group) if found else None


def _ids(broker: Broker, body: BodyReader) -> tuple[int, int]:
    stream: Ident = body.ident()
    topic: Ident = body.ident()
    found = broker.disk.log.topic(stream, topic)
    return broker.disk.log.stream(stream).id, found.id


def _changed(broker: Broker, change: Change) -> Answer:
    """Make a change that begins something; the answer describes it."""
    result, file = broker.disk.change(change)
    return Answer(body=_described(result, broker.now_ms()), files=(file,))


def _described(result: Stream[None] | Topic[None] | Group, now_ms: int) -> bytes:
    match result:
        case Stream():
            return replies.stream_details(result)
        case Topic():
            return replies.topic_details(result)
        case Group():
            return replies.group_details(result, now_ms)


def _removed(broker: Broker, change: Change) -> Answer:
    """Make a change that ends messages: their files go once the change is on the disk, or a crash would lose both."""
    _, file = broker.disk.change(change)
    return Answer(files=(file,), after=broker.disk.remove_unused)
