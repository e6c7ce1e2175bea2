"""The records that pass between rooms: messages as they travel, rows as they are kept, what one batch changes.

Plain data without behaviour. The ports (`sagas/ports.py`) are written in these words.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from sagas.core.effects import Action, Fire, Verdict
from sagas.core.instance import Instance, Operation

DAY_S = 24 * 3600

TRANSIENT_S = 7 * DAY_S
"""How long commands, replies and events are kept: they are dealt with and done. The guide's, for such topics."""

AUDIT_S = 365 * DAY_S
"""How long an audit log is kept: the guide's."""

FOREVER_S = 0
"""Of a topic that is a source of truth."""


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A topic to be there. `expiry_s`: seconds a message is kept at least, 0 = for ever, None = the server's default.

    Iggy removes whole segments, and never the one that is written to: a quiet topic keeps messages for longer.
    """

    name: str
    partitions: int = 3
    expiry_s: int | None = TRANSIENT_S


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message to publish. `id` is a UUID in text form; `key` chooses the partition: XXH32, seed 0, modulo."""

    id: str
    topic: str
    key: str
    payload: bytes
    headers: Mapping[str, str] = {}


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it was read. `defect` is "" or says why its headers could not be read (then they are empty)."""

    id: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    payload: bytes
    headers: Mapping[str, str] = {}
    defect: str = ""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to and including `offset` of a partition has been dealt with."""

    topic: str
    partition: int
    offset: int


Partition = tuple[str, int]
"""Topic and number."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How far a poll went: all `partitions` of the topics, and those of them that it has `read` to their end.

    A partition counts as read only if it was this member's own all the while, from before the poll until it was asked:
    one that changes hands may look empty to whoever loses it.
    """

    partitions: frozenset[Partition]
    read: frozenset[Partition]


class CaughtUp(msgspec.Struct, frozen=True, kw_only=True):
    """All that had come into the partitions `reading.read` before `ms`, Unix time in ms, was dealt with."""

    ms: int
    reading: Reading


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was decided and is to be published: the guide's columns, and where it goes.

    `seq` is given by the store; rows are published in its order.
    """

    id: str
    event_type: str
    payload: bytes
    created_at: int
    aggregate_type: str
    aggregate_id: str
    topic: str
    key: str
    headers: Mapping[str, str] = {}
    published_at: int | None = None
    seq: int = 0


class JournalRow(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to an instance: one row for each input, append-only.

    `input` is the encoded `Input`, so that replaying `decide` over an instance's rows gives the
    instance again. `path` lists the states gone through, the first being where it stood.
    """

    instance_id: str
    revision: int
    at_ms: int
    verdict: Verdict
    input: bytes
    message_id: str = ""
    triggers: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    note: str = ""


class FeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A journal row that is to be told to others, with what it does not say itself.

    `seq` grows in the order in which rows were committed; those of one instance come by their revision.
    """

    seq: int
    saga: str
    version: int
    key: str
    entry: JournalRow


class TimerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A timer of an instance, to fire at `due_ms`."""

    instance_id: str
    name: str
    due_ms: int
    fire: Fire


Settled = Literal["", "requeued", "discarded"]
"""What a person did with a dead letter; "" for nothing yet."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be dealt with, as it came, and why. `id` is given by the store.

    `payload` may be cut: `size` is the original's in bytes, `is_whole` says that payload and headers are
    all there. `key` chose its partition, as far as that can be known. `attempts` is how often it was tried.
    What a person did with it stands in `settled_as` ("" for nothing yet), with who, when and why.
    """

    received_ms: int
    topic: str
    partition: int
    offset: int
    message_id: str
    reason: str
    payload: bytes
    headers: Mapping[str, str] = {}
    id: int = 0
    key: str = ""
    size: int = 0
    is_whole: bool = True
    attempts: int = 1
    settled_as: Settled = ""
    settled_ms: int = 0
    settled_by: str = ""
    settle_reason: str = ""


class ParkedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that came before the instance or the step it belongs to: tried again until `expires_ms`."""

    message_id: str
    instance_id: str
    received_ms: int
    expires_ms: int
    incoming: Incoming


class DefinitionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a saga that was loaded on this database: its content and shape, and when that was first."""

    saga: str
    version: int
    content: str
    shape: bytes
    first_ms: int = 0


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a person did with an instance: kept for ever, never changed. `path` is the states gone through."""

    at_ms: int
    instance_id: str
    revision: int
    who: str
    action: Action
    reason: str
    path: tuple[str, ...] = ()


class Changes(msgspec.Struct, kw_only=True):
    """Everything one batch decided at `now_ms`: written in one transaction or not at all."""

    now_ms: int = 0
    inbox: list[str] = []
    """Ids of the messages dealt with."""
    forgotten: list[str] = []
    """Ids of messages that are to be dealt with again should they come again; taken out after `inbox` is noted."""
    created: list[Instance] = []
    updated: list[tuple[Instance, int]] = []
    """Each with the revision it had when it was read."""
    journal: list[JournalRow] = []
    outbox: list[OutboxRow] = []
    timers_set: list[TimerRow] = []
    timers_cleared: list[tuple[str, str]] = []
    """(instance id, timer name). Cleared before `timers_set` is written."""
    dead_letters: list[DeadLetter] = []
    parked: list[ParkedRow] = []
    audit: list[AuditRow] = []
    unparked: list[str] = []
    """Message ids of parked rows that were dealt with."""


class InstanceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which instances to list, newest first; "" means any. `before_id` continues a list after its last id."""

    saga: str = ""
    state: str = ""
    key: str = ""
    before_id: str = ""
    count_max: int = 50


OperationKey = tuple[str, str, Operation]
"""What a participant remembers its operations by: instance, step, do or undo."""


class BarrierRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a participant remembers of one operation: the answer it gave, byte for byte.

    `answer` is "" when an undo came before its do (`is_blocked`), and while the operation is in progress: `answer_data`
    is what was asked then (`delivery.begun`). `is_refusal`: whether the answer was a rejection when it was given, None
    where there is none. What an older release did not say is b"" or None.
    """

    instance_id: str
    step: str
    operation: Operation
    command_hash: bytes
    answer: str = ""
    answer_data: bytes = b""
    is_blocked: bool = False
    is_refusal: bool | None = None


# --------------------------------------------------------------------------- what a handler sees of its database


class Rows(Protocol):
    """A cursor's rows, as far as a handler needs them."""

    def fetchone(self) -> tuple[object, ...] | None:
        """The next row, None when there is none."""
        ...

    def fetchall(self) -> list[tuple[object, ...]]:
        """All rows that are left."""
        ...


class Sql(Protocol):
    """The participant's own tables, inside the transaction that holds its barrier and its outbox."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one statement."""
        ...


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in a database. Times are Unix time in milliseconds, None when nothing waits."""

    outbox_rows: int
    outbox_oldest_ms: int | None
    letters_open: int
    timers_overdue: int = 0
    timer_oldest_ms: int | None = None
    in_flight: int = 0
    stuck: Mapping[str, int] = {}
    """Instances that wait for a person, by saga."""
