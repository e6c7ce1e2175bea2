"""A participant's database that has forgotten what the participant answered: from a backup, or a new one.

Theory of operation. An answer is committed before it is published, so whatever stands in the participant's topic of
events is remembered in its barrier, until that is cleaned away. Where it is not, the database is older than the topic.
Its business rows have gone back with the barrier: what it answered is not so any more, and its sagas do not know. To
carry on would mix the two, so a participant compares the newest of its answers with its barrier before it reads a
command, and does not start where one is missing. It reads the topic first and the barrier then: whoever else carries
out commands on this database has committed what he published.

Only definite answers count, which are told by their id: it is the same whenever they are given again. A fault, or an
undo that cannot be done, leaves no memory. Nor does what is so old that it may have been cleaned away count, or what a
person has said to know of (`sagas restored`). That command reads the whole topic by the same comparison, and tells
what is answered otherwise by now as well: which it is where commands were carried out again.

What cannot be noticed: a backup that has all answers that were published, for then nobody was told anything that is
not so; and one so old, under such a load, that the newest `NEWEST` answers of each partition are all of the time since.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from sagas.core.envelope import Envelope, Header, decode_envelope
from sagas.core.ids import answer_id, derived_id, is_instance_id
from sagas.core.instance import Operation
from sagas.core.participants import Participant
from sagas.errors import DatabaseRestored
from sagas.ports import Incoming, OperationKey
from sagas.runtime.delivery import CLOCKS_APART_MS

NEWEST = 200
"""Answers of each partition that a participant looks at before it starts."""

_OPERATIONS: Mapping[str, Operation] = {"do": "do", "undo": "undo"}

Newest = Callable[[str, int], AsyncIterator[Sequence[Incoming]]]
"""The newest messages of each partition of a topic, some so many, in parts."""


class Memory(Protocol):
    """What is remembered of answers, and of which time some may be missing."""

    @property
    def forgotten_ms(self) -> int:
        """What was last touched before this time may have been cleaned away; 0: nothing was ever."""
        ...

    @property
    def restored_ms(self) -> int:
        """Answers given before this time may be missing, and somebody knows it; 0: nobody has ever said so."""
        ...

    def answers(self, operations: Collection[OperationKey]) -> Mapping[OperationKey, str]:
        """The tag of the answer to each operation, "" where there is none yet; what is not remembered is missing."""
        ...


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A definite answer that a participant has published, and when, by the broker's clock."""

    operation: OperationKey
    answer: str
    key: str
    at_ms: int


class Comparison:
    """The answers in a participant's topic against its memory: what is missing there, and what is another one now."""

    def __init__(self, participant: Participant, memory: Memory) -> None:
        self._participant = participant
        self._memory = memory
        self.compared = 0
        """How many answers were looked at, those that were given again among them."""
        self.newest_ms = 0
        """When the last of them was given."""
        self.missing: dict[OperationKey, Given] = {}
        """What is not remembered, and nobody has said to know of it."""
        self._known_missing: set[OperationKey] = set()
        self.otherwise: dict[OperationKey, tuple[Given, str]] = {}
        """What was answered, and what is remembered in its place."""

    @property
    def known_missing(self) -> int:
        """How many more are not remembered, of a time of which somebody has said so."""
        return len(self._known_missing)

    def take(self, messages: Iterable[Incoming]) -> None:
        """Compare these, which come in the order of their partition."""
        given = [each for message in messages if (each := self._given(message)) is not None]
        if not given:
            return
        known = self._memory.answers([each.operation for each in given])
        cleaned_ms = self._memory.forgotten_ms
        cleaned_ms += CLOCKS_APART_MS if cleaned_ms else 0
        restored_ms = self._memory.restored_ms
        for each in given:
            self.compared += 1
            self.newest_ms = max(self.newest_ms, each.at_ms)
            now = known.get(each.operation, "")
            if now == each.answer:
                continue
            if now:
                self.otherwise.setdefault(each.operation, (each, now))
            elif each.at_ms >= restored_ms and each.at_ms >= cleaned_ms:
                self.missing.setdefault(each.operation, each)
            elif each.at_ms >= cleaned_ms:
                self._known_missing.add(each.operation)

    def _given(self, message: Incoming) -> Given | None:
        headers = message.headers
        instance_id, step = headers.get(Header.INSTANCE, ""), headers.get(Header.STEP, "")
        operation = _OPERATIONS.get(headers.get(Header.OPERATION, ""))
        if message.defect or operation is None or not step or not is_instance_id(instance_id):
            return None
        if message.id != answer_id(derived_id(instance_id, step, operation)):
            return None  # of this one attempt, and not remembered
        envelope = decode_envelope(message.payload, self._participant.key)
        if not isinstance(envelope, Envelope):
            return None
        return Given(
            operation=(instance_id, step, operation),
            answer=envelope.event_type,
            key=envelope.key,
            at_ms=message.timestamp_ms,
        )


async def require_memory(participant: Participant, memory: Memory, place: str, newest: Newest) -> None:
    """Raise DatabaseRestored when the database in `place` has forgotten one of the participant's newest answers.

    Raises BrokerError and StoreError when they cannot be compared.
    """
    comparison = Comparison(participant, memory)
    async for answers in newest(participant.events, NEWEST):
        comparison.take(answers)
    if not comparison.missing:
        return
    name, first = participant.name, min(comparison.missing.values(), key=lambda given: given.at_ms)
    instance_id, step, operation = first.operation
    since = f"{datetime.fromtimestamp(first.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    raise DatabaseRestored(
        f"{place} does not know {len(comparison.missing)} of the newest {comparison.compared} answers that {name} has "
        f"given, the oldest of them from {since} ({first.answer} to the {operation} of {step}, {participant.key} "
        f"{first.key!r}, run {instance_id}): it came back from a backup, or is another file. Nothing was carried out. "
        f"`sagas restored {name}` lists what is missing, and has the commands carried out again or goes on without"
    )
