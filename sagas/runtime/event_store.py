"""The event store: everything that ever happened to an instance, as messages of a topic that never expires.

Theory of operation. Each row of the journal becomes one message, once the transaction that wrote it is
committed. It is no work of that transaction: a feed reads the rows behind a place it keeps (`JournalFeed`), some
milliseconds later, publishes them, and moves the place on. A crash between publishes rows again, under the same ids
(derived from instance and revision) and in the same order: repeats, never a gap. A reader that takes
revision `n + 1` of an instance after `n` and passes over what it has, has the journal.

The business key chooses the partition, so the rows of an instance come in their order. Who tells of the
journal is the relay itself, with the journal as its outbox.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from sagas.core.effects import Input, Verdict
from sagas.core.envelope import PAYLOAD_BYTES_MAX, encode_envelope
from sagas.core.ids import derived_id
from sagas.core.story import happening
from sagas.errors import told
from sagas.ports import Broker, Clock, FeedRow, Incoming, JournalFeed, JournalRow, Outbox, OutboxRow, TopicSpec
from sagas.records import FOREVER_S
from sagas.runtime.offload import Offload
from sagas.runtime.relay import Relay
from sagas.runtime.topics import Topics

EVENT_STORE = "event-store"
"""The topic."""

EVENT_TYPE = "saga.happened"

KEY_FIELD = "key"
"""The name of the business key in the envelope."""

BATCH_MAX = 500
INTERVAL_MS = 200
"""How often the feed looks: a reader is behind by so much, and one commit more is paid for each time."""

MESSAGE_BYTES_MAX = 2 * PAYLOAD_BYTES_MAX
"""Of one message that is read: it holds the data of another one, and some more."""

WORDS_MAX = 500
"""Characters of a row told in words: a reason may be as long as a message."""

_inputs: msgspec.msgpack.Decoder[Input] = msgspec.msgpack.Decoder(Input)
_INPUTS: Mapping[str, Any] = {str(kind.__struct_config__.tag): kind for kind in get_args(Input)}


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """The `data` of a message of the event store: a journal row, and whose it is.

    `input` is what was decided upon, with its `type` (start, reply, fire, operate …); where it carries data of the
    saga or of a participant, that is JSON inside it. `state` is where the instance stood afterwards, `path`
    the states it went through, `words` all of it for a person.
    """

    saga: str
    version: int
    instance_id: str
    revision: int
    at_ms: int
    verdict: Verdict
    input: msgspec.Raw
    message_id: str = ""
    triggers: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    state: str = ""
    note: str = ""
    words: str = ""
    key: str = ""

    def entry(self) -> JournalRow:
        """The journal row again. Raises ValueError when the input is none that this release knows."""
        return JournalRow(
            instance_id=self.instance_id,
            revision=self.revision,
            at_ms=self.at_ms,
            verdict=self.verdict,
            input=msgspec.msgpack.encode(input_of(bytes(self.input))),
            message_id=self.message_id,
            triggers=self.triggers,
            path=self.path,
            note=self.note,
        )


class _Message(msgspec.Struct, frozen=True):
    data: Happened


_messages = msgspec.json.Decoder(_Message)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def topic_spec(partitions: int) -> TopicSpec:
    """The topic: what is in it is never removed."""
    return TopicSpec(name=EVENT_STORE, partitions=partitions, expiry_s=FOREVER_S)


class JournalOutbox:
    """The journal, as an `Outbox` of the relay."""

    def __init__(self, feed: JournalFeed) -> None:
        self._feed = feed

    def unpublished(self, count_max: int) -> list[OutboxRow]:
        """The oldest journal rows not yet told of, as messages."""
        return [message_of(row) for row in self._feed.unfed(count_max)]

    def mark_published(self, seqs: Sequence[int], now_ms: int) -> None:
        """Move the place on, behind the last of them."""
        if seqs:
            self._feed.mark_fed(max(seqs))


def feed(
    journal: Outbox,
    broker: Broker,
    clock: Clock,
    offload: Offload,
    *,
    batch_max: int = BATCH_MAX,
    topics: Topics | None = None,
) -> Relay:
    """Who tells of the journal. `broker` should be a connection of its own, `offload` the one of the database.

    `topics` are made again when they are found missing.
    """
    return Relay(journal, broker, clock, offload, batch_max=batch_max, interval_ms=INTERVAL_MS, topics=topics)


def message_of(row: FeedRow) -> OutboxRow:
    """The message that tells of a journal row."""
    entry = row.entry
    message_id = derived_id(entry.instance_id, "journal", str(entry.revision))
    happened = Happened(
        saga=row.saga,
        version=row.version,
        key=row.key,
        instance_id=entry.instance_id,
        revision=entry.revision,
        at_ms=entry.at_ms,
        verdict=entry.verdict,
        input=msgspec.Raw(input_json(entry.input)),
        message_id=entry.message_id,
        triggers=entry.triggers,
        path=entry.path,
        state=entry.path[-1] if entry.path else "",
        note=entry.note,
        words=happening(entry)[:WORDS_MAX],
    )
    data = msgspec.json.encode(happened)
    return OutboxRow(
        id=message_id,
        event_type=EVENT_TYPE,
        payload=encode_envelope(message_id, KEY_FIELD, row.key, EVENT_TYPE, entry.at_ms, data),
        created_at=entry.at_ms,
        aggregate_type=row.saga,
        aggregate_id=row.key,
        topic=EVENT_STORE,
        key=row.key,
        seq=row.seq,
    )


def payload_bytes_max(topic: str) -> int:
    """How long a message of `topic` may be for whoever reads events of any topic."""
    return MESSAGE_BYTES_MAX if topic == EVENT_STORE else PAYLOAD_BYTES_MAX


def read_happened(incoming: Incoming) -> Happened | str:
    """What a message of the event store says; in words why it cannot be read."""
    if len(incoming.payload) > MESSAGE_BYTES_MAX:
        return f"payload of {len(incoming.payload)} bytes, at most {MESSAGE_BYTES_MAX} are read"
    try:
        return _messages.decode(incoming.payload).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return told(error)[:240]


# --------------------------------------------------------------------------- inputs as JSON


def input_json(encoded: bytes) -> bytes:
    """A journal row's input as JSON: `type`, and its fields; bytes in it are JSON already and stay as they are.

    Empty bytes are left out. `null` for an input that this release cannot read.
    """
    try:
        message: Any = _inputs.decode(encoded)
    except msgspec.MsgspecError:
        return b"null"
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    told = {name: msgspec.Raw(value) if isinstance(value, bytes) else value for name, value in fields.items()}
    return msgspec.json.encode(
        {"type": message.__struct_config__.tag, **{name: value for name, value in told.items() if fields[name] != b""}}
    )


def input_of(content: bytes) -> Input:
    """The input again. Raises ValueError when it is none that this release knows."""
    try:
        given = _fields.decode(content)
        kind = _INPUTS[msgspec.json.decode(given.pop("type"), type=str)]
        wanted = {field.name: field.type for field in msgspec.structs.fields(kind)}
        fields = {name: b"" for name, wants in wanted.items() if wants is bytes}
        for name, raw in given.items():
            fields[name] = bytes(raw) if wanted[name] is bytes else msgspec.json.decode(raw, type=wanted[name])
        made: Input = kind(**fields)
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no input that this release knows: {told(error)[:240]}") from error
    return made
