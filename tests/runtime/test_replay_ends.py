"""A replay comes to its end though not all that the file in use is made of can be read, and events keep coming."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from sagas import Participant
from sagas.broker.memory import MemoryBroker, MemorySubscription, MemoryWorld
from sagas.broker.partitioning import partition_of
from sagas.cli.rebuilding import Rebuilt, rebuild
from sagas.ports import Incoming, Outgoing, Sql, Subscription, TopicSpec
from sagas.records import TRANSIENT_S
from sagas.runtime.cleaning import DAY_MS
from sagas.runtime.projection import Projection, Seen
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline
from tests.runtime.test_replay import BANK, TABLES, Ledger, Paid, all_of, view

pytestmark = pytest.mark.anyio

BRANCH = Participant("branch", key="account")
POLLS_MAX = 50

with_branch = Projection("balances", TABLES)


@with_branch.on(BANK)
def paid(sql: Sql, event: Paid, seen: Seen) -> None:
    """Add it up."""
    sql.execute(
        "INSERT INTO accounts VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents",
        (event.account, event.cents),
    )


@with_branch.on(BRANCH)
def paid_there(sql: Sql, event: Paid, seen: Seen) -> None:
    """Add it up, too."""
    paid(sql, event, seen)


class BusySubscription(MemorySubscription):
    """Before each of its polls something comes."""

    come: Callable[[], Awaitable[None]]
    polls = 0

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        self.polls += 1
        assert self.polls < POLLS_MAX, "it does not end"
        await self.come()
        return await super().poll(count_max)


class BusyBroker(MemoryBroker):
    """Whose subscriptions are busy ones."""

    def __init__(self, world: MemoryWorld, come: Callable[[], Awaitable[None]]) -> None:
        super().__init__(world)
        self._here = world
        self._come = come

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        subscription = BusySubscription(self._here, "sagas", group, topics)
        subscription.come = self._come
        return subscription


async def rebuild_while(ledger: Ledger, come: Callable[[], Awaitable[None]]) -> Rebuilt:
    """Build `view` anew while that comes."""
    ledger.clock.advance(1_000)
    return await rebuild(
        view,
        ledger.folder,
        broker=BusyBroker(ledger.world, come),
        clock=VirtualClock(ledger.clock.now_ms(), is_automatic=True),
        offload=inline,
        on_progress=lambda count, total: None,
        accepts=True,
    )


async def test_where_the_newer_release_reads_one_topic_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay("a", 5)
    (message,) = await all_of(ledger)
    await ledger.broker.ensure([TopicSpec(name=BRANCH.events)])
    await ledger.broker.publish([Outgoing(id=message.id, topic=BRANCH.events, key="a", payload=message.payload)])
    monkeypatch.setattr("tests.runtime.test_replay.view", with_branch)
    await ledger.catch_up()

    rebuilt = await rebuild_while(ledger, lambda: ledger.pay("a", 1))

    assert (rebuilt.has_old, rebuilt.is_swapped) == (True, True)


async def test_where_all_of_a_partition_has_expired_and_nothing_more_came(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    await ledger.broker.ensure([TopicSpec(name=BANK.events, partitions=2, expiry_s=TRANSIENT_S)])
    quiet, busy = (next(a for a in "abcdefgh" if partition_of(a, 2) == number) for number in range(2))
    await ledger.pay(quiet, 5)
    await ledger.pay(busy, 5)
    await ledger.catch_up()
    for partition in ledger.world.log.topic("sagas", BANK.events).partitions:
        partition.begin_segment()
    ledger.clock.advance(TRANSIENT_S * 1_000 + DAY_MS)
    await ledger.pay(busy, 1)

    rebuilt = await rebuild_while(ledger, lambda: ledger.pay(busy, 1))

    assert [str(difference) for difference in rebuilt.differences if difference.key == repr(quiet)] == [
        f"accounts {quiet!r}: only in the old one"
    ]
