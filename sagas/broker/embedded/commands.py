"""What a request does: decode it, ask the log, write it down, encode the answer. No sockets, no tasks.

Theory of operation. A handler runs from beginning to end without waiting, so requests of all connections are
served one after the other and see each other whole. What has to be on the disk before the client may hear
about it is named in the answer: the connection holds the reply back until the flusher has synced it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from xxhash import xxh32_intdigest

from sagas.broker.embedded.arrivals import Arrivals, Wait
from sagas.broker.embedded.disk import Disk
from sagas.broker.embedded.files import AppendFile
from sagas.broker.embedded.frames import BodyReader
from sagas.broker.embedded.places import Places
from sagas.broker.log import Ident, Membership, Reader, Refusal, Single, Status, Topic

KIND_SINGLE: Final = 1
KIND_GROUP: Final = 2


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back: `body` and `batches`, once `files` are on the disk; `after` is called just before.

    That may be a little later when it is not `is_awaited`. With a `wait` its reply goes back instead, when there is
    something to tell or its time is over.
    """

    body: bytes = b""
    batches: bytes = b""
    files: tuple[AppendFile, ...] = ()
    is_awaited: bool = True
    after: Callable[[], None] | None = None
    wait: Wait | None = None


@dataclass(slots=True)
class Session:
    """A connection. `member` is its number as a member of groups, a new one for each login; 0 before."""

    number: int
    address: str
    local_host: str
    local_port: int
    member: int = 0
    last_heard_ms: int = 0

    @property
    def is_authenticated(self) -> bool:
        """Whether the client is logged in."""
        return self.member > 0


@dataclass(slots=True)
class Broker:
    """What the connections of one server share. `now_us` reads the clock, `now_ms` one that nobody sets.

    With `is_iggy_only` it takes no request that Iggy does not have.
    """

    disk: Disk
    now_us: Callable[[], int]
    now_ms: Callable[[], int]
    started_us: int
    sessions: dict[int, Session] = field(default_factory=dict[int, Session])
    arrivals: Arrivals = field(default_factory=Arrivals)
    places: Places = field(init=False)
    logins: int = 0
    is_iggy_only: bool = False

    def __post_init__(self) -> None:
        """The places are the disk's."""
        self.places = Places(self.disk.log)


Handler = Callable[[Broker, Session, BodyReader], Answer]


class Target(msgspec.Struct, frozen=True):
    """The consumer and the partition that a poll or an offset is about, as they stand in the request."""

    kind: int
    consumer: Ident
    stream: Ident
    topic: Ident
    partition: int | None

    @property
    def partition_or_first(self) -> int:
        """A consumer that names no partition means the first."""
        return self.partition or 0


def read_target(body: BodyReader) -> Target:
    """Decode who reads what."""
    kind = body.u8()
    if kind not in (KIND_SINGLE, KIND_GROUP):
        raise Refusal(Status.INVALID_FORMAT, f"a consumer of kind {kind}")
    return Target(kind, body.ident(), body.ident(), body.ident(), body.optional_u32())


def reader_of(topic: Topic[None], target: Target, session: Session, missing: Status) -> Reader:
    """The reader that a request names; refuses with `missing` when it names a group that does not exist."""
    if target.kind == KIND_SINGLE:
        # As in Iggy, a name stands for its hash: "c1" and the number XXH32("c1") are one consumer.
        consumer = target.consumer
        return Single(consumer if isinstance(consumer, int) else xxh32_intdigest(consumer.encode()))
    group = topic.find_group(target.consumer)
    if group is None:
        raise Refusal(missing, f"topic {topic.name!r} has no group {target.consumer!r}")
    return Membership(group, session.member)
