"""Which request is served by which handler, and who may ask."""

import hmac
from typing import Final

from sagas.broker.embedded import messages, metadata, reading, replies, together
from sagas.broker.embedded.commands import Answer, Broker, Handler, Session
from sagas.broker.embedded.frames import OPERATION_READ, OPERATION_SEND, BodyReader, Request
from sagas.broker.log import Refusal, Status

USER: Final = "iggy"
PASSWORD: Final = "iggy"  # noqa: S105 - Iggy's own default; the server is reachable from this machine only
_CODE_PING: Final = 1


def ping(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Sign of life."""
    del broker, session, body
    return Answer()


def get_cluster(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """The nodes: this one."""
    del broker, body
    return Answer(body=replies.cluster(session.local_host, session.local_port))


def get_stats(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Figures of the server."""
    del session, body
    disk = broker.disk
    return Answer(
        body=replies.stats(
            disk.log,
            len(broker.sessions),
            started_us=broker.started_us,
            now_us=broker.now_us(),
            directory=disk.directory,
        )
    )


def get_me(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """The connection that asks."""
    del body
    return Answer(body=replies.client_details(_client(broker, session)))


def get_client(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """A connection by its number."""
    del session
    found = broker.sessions.get(body.u32())
    return Answer(body=replies.client_details(_client(broker, found)) if found else b"")


def get_clients(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """All connections."""
    del session, body
    return Answer(body=b"".join(replies.client_header(_client(broker, found)) for found in broker.sessions.values()))


def _client(broker: Broker, session: Session) -> replies.ClientInfo:
    groups = [
        (stream.id, topic.id, group.id)
        for stream in broker.disk.log.streams.values()
        for topic in stream.topics.values()
        for group in topic.groups.values()
        if session.is_authenticated and group.has(session.member)
    ]
    return replies.ClientInfo(
        number=session.number,
        address=session.address,
        is_authenticated=session.is_authenticated,
        groups=tuple(groups),
    )


_READS: Final[dict[int, Handler]] = {
    _CODE_PING: ping,
    10: get_stats,
    12: get_cluster,
    20: get_me,
    21: get_client,
    22: get_clients,
    100: messages.poll,
    120: messages.get_offset,
    200: metadata.get_stream,
    201: metadata.get_streams,
    300: metadata.get_topic,
    301: metadata.get_topics,
    600: metadata.get_group,
    601: metadata.get_groups,
    606: metadata.sync_group,
}
"""By command code: operation READ."""

_OWN: Final[dict[int, Handler]] = {
    together.READ_TOGETHER: reading.read,
    together.SEND_TOGETHER: together.send,
    together.SEND_AHEAD: together.send_ahead,
    together.EACH: together.each,
}
"""The same, of this server alone: READ is what a client makes of every request that it does not know itself."""

_OPERATIONS: Final[dict[int, Handler]] = {
    OPERATION_SEND: messages.send,
    161: messages.store_offset,
    162: messages.delete_offset,
    128: metadata.create_stream,
    130: metadata.delete_stream,
    131: metadata.purge_stream,
    132: metadata.create_topic,
    134: metadata.delete_topic,
    135: metadata.purge_topic,
    136: metadata.create_partitions,
    137: metadata.delete_partitions,
    139: metadata.create_group,
    140: metadata.delete_group,
    148: metadata.join_group,
    149: metadata.leave_group,
}
"""By operation: everything else but login and logout, which are the connection's own."""


def answer(broker: Broker, session: Session, request: Request) -> Answer:
    """Serve one request. Raises Refusal."""
    is_read = request.operation == OPERATION_READ
    handler = _READS.get(request.code) if is_read else _OPERATIONS.get(request.operation)
    if handler is None and is_read and not broker.is_iggy_only:
        handler = _OWN.get(request.code)
    if not session.is_authenticated and handler is not ping:
        raise Refusal(Status.UNAUTHENTICATED, "log in first")
    if handler is None:
        raise Refusal(Status.INVALID_COMMAND, f"operation {request.operation}, code {request.code}: not served here")
    return handler(broker, session, BodyReader(request.body))


def log_in(broker: Broker, session: Session, body: bytes) -> bytes | None:
    """Begin a session; the body of the reply, or None for the wrong name or password. Raises Refusal."""
    reader = BodyReader(body)
    reader.u32()
    reader.name8()
    reader.name8()
    user = reader.name8()
    password = reader.take(reader.u8())
    reader.take(reader.u32())
    reader.finish()
    log_out(broker, session)
    if not (hmac.compare_digest(user.encode(), USER.encode()) and hmac.compare_digest(password, PASSWORD.encode())):
        return None
    broker.logins += 1
    session.member = broker.logins
    return replies.login(session.member)


def log_out(broker: Broker, session: Session) -> None:
    """End a session, and its memberships with it."""
    if session.is_authenticated:
        broker.disk.log.leave_all(session.member)
        session.member = 0
