"""What the races are run with: a shop whose database dies or lies at a chosen moment, and hands in its topics."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import pytest

from sagas.broker.memory import MemoryBroker
from sagas.core.envelope import Header, encode_message
from sagas.core.instance import Instance, Operation
from sagas.core.messages import Event
from sagas.errors import StaleRevision, StoreError
from sagas.ports import Changes, Incoming, Outgoing, ParkedRow, StoreTransaction, TimerRow
from sagas.store.sqlite import SqliteStore
from sagas.testing.world import World
from services.orders.saga import order_saga
from tests.runtime.shop import a_shop, order

ORDER = order_saga.definition


class Crashed(BaseException):
    """The process died here."""


class FaultyStore(SqliteStore):
    """The orchestrator's real store. Each of its numbers says how many more times something goes wrong."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        self.crashes_before_commit = 0
        self.crashes_after_commit = 0
        self.crashes_before_marking = 0
        self.full_disks = 0
        self.conflicts = 0
        self.blind_finds = 0
        self.stale: Instance | None = None
        self.commits_lost = 0

    @contextmanager
    def transaction(self) -> Generator[StoreTransaction, None, None]:
        """A transaction that dies around its commit."""
        with super().transaction() as transaction:
            yield _Faulty(transaction, self)
            if self.crashes_before_commit:
                self.crashes_before_commit -= 1
                raise Crashed
        if self.crashes_after_commit:
            self.crashes_after_commit -= 1
            raise Crashed

    def mark_published(self, seqs: Sequence[int], now_ms: int) -> None:
        """The relay dies between the acknowledgement and its note of it."""
        if self.crashes_before_marking:
            self.crashes_before_marking -= 1
            raise Crashed
        super().mark_published(seqs, now_ms)

    def note_published(self, seqs: Sequence[int]) -> None:
        """The same, where the note is only one in memory."""
        if self.crashes_before_marking:
            self.crashes_before_marking -= 1
            raise Crashed
        super().note_published(seqs)

    def backup(self) -> "FaultyStore":
        """A copy of everything, as a backup has it."""
        copy = FaultyStore(":memory:")
        self._database.connection.backup(copy._database.connection)
        return copy

    def restore(self, backup: "FaultyStore") -> None:
        """Everything as it was when `backup` was made."""
        backup._database.connection.backup(self._database.connection)


class _Faulty:
    """A transaction that reads what is outdated or cannot write, as its store says."""

    def __init__(self, transaction: StoreTransaction, store: FaultyStore) -> None:
        self._transaction = transaction
        self._store = store

    def seen(self, message_ids: Collection[str]) -> set[str]:
        return self._transaction.seen(message_ids)

    def load(self, instance_ids: Collection[str]) -> dict[str, Instance]:
        found = self._transaction.load(instance_ids)
        stale, self._store.stale = self._store.stale, None
        return {**found, stale.id: stale} if stale is not None else found

    def find(self, saga: str, keys: Collection[str]) -> dict[str, Instance]:
        if self._store.blind_finds:
            self._store.blind_finds -= 1
            return {}
        return self._transaction.find(saga, keys)

    def purged(self, saga: str, keys: Collection[str]) -> set[str]:
        return self._transaction.purged(saga, keys)

    def is_purged(self, instance_id: str) -> bool:
        return self._transaction.is_purged(instance_id)

    def due_timers(self, now_ms: int, count_max: int) -> list[TimerRow]:
        return self._transaction.due_timers(now_ms, count_max)

    def parked_for(self, instance_ids: Collection[str]) -> list[ParkedRow]:
        return self._transaction.parked_for(instance_ids)

    def parked_expired(self, now_ms: int, count_max: int) -> list[ParkedRow]:
        return self._transaction.parked_expired(now_ms, count_max)

    def write(self, changes: Changes) -> None:
        if self._store.conflicts:
            self._store.conflicts -= 1
            raise StaleRevision("somebody's", 1)
        try:
            self._transaction.write(changes)
        except StaleRevision:
            self._store.commits_lost += 1
            raise
        if self._store.full_disks:
            # In the middle: what was written before it has to go, too.
            self._store.full_disks -= 1
            raise StoreError("the disk is full; make room")


def a_faulty_shop(monkeypatch: pytest.MonkeyPatch) -> tuple[World, FaultyStore]:
    """The demo's system with a database that can go wrong; nothing is wrong yet."""
    monkeypatch.setattr("sagas.testing.world.SqliteStore", FaultyStore)
    shop = a_shop()
    store = shop.store
    assert isinstance(store, FaultyStore)
    return shop, store


async def die_in_a_turn(shop: World, name: str) -> None:
    """The process dies where its store says so, and is started again."""
    with pytest.raises(Crashed):
        await shop.nodes[name].turn()
    await shop.nodes[name].kill()
    await shop.nodes[name].start()


async def turn_until(shop: World, key: str, state: str) -> None:
    """Let everybody take turns until the order has come to `state`, and nobody one more."""
    for _ in range(20):
        for node in shop.nodes.values():
            await node.turn()
            found = shop.store.instance("order", key)
            if found is not None and found.state == state:
                return
    raise AssertionError(f"{key} never came to {state}, it is {order(shop, key).state}")


async def publish(shop: World, *messages: Outgoing) -> None:
    """Somebody writes to the topics."""
    broker = MemoryBroker(shop.broker)
    await broker.publish(messages)
    await broker.close()


async def in_topic(shop: World, topic: str) -> list[Incoming]:
    """Everything that was ever written to a topic."""
    broker = MemoryBroker(shop.broker)
    subscription = await broker.subscribe(f"reader-{shop.broker.new_member()}", [topic])
    found = list(await subscription.poll(10_000))
    await broker.close()
    return found


def a_reply(
    instance_id: str, key: str, step: str, event: Event, number: int = 1, *, operation: Operation = "do"
) -> Outgoing:
    """A participant's reply as it is published; `number` tells its copies under other ids apart."""
    message_id = str(uuid5(NAMESPACE_DNS, f"{instance_id} {step} {operation} {number}"))
    return Outgoing(
        id=message_id,
        topic=ORDER.steps[step].to.events,
        key=key,
        payload=encode_message(event, message_id=message_id, key_field="order_id", key=key, now_ms=0),
        headers={Header.INSTANCE: instance_id, Header.STEP: step, Header.OPERATION: operation},
    )


def again(incoming: Incoming, number: int = 0) -> Outgoing:
    """A message that was read, written once more: under its own id, or with `number` under another."""
    message_id = str(uuid5(NAMESPACE_DNS, f"{incoming.id} {number}")) if number else incoming.id
    return Outgoing(
        id=message_id, topic=incoming.topic, key="again", payload=incoming.payload, headers=incoming.headers
    )
