"""Messages that cannot be dealt with: tried again a few times, then kept as they came, with the reason.

Theory of operation. A message that cannot be understood is a dead letter at once: it will not read
better later. A message on which this engine itself fails is published again to its own topic and key,
with `retry-count` one higher, and is a dead letter once that stands at `RETRIES_MAX`. It goes to the end
of its partition, so what stood behind it under the same key comes first. Nothing depends on that order:
the kernel tells late, early and duplicate apart, and the barrier knows an undo that overtook its do. The
row has an id of its own, for the inbox would take the old one for a repeat; the payload is the same bytes, and the
header `first-id` says the old id, by which other readers of the topic tell that they have it already.

A dead letter is written to a table, and as a message to the topic `dead-letters`, both in the
transaction that gives up on it. Both hold the original bytes up to a bound: whoever can fill a topic
must not fill a disk twice. `sagas dlq` lists the table, sends letters again, or settles them.
"""

from base64 import b64encode
from collections.abc import Mapping

import msgspec

from sagas.core.envelope import Envelope, Header, decode_envelope, encode_envelope
from sagas.core.ids import timed_id
from sagas.core.messages import TEXT_LENGTH_MAX
from sagas.core.republished import first_id
from sagas.ports import DeadLetter, Incoming, OutboxRow

DEAD_LETTERS = "dead-letters"
"""The topic of dead letters, written by every process."""

EVENT_TYPE = "sagas.dead-letter"

KEY_FIELD = "key"
"""The name of the business key in a dead letter's envelope."""

RETRIES_MAX = 3
"""How often a message on which the engine fails is published again: the guide's MAX_RETRIES."""

PAYLOAD_KEPT_MAX = 64 * 1024
"""Bytes of a payload that are kept: in base64, with headers and reason, it still is a message that can be read."""

HEADERS_KEPT_MAX = 16 * 1024
"""Bytes of headers that are kept, as the broker counts them; it lets through 100,000."""

HEADER_FRAMING_BYTES = 10
"""What the broker counts besides for each."""

_OFFSET_MAX = 2**63 - 1  # what a column holds; a broker's offsets are unsigned


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The `data` of a dead letter on its topic. `payload` is base64; `size` that of the original, in bytes.

    `is_whole`: payload and headers are all there, as they came. `read_by` is the process that gave up.
    """

    message_id: str
    read_by: str
    reason: str
    attempts: int
    topic: str
    partition: int
    offset: int
    size: int
    is_whole: bool
    headers: dict[str, str]
    payload: str


def dead_letter(
    incoming: Incoming, reason: str, now_ms: int, *, read_by: str, key_field: str, tries: int = 1
) -> tuple[DeadLetter, OutboxRow]:
    """The record of a message that could not be dealt with, and the row that tells the topic of it.

    `tries` is how often this delivery of it was tried; those before are counted by its headers.
    """
    headers = _bounded(incoming.headers)
    letter = DeadLetter(
        received_ms=now_ms,
        topic=incoming.topic,
        partition=incoming.partition,
        offset=min(max(incoming.offset, 0), _OFFSET_MAX),
        message_id=incoming.id,
        key=_key_of(incoming, key_field),
        reason=plain(reason),
        payload=incoming.payload[:PAYLOAD_KEPT_MAX],
        headers=headers,
        size=len(incoming.payload),
        is_whole=len(incoming.payload) <= PAYLOAD_KEPT_MAX and headers == incoming.headers and not incoming.defect,
        attempts=retry_count(incoming) + tries,
    )
    return letter, _notice_row(letter, _own_id(incoming, read_by, "dead-letter"), read_by, now_ms)


def published_again(incoming: Incoming, now_ms: int, *, read_by: str, key_field: str) -> OutboxRow | None:
    """The row that publishes a message once more, None when that was tried often enough."""
    count = retry_count(incoming)
    if count >= RETRIES_MAX or incoming.defect or not incoming.payload:
        return None  # without its headers it would be another message, and an empty one cannot be sent
    if _bounded(incoming.headers) != incoming.headers:
        return None  # two headers more might be too many for the broker
    key = _key_of(incoming, key_field)
    return OutboxRow(
        id=_own_id(incoming, read_by, "retry"),
        event_type="sagas.retry",
        payload=incoming.payload,
        created_at=now_ms,
        aggregate_type=read_by,
        aggregate_id=key,
        topic=incoming.topic,
        key=key,
        headers={
            **incoming.headers,
            Header.RETRY_COUNT: str(count + 1),
            Header.FIRST_ID: first_id(incoming.id, incoming.headers),
        },
    )


def retry_count(incoming: Incoming) -> int:
    """How often a message was published again: its header says so, and anybody may have written that."""
    said = incoming.headers.get(Header.RETRY_COUNT, "")
    return min(int(said), RETRIES_MAX) if said.isascii() and said.isdecimal() and len(said) < 10 else 0


def _notice_row(letter: DeadLetter, notice_id: str, read_by: str, now_ms: int) -> OutboxRow:
    notice = Notice(
        message_id=letter.message_id,
        read_by=read_by,
        reason=letter.reason,
        attempts=letter.attempts,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        size=letter.size,
        is_whole=letter.is_whole,
        headers=dict(letter.headers),
        payload=b64encode(letter.payload).decode(),
    )
    return OutboxRow(
        id=notice_id,
        event_type=EVENT_TYPE,
        payload=encode_envelope(notice_id, KEY_FIELD, letter.key, EVENT_TYPE, now_ms, msgspec.json.encode(notice)),
        created_at=now_ms,
        aggregate_type=read_by,
        aggregate_id=letter.key,
        topic=DEAD_LETTERS,
        key=letter.key,
    )


def _own_id(incoming: Incoming, read_by: str, purpose: str) -> str:
    # From the place in the log, too: a careless producer gives several messages one id. The same
    # delivery once more, after a crash, gives the same id.
    place = (incoming.topic, str(incoming.partition), str(incoming.offset))
    return timed_id(max(0, incoming.timestamp_ms), purpose, read_by, *place, incoming.id)


def _key_of(incoming: Incoming, key_field: str) -> str:
    envelope = decode_envelope(incoming.payload, key_field) if key_field else None
    return envelope.key if isinstance(envelope, Envelope) else incoming.id


def _bounded(headers: Mapping[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        size += len(name.encode(errors="replace")) + len(value.encode(errors="replace")) + HEADER_FRAMING_BYTES
        if size > HEADERS_KEPT_MAX:
            break
        kept[_encodable(name)] = _encodable(value)
    return kept


def plain(reason: str) -> str:
    """A reason as it is stored and sent: what cannot be encoded must not keep a message from being put away."""
    return _encodable(reason[:TEXT_LENGTH_MAX].replace("\0", ""))


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()
