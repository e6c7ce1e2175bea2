"""The dead letters of any database of ours, as a person deals with them: the orchestrator's or a participant's.

Theory of operation. A participant's file has tables of its own besides, made by migrations that only its
program knows; so this looks at the kit's migrations alone. Sending a letter again is a row in the file's
own outbox, in the transaction that settles the letter: the process that the file belongs to publishes it,
and a letter cannot be sent twice. The message goes out under an id of its own, derived from the old one and
its place in the log: under the old id it would be taken for a repeat. The header `first-id` says the old one, for
whoever else reads the topic. The orchestrator goes by that header as well, so the inbox in its file forgets what is
sent again for it. That the file is there is asked once more under the lock: a projection's
is removed when a replay has made another one.
"""

from collections.abc import Sequence
from pathlib import Path

from sagas.core.envelope import Header
from sagas.core.ids import is_message_id, time_of, timed_id
from sagas.core.republished import first_id
from sagas.errors import SchemaMismatch, StoreError
from sagas.ports import DeadLetter, OutboxRow
from sagas.records import Settled
from sagas.store import dead_letters
from sagas.store.database import Database
from sagas.store.encoding import pack_id
from sagas.store.migrations import applied_migrations
from sagas.store.outbox import OutboxTable
from sagas.store.schema import ORCHESTRATOR, OWN_PREFIX, PARTICIPANT
from sagas.store.transaction import FORGET


class LetterFile:
    """The dead letters in the file `path`, which may be in use.

    Nothing is created. Raises StoreError when the file cannot be used, and SchemaMismatch when it is not a
    database of ours or not of this release.
    """

    def __init__(self, path: str | Path, *, read_only: bool) -> None:
        if not read_only:
            LetterFile(path, read_only=True).close()  # opened for writing, a file that is not there would be made
        self._database = Database(path, read_only=read_only)
        try:
            self._is_orchestrators = _require_ours(self._database)
        except BaseException:
            self._database.close()
            raise

    def newest(self, count_max: int, *, with_settled: bool, before_id: int | None = None) -> list[DeadLetter]:
        """The newest first, those that nobody has dealt with or all; from below `before_id` on."""
        return dead_letters.newest(self._database, count_max, is_open_only=not with_settled, before_id=before_id)

    def letters(self, ids: Sequence[int]) -> list[DeadLetter]:
        """The letters with these numbers, in their order. Raises StoreError for one that is not there."""
        found = [(letter_id, dead_letters.one(self._database, letter_id)) for letter_id in ids]
        missing = [str(letter_id) for letter_id, letter in found if letter is None]
        if missing:
            raise StoreError(f"{self._database.name}: no dead letter {', '.join(missing)}; `sagas dlq list` shows them")
        return [letter for _, letter in found if letter is not None]

    def requeue(self, ids: Sequence[int], who: str, reason: str, now_ms: int) -> None:
        """Have these letters published again, all or none. Raises StoreError for one that cannot be."""
        with self._database.transaction():
            self._database.require_files()
            letters = self.letters(ids)
            for letter in letters:
                refuse_requeue(letter)
                self._settle(letter, "requeued", who, reason, now_ms)
            if self._is_orchestrators:
                self._forget(letters)
            outbox = OutboxTable(self._database)
            outbox.add(requeued(letter, now_ms) for letter in letters)
            outbox.write()

    def discard(self, ids: Sequence[int], who: str, reason: str, now_ms: int) -> None:
        """Say that these letters need nothing, all or none. Raises StoreError for one that is settled."""
        with self._database.transaction():
            self._database.require_files()
            for letter in self.letters(ids):
                self._settle(letter, "discarded", who, reason, now_ms)

    def close(self) -> None:
        """Give up the connection. Calling it twice does nothing."""
        self._database.close()

    def _forget(self, letters: Sequence[DeadLetter]) -> None:
        known = {letter.message_id for letter in letters}
        known |= {first_id(letter.message_id, letter.headers) for letter in letters}
        self._database.change_many(FORGET, [(pack_id(message_id),) for message_id in known])

    def _settle(self, letter: DeadLetter, settled_as: Settled, who: str, reason: str, now_ms: int) -> None:
        refuse_settled(letter)
        is_settled = dead_letters.settle(self._database, letter.id, settled_as, who, reason, now_ms)
        assert is_settled, "it was read in this transaction"


def refuse_settled(letter: DeadLetter) -> None:
    """Raise StoreError when something was done with `letter` before."""
    if letter.settled_as:
        raise StoreError(f"dead letter {letter.id} was {letter.settled_as} by {letter.settled_by} before")


def refuse_requeue(letter: DeadLetter) -> None:
    """Raise StoreError when `letter` cannot be published as it came."""
    refuse_settled(letter)
    if not letter.is_whole:
        raise StoreError(
            f"dead letter {letter.id} is not kept whole ({len(letter.payload)} of {letter.size} bytes, or its headers "
            "could not be read or kept): have its producer send it again, and discard it"
        )
    if not letter.payload:
        raise StoreError(f"dead letter {letter.id} is empty: no broker takes an empty message; discard it")


def first_received_ms(letter: DeadLetter) -> int:
    """When its message was a dead letter first: what was sent again goes by an id that begins with that time."""
    if Header.FIRST_ID not in letter.headers or not is_message_id(letter.message_id):
        return letter.received_ms
    return min(letter.received_ms, time_of(letter.message_id))


def requeued(letter: DeadLetter, now_ms: int) -> OutboxRow:
    """The row that publishes a letter again: the same bytes and headers to the same place, and its first id."""
    key = letter.key or letter.message_id
    place = (letter.topic, str(letter.partition), str(letter.offset))
    headers = {name: value for name, value in letter.headers.items() if name != Header.RETRY_COUNT}
    return OutboxRow(
        id=timed_id(letter.received_ms, "requeue", *place, letter.message_id),
        event_type="sagas.requeue",
        payload=letter.payload,
        created_at=now_ms,
        aggregate_type="dead-letters",
        aggregate_id=key,
        topic=letter.topic,
        key=key,
        headers={**headers, Header.FIRST_ID: first_id(letter.message_id, letter.headers)},
    )


def _require_ours(database: Database) -> bool:
    """Whether it is the orchestrator's."""
    applied = {name for name in applied_migrations(database) if not name.startswith(OWN_PREFIX)}
    known = next((m for m in (ORCHESTRATOR, PARTICIPANT) if m[0][0] in applied), None)
    if known is None:
        raise SchemaMismatch(
            f"{database.name}: is neither the orchestrator's database nor a participant's; name one with --db"
        )
    names = {name for name, _ in known}
    if applied - names:
        raise SchemaMismatch(f"{database.name}: a newer release made it ({min(applied - names)!r}); install that one")
    if names - applied:
        raise SchemaMismatch(
            f"{database.name}: lacks the migration {min(names - applied)!r}; start its process once with this release"
        )
    return known is ORCHESTRATOR
