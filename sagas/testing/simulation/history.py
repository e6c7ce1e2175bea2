"""What happened in a run, as the outside saw it: what was committed, what reached the topics, which handlers ran.

It is written by the ports' wrappers at the moment something became true (after a COMMIT, after an append)
and read by the checks. Nothing in it comes from what the engine says about itself.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from sagas.core.envelope import Header
from sagas.core.hashing import short_hash
from sagas.core.instance import Operation
from sagas.ports import OutboxRow, Outgoing

NOTES_MAX = 20_000
"""Kept for the diagram of a failure; the digest takes all."""


class Appended(NamedTuple):
    """A message that a broker took. `is_lost`: it said so and forgot it."""

    at_ms: int
    source: str
    message: Outgoing
    is_lost: bool


class Effect(NamedTuple):
    """Which operation of which step of which instance a handler carried out."""

    instance_id: str
    step: str
    operation: Operation


class Note(NamedTuple):
    """Something that happened to a process or to the broker."""

    at_ms: int
    who: str
    what: str


RowKey = tuple[str, str]
"""A message's id and its attempt: what is sent again is a row of its own."""


def row_key(row: OutboxRow | Outgoing) -> RowKey:
    """What tells a row of an outbox from the others, at either end of its way."""
    return row.id, row.headers.get(Header.ATTEMPT, "")


class History:
    """The record of one run."""

    def __init__(self) -> None:
        self.appended: list[Appended] = []
        self.committed: dict[RowKey, OutboxRow] = {}
        self.effects: dict[Effect, list[str]] = {}
        self.notes: list[Note] = []
        self.failures: list[str] = []
        """What ended a process that was not killed."""
        self.crashes = 0
        self.now_ms = 0
        self._digest = blake2b(digest_size=16)

    def commit(self, who: str, rows: Iterable[OutboxRow]) -> None:
        """A transaction with these outbox rows was committed."""
        for row in rows:
            self.committed.setdefault(row_key(row), row)
            self._digest.update(f"commit {self.now_ms} {who} {row.id}\n".encode())

    def append(self, source: str, message: Outgoing, *, is_lost: bool) -> None:
        """The broker took a message."""
        self.appended.append(Appended(self.now_ms, source, message, is_lost))
        self._digest.update(
            f"append {self.now_ms} {source} {message.topic} {message.id} {short_hash(message.payload).hex()}\n".encode()
        )

    def effect(self, effect: Effect, answer: str) -> None:
        """A handler ran, in a transaction that was committed, and answered so."""
        self.effects.setdefault(effect, []).append(answer)
        self._digest.update(f"effect {self.now_ms} {effect} {answer}\n".encode())

    def note(self, who: str, what: str) -> None:
        """Something happened to a process or to the broker."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(Note(self.now_ms, who, what))
        self._digest.update(f"{who} {what} {self.now_ms}\n".encode())

    def fail(self, who: str, error: BaseException) -> None:
        """A process ended of something that is not a crash."""
        self.failures.append(f"{who} ended: {type(error).__name__}: {error}")
        self.note(who, f"ended of {type(error).__name__}")

    @property
    def digest(self) -> str:
        """The same for two runs that went the same way."""
        return self._digest.hexdigest()


class Violation(msgspec.Struct, frozen=True):
    """A promise that did not hold: which, how, and of which business key ("" when it is of none)."""

    promise: str
    what: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.promise}: {f'{self.key}: ' if self.key else ''}{self.what}"
