"""What a subscription may say that it has read: partitions that were its own all the while, to their end."""

from collections.abc import Callable

import anyio
import pytest

from sagas.ports import Broker, Incoming, Outgoing, Reading, Subscription
from tests.broker.traffic import ORDERS, PATIENCE_S, numbers, outgoing, positions, read, spread

Connect = Callable[[], Broker]

ALL = frozenset({("orders", 0), ("orders", 1), ("orders", 2)})
NONE = frozenset[tuple[str, int]]()


async def a_member(broker: Broker) -> Subscription:
    return await broker.subscribe("workers", ["orders"])


class ReadingContract:
    """The tests. `connect` comes from the subclass."""

    pytestmark = pytest.mark.anyio

    async def test_a_poll_that_left_nothing_has_read_everything(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        member = await a_member(broker)
        assert await member.reading() == Reading(partitions=ALL, read=NONE), "before the first poll"
        await broker.publish(spread(4))
        await read(member, 4)
        assert await member.reading() == Reading(partitions=ALL, read=ALL)

    async def test_a_poll_that_brought_as_much_as_it_could_has_read_nothing_to_its_end(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        member = await a_member(broker)
        await broker.publish(spread(3))
        await member.poll(2)
        assert (await member.reading()).read == NONE
        await member.poll(2)
        assert (await member.reading()).read == ALL

    @pytest.mark.parametrize(
        "sizes",
        [[100_000] * 250, [1_000, 20_000_000], [1_000, 60_000_000, 1_000], [3_000_000, 63_900_000]],
        ids=["many", "one behind a small one", "one between small ones", "more than a frame holds"],
    )
    async def test_what_was_read_to_its_end_has_nothing_left_however_large_messages_are(
        self, connect: Connect, sizes: list[int]
    ) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        member = await a_member(broker)
        await broker.publish(
            [
                Outgoing(id=outgoing(number).id, topic="orders", key="k", payload=bytes(size))
                for number, size in enumerate(sizes)
            ]
        )
        found, is_read = list[Incoming](), False
        with anyio.fail_after(6 * PATIENCE_S):
            while not is_read:
                found += await member.poll(1_000)
                is_read = (await member.reading()).read == ALL
        assert [len(message.payload) for message in found] == sizes

    async def test_members_read_different_partitions_and_all_together(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        one, two = await a_member(broker), await a_member(connect())
        for member in (one, two):
            await member.reading()
            await member.poll(9)
        shares = [(await member.reading()).read for member in (one, two)]
        assert all(shares)
        assert not shares[0] & shares[1]
        assert shares[0] | shares[1] == ALL

    async def test_what_has_gone_to_another_since_the_poll_does_not_count(self, connect: Connect) -> None:
        broker, other = connect(), connect()
        await broker.ensure([ORDERS])
        one = await a_member(broker)
        await one.poll(9)
        await a_member(other)
        assert (await one.reading()).read == NONE, "it asks what is still its own"
        await one.poll(9)
        kept = (await one.reading()).read
        assert kept
        assert kept < ALL

    async def test_what_was_lost_and_regained_does_not_count_until_it_is_polled_again(self, connect: Connect) -> None:
        broker, other = connect(), connect()
        await broker.ensure([ORDERS])
        one = await a_member(broker)
        await one.poll(9)
        two = await a_member(other)
        await other.publish(spread(3))
        early = list(await one.poll(9))  # a partition that is another's looks empty
        await two.close()
        assert (await one.reading()).read == NONE
        found = [*early, *await read(one, 3 - len(early))]
        assert set(numbers(found)) == {0, 1, 2}
        await one.poll(9)
        assert (await one.reading()).read == ALL

    async def test_what_was_waited_for_is_read_though_its_partition_is_to_go_to_a_new_member(
        self, connect: Connect
    ) -> None:
        broker, other = connect(), connect()
        await broker.ensure([ORDERS])
        one = await a_member(broker)
        await one.poll(9)
        await other.publish(spread(6))
        await one.wait(int(PATIENCE_S * 1000))
        two = await a_member(other)
        await one.reading()  # it asks what is still its own
        found = list[Incoming]()
        with anyio.fail_after(PATIENCE_S):
            while len(found) < 6:
                for member in (one, two):
                    polled = await member.poll(9)
                    await member.commit(positions(polled))
                    found += polled
        assert numbers(found) == list(range(6))

    async def test_after_a_rewind_it_says_what_the_next_poll_has_read(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        one = await a_member(broker)
        await broker.publish([outgoing(number) for number in range(4)])
        first = await read(one, 4)
        await one.commit(positions(first[:2]))
        await one.rewind()
        await one.poll(1)
        assert (await one.reading()).read == NONE
        assert numbers(await read(one, 1)) == [3]
        await one.poll(9)
        assert (await one.reading()).read == ALL

    async def test_waiting_after_a_commit_for_a_lost_partition_waits_for_what_is_left(self, connect: Connect) -> None:
        broker, other = connect(), connect()
        await broker.ensure([ORDERS])
        await broker.publish(spread(6))
        one = await a_member(broker)
        found = await read(one, 6)
        two = await a_member(other)
        # Whoever leaves has all partitions dealt out anew, work in progress or not.
        await (await a_member(other)).close()
        await one.commit(positions(found))
        await one.wait(1)
        assert numbers(await read(two, 2))
