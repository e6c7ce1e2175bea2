"""A projection is built anew from its topics beside the one in use, compared at the same messages, and swapped in."""

import errno
import os
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sagas import Event, Key, Participant
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.cli.rebuilding import Rebuilt, rebuild, told
from sagas.core.envelope import encode_message
from sagas.core.ids import timed_id
from sagas.errors import StoreError
from sagas.ports import Incoming, Migration, Outgoing, Sql, TopicSpec
from sagas.runtime import consumer
from sagas.runtime.cleaning import PROCESSED_KEPT_MS
from sagas.runtime.dead_letters import dead_letter
from sagas.runtime.projection import Projection, ProjectionError, ProjectionWork, Seen
from sagas.runtime.relay import Relay
from sagas.runtime.worker import Worker
from sagas.store.generations import Generations
from sagas.store.letter_file import LetterFile, requeued
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline

pytestmark = pytest.mark.anyio

BANK = Participant("bank", key="account")


class Paid(Event, tag="bank.paid"):
    """So much came in."""

    account: Key
    cents: int = 0


def _create(sql: Sql) -> None:
    sql.execute("CREATE TABLE accounts (account TEXT PRIMARY KEY NOT NULL, cents INTEGER NOT NULL) STRICT")


TABLES: tuple[Migration, ...] = (("001", _create),)

view = Projection("balances", TABLES)


@view.on(BANK)
def paid(sql: Sql, event: Paid, seen: Seen) -> None:
    """Add it up; 13 brings bad luck."""
    if event.cents == 13:
        raise ValueError("13")
    sql.execute(
        "INSERT INTO accounts VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents",
        (event.account, event.cents),
    )


_numbers = count()

mended = Projection("balances", TABLES)


@mended.on(BANK)
def paid_by_all(sql: Sql, event: Paid, seen: Seen) -> None:
    """Add it up; there is no bad luck."""
    sql.execute(
        "INSERT INTO accounts VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents",
        (event.account, event.cents),
    )


class PaidInText(Event, tag="bank.paid"):
    """The same as a newer release reads it."""

    account: Key
    cents: int | str = 0


lenient = Projection("balances", TABLES)


@lenient.on(BANK)
def paid_in_text(sql: Sql, event: PaidInText, seen: Seen) -> None:
    """Add it up, however it is written."""
    sql.execute(
        "INSERT INTO accounts VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents",
        (event.account, int(event.cents)),
    )


class Ledger:
    """A projection that runs on a broker in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.world = MemoryWorld(self.clock)
        self.broker = MemoryBroker(self.world)
        self.generations = Generations(folder, view.name)
        self._count = 0

    async def pay(self, account: str, cents: int) -> None:
        """Publish an event."""
        await self._publish(Paid(account=account, cents=cents), account)

    async def pay_as_text(self, account: str, cents: str) -> None:
        """Publish one that a release which knows numbers only cannot read."""
        await self._publish(PaidInText(account=account, cents=cents), account)

    async def _publish(self, event: Event, account: str) -> None:
        self._count += 1
        message_id = timed_id(self.clock.now_ms(), str(self._count))
        payload = encode_message(event, message_id=message_id, key_field="account", key=account, now_ms=1)
        await self.broker.ensure([TopicSpec(name=BANK.events)])
        await self.broker.publish([Outgoing(id=message_id, topic=BANK.events, key=account, payload=payload)])

    @asynccontextmanager
    async def projecting(self) -> AsyncGenerator[Worker]:
        """The projector, as its process runs it: on the current generation."""
        generation = self.generations.current() or self.generations.new(self.clock.now_ms())
        store = SqliteParticipantStore(self.generations.path(generation), view.migrations)
        self.generations.make_current(generation)
        broker = MemoryBroker(self.world)
        subscription = await broker.subscribe(self.generations.group(generation), view.topics)
        relay = Relay(store, broker, self.clock, inline)
        try:
            yield Worker(
                ProjectionWork(view, store, kept_ms=PROCESSED_KEPT_MS, pauses_ms=()),
                subscription,
                relay,
                self.clock,
                inline,
            )
        finally:
            await broker.close()
            store.close()

    async def catch_up(self) -> None:
        """Let the projector read all there is."""
        async with self.projecting() as worker:
            while await worker.turn():
                pass

    async def rebuild(self, *, accepts: bool = False, only_checks: bool = False) -> Rebuilt:
        """Build it anew."""
        self.clock.advance(1_000)
        clock = VirtualClock(self.clock.now_ms(), is_automatic=True)
        return await rebuild(
            view,
            self.folder,
            broker=MemoryBroker(self.world),
            clock=clock,
            offload=inline,
            on_progress=lambda count, total: None,
            accepts=accepts,
            only_checks=only_checks,
        )

    def balances(self) -> dict[object, object]:
        """What the current generation says."""
        current = self.generations.current()
        assert current is not None
        store = SqliteParticipantStore(self.generations.path(current), view.migrations)
        with store.transaction() as transaction:
            found = transaction.sql.execute("SELECT account, cents FROM accounts").fetchall()
        store.close()
        return {account: cents for account, cents in found}  # noqa: C416 - rows of any length, for the type checkers

    def files(self) -> list[str]:
        """What is there; logs of SQLite's come and go with readers."""
        return sorted(path.name for path in self.folder.iterdir() if path.suffix in (".projection", ".current"))

    def spoil(self) -> None:
        """Change a row of the current generation by hand."""
        current = self.generations.current()
        assert current is not None
        store = SqliteParticipantStore(self.generations.path(current), view.migrations)
        with store.transaction() as transaction:
            transaction.sql.execute("UPDATE accounts SET cents = 1 WHERE account = 'a'")
        store.close()


@pytest.fixture
async def ledger(tmp_path: Path) -> Ledger:
    """With three payments to two accounts, one of them unlucky, all read."""
    ledger = Ledger(tmp_path)
    for account, cents in (("a", 500), ("b", 700), ("a", 20), ("b", 13)):
        await ledger.pay(account, cents)
    await ledger.catch_up()
    return ledger


async def test_a_rebuilt_projection_is_equal_and_takes_the_place_of_the_old_one(ledger: Ledger) -> None:
    before = ledger.generations.current()
    rebuilt = await ledger.rebuild()

    assert (rebuilt.is_equal, rebuilt.is_swapped, rebuilt.messages, rebuilt.rows) == (True, True, 4, 2)
    assert ledger.generations.current() != before
    assert ledger.balances() == {"a": 520, "b": 700}


async def test_a_projection_that_was_swapped_in_goes_on_where_it_stands(ledger: Ledger) -> None:
    await ledger.rebuild()
    await ledger.pay("a", 1)
    await ledger.catch_up()

    assert ledger.balances() == {"a": 521, "b": 700}


async def test_what_comes_in_meanwhile_is_not_compared_and_not_lost(ledger: Ledger) -> None:
    # The topic is ahead of the file in use: the projector was slow, or the events came during the rebuild.
    await ledger.pay("a", 1_000)
    await ledger.pay("c", 3)
    rebuilt = await ledger.rebuild()

    assert (rebuilt.is_equal, rebuilt.messages) == (True, 6)
    assert ledger.balances() == {"a": 1_520, "b": 700, "c": 3}


async def test_what_differs_is_named_and_not_swapped_in_unless_it_is_accepted(ledger: Ledger) -> None:
    ledger.spoil()
    before = ledger.generations.current()
    rebuilt = await ledger.rebuild()

    assert (rebuilt.is_swapped, ledger.generations.current()) == (False, before)
    assert "differs: accounts 'a': cents 1 -> 520" in told(rebuilt)
    assert "--accept" in told(rebuilt)[-1]

    accepted = await ledger.rebuild(accepts=True)
    assert accepted.is_swapped
    assert ledger.balances() == {"a": 520, "b": 700}


async def test_a_check_swaps_nothing_and_leaves_no_file(ledger: Ledger) -> None:
    files = ledger.files()
    rebuilt = await ledger.rebuild(only_checks=True)

    assert (rebuilt.is_equal, rebuilt.is_swapped) == (True, False)
    assert ledger.files() == files


async def test_a_broker_that_goes_away_leaves_everything_as_it_was(ledger: Ledger) -> None:
    files = ledger.files()
    ledger.world.stop()
    with pytest.raises(Exception, match="stopped"):
        await ledger.rebuild()

    assert ledger.files() == files


@pytest.mark.parametrize("is_folder", [False, True])
async def test_a_swap_that_the_disk_refuses_leaves_a_pointer_to_a_file_that_is_there(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    # Network file systems cannot sync a folder: by then the pointer was replaced.
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == is_folder:
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    before, files = ledger.generations.current(), ledger.files()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="names generation .* cannot be synced" if is_folder else "is as it was"):
        await ledger.rebuild()
    monkeypatch.undo()

    if not is_folder:
        assert (ledger.generations.current(), ledger.files()) == (before, files)
    current = ledger.generations.current()
    assert current is not None
    assert ledger.generations.path(current).exists()
    await ledger.pay("a", 1)
    await ledger.catch_up()
    assert ledger.balances() == {"a": 521, "b": 700}


async def test_without_one_in_use_the_first_is_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay("a", 5)
    rebuilt = await ledger.rebuild()

    assert (rebuilt.has_old, rebuilt.is_swapped) == (False, True)
    assert ledger.balances() == {"a": 5}


async def test_an_event_whose_handler_fails_is_kept_and_the_others_go_on(ledger: Ledger) -> None:
    current = ledger.generations.current()
    assert current is not None
    store = SqliteParticipantStore(ledger.generations.path(current), view.migrations)
    (letter,) = store.dead_letters(9)
    store.close()

    assert "ValueError: 13" in letter.reason
    assert ledger.balances() == {"a": 520, "b": 700}


async def test_a_letter_that_is_requeued_counts_once_for_every_reader_and_in_a_replay(ledger: Ledger) -> None:
    # The projection in use had no trouble; another reader of the topic has its letter published again.
    message = (await all_of(ledger))[0]
    letter, _ = dead_letter(message, "no", 1, read_by="other", key_field=BANK.key)
    row = requeued(letter, 2)
    await ledger.broker.publish(
        [Outgoing(id=row.id, topic=row.topic, key=row.key, payload=row.payload, headers=row.headers)]
    )
    await ledger.catch_up()
    assert ledger.balances() == {"a": 520, "b": 700}

    rebuilt = await ledger.rebuild()
    assert (rebuilt.is_equal, rebuilt.messages) == (True, 5)


async def test_a_letter_of_its_own_that_is_requeued_takes_effect_when_its_handler_is_mended(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.runtime.test_replay.view", mended)
    current = ledger.generations.current()
    assert current is not None
    with closing(LetterFile(ledger.generations.path(current), read_only=False)) as letters:
        letters.requeue([1], "ann", "mended", 2)
    store = SqliteParticipantStore(ledger.generations.path(current), view.migrations)
    await Relay(store, ledger.broker, ledger.clock, inline).drain()
    store.close()
    await ledger.catch_up()
    assert ledger.balances() == {"a": 520, "b": 713}

    # A replay reads both: the one that was unlucky then, and the one that was published again.
    rebuilt = await ledger.rebuild()
    assert (rebuilt.is_equal, ledger.balances()) == (True, {"a": 520, "b": 713})


async def test_a_letter_whose_data_could_not_be_read_takes_effect_once_when_its_class_is_mended(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay_as_text("c", "7")
    (message,) = await all_of(ledger)
    with closing(SqliteParticipantStore(":memory:", view.migrations)) as store:
        view.process([message], store, 1)
        (letter,) = store.dead_letters(9)
        row = requeued(letter, 2)
        again = msgspec.structs.replace(message, id=row.id, headers=row.headers, offset=1)
        # Both come to the newer release, as in a replay.
        lenient.process([again], store, 3)
        lenient.process([message], store, 4)
        with store.transaction() as transaction:
            assert transaction.sql.execute("SELECT account, cents FROM accounts").fetchall() == [("c", 7)]


async def all_of(ledger: Ledger) -> Sequence[Incoming]:
    """Everything that stands in its topic."""
    reader = MemoryBroker(ledger.world)
    found = await (await reader.subscribe(f"all-{next(_numbers)}", [BANK.events])).poll(99)
    await reader.close()
    return found


class Numbered(Event, tag="bank.numbered"):
    account: int


def test_a_projection_that_is_not_told_its_participant_says_so() -> None:
    broken: Any = Projection("broken")

    def good(sql: Sql, event: Paid, seen: Seen) -> None: ...

    for source, said in ((good, "good is no participant"), ("bank", "'bank' is no participant")):
        with pytest.raises(ProjectionError, match=f"projection 'broken': {said}; write `@projection.on"):
            broken.on(source)


def test_a_handler_that_is_written_wrong_is_refused_with_its_name() -> None:
    broken = Projection("broken")

    def two(sql: Sql, event: Paid) -> None: ...
    def plain(sql: Sql, event: int, seen: Seen) -> None: ...
    def good(sql: Sql, event: Paid, seen: Seen) -> None: ...
    def of_a_consumer(sql: Sql, event: Paid, seen: consumer.Seen) -> None: ...

    async def awaited(sql: Sql, event: Paid, seen: Seen) -> None: ...
    def numbered(sql: Sql, event: Numbered, seen: Seen) -> None: ...
    def nowhere(sql: Sql, event: "Nowhere", seen: Seen) -> None: ...  # type: ignore[name-defined]  # noqa: F821 # pyright: ignore

    refused: list[tuple[Any, str]] = [
        (two, "takes 2 parameters"),
        (plain, "annotate its second parameter"),
        (of_a_consumer, r"is given a sagas\.runtime\.projection\.Seen; annotate it so"),
        (awaited, "is an `async def`"),
        (partial(good), "is no function"),
        (numbered, "event Numbered .* holds its business key 'account' as Int"),
        (nowhere, "an annotation cannot be read: name 'Nowhere' is not defined"),
    ]
    for function, said in refused:
        with pytest.raises(ProjectionError, match=said):
            broken.on(BANK)(function)
    broken.on(BANK)(good)
    with pytest.raises(ProjectionError, match="two handlers"):
        broken.on(BANK)(good)
