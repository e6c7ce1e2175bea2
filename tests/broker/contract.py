"""What every adapter of the port `Broker` has to do, as tests: a subclass says how to connect.

`connect()` gives a new handle to the same broker, as another process has it; its fixture closes them all.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

import anyio
import pytest

from sagas.broker.partitioning import partition_of
from sagas.errors import BrokerError
from sagas.ports import Broker, Incoming, Outgoing, Position, TopicSpec
from tests.broker.traffic import ORDERS, PATIENCE_S, key_of, numbers, outgoing, positions, read, read_and_commit, spread

Connect = Callable[[], Broker]
DeleteTopic = Callable[[str], Awaitable[None]]


class BrokerContract:
    """The tests. `connect` and `delete_topic` come from the subclass."""

    pytestmark = pytest.mark.anyio

    async def test_a_topic_without_messages_gives_nothing_and_does_not_wait(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        assert list(await subscription.poll(10)) == []

    async def test_what_was_published_is_read_byte_for_byte(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        headers = {"saga": "order", "step": "charge_card", "kraków": "zażółć", "x" * 255: "y" * 255}
        payload = bytes(range(256)) * 40
        message_id = "018f3c6e-7b1a-7cde-8f00-ffffffffffff"
        await broker.publish([Outgoing(id=message_id, topic="orders", key="order-7", payload=payload, headers=headers)])
        (read_back,) = await read(await broker.subscribe("workers", ["orders"]), 1)
        assert read_back == Incoming(
            id=message_id,
            topic="orders",
            partition=partition_of("order-7", 3),
            offset=0,
            timestamp_ms=read_back.timestamp_ms,
            payload=payload,
            headers=headers,
        )
        assert 1_577_836_800_000 < read_back.timestamp_ms < 4_102_444_800_000, "milliseconds, in this century"

    @pytest.mark.parametrize(
        "spelled",
        [
            "018F3C6E-7B1A-7CDE-8F00-FFFFFFFFFFFF",
            "018f3c6e7b1a7cde8f00ffffffffffff",
            "urn:uuid:018f3c6e-7b1a-7cde-8f00-ffffffffffff",
        ],
    )
    async def test_an_id_is_read_back_in_its_one_spelling(self, connect: Connect, spelled: str) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([Outgoing(id=spelled, topic="orders", key="k", payload=b"x")])
        (read_back,) = await read(await broker.subscribe("workers", ["orders"]), 1)
        assert read_back.id == "018f3c6e-7b1a-7cde-8f00-ffffffffffff"

    async def test_a_message_without_headers_has_none_and_no_defect(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(1)])
        (read_back,) = await read(await broker.subscribe("workers", ["orders"]), 1)
        assert (dict(read_back.headers), read_back.defect) == ({}, "")

    async def test_a_header_with_an_empty_value_is_left_out(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish(
            [Outgoing(id=outgoing(1).id, topic="orders", key="k", payload=b"x", headers={"a": "", "b": "1"})]
        )
        (read_back,) = await read(await broker.subscribe("workers", ["orders"]), 1)
        assert dict(read_back.headers) == {"b": "1"}

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"headers": {"note": "é" * 128}}, "note"),
            ({"headers": {"": "x"}}, "header"),
            ({"payload": b""}, "payload"),
            ({"id": "seven"}, "seven"),
            ({"id": str(UUID(int=0))}, "nil"),
        ],
    )
    async def test_what_iggy_cannot_take_is_refused_by_name_and_nothing_is_sent(
        self, connect: Connect, changes: dict[str, object], named: str
    ) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        fields: dict[str, object] = {"id": outgoing(2).id, "topic": "orders", "key": "k", "payload": b"x", **changes}
        wrong = Outgoing(**fields)  # type: ignore[arg-type] # one field is wrong, and which one varies
        with pytest.raises(BrokerError, match=named):
            await broker.publish([outgoing(1), wrong])
        assert list(await (await broker.subscribe("workers", ["orders"])).poll(10)) == []

    async def test_the_partition_is_chosen_by_key_and_keeps_the_order_of_publishing(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        keys = [f"order-{number % 7}" for number in range(60)]
        await broker.publish([outgoing(number, key) for number, key in enumerate(keys[:40])])
        await broker.publish([outgoing(number, key) for number, key in enumerate(keys) if number >= 40])
        found = await read(await broker.subscribe("workers", ["orders"]), 60)
        for partition in range(3):
            expected = [number for number, key in enumerate(keys) if partition_of(key, 3) == partition]
            there = [message for message in found if message.partition == partition]
            assert [UUID(message.id).int - 1 for message in there] == expected
            assert [message.offset for message in there] == list(range(len(expected)))

    async def test_what_was_polled_is_not_returned_again_by_the_next_poll(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish(spread(9))
        subscription = await broker.subscribe("workers", ["orders"])
        polled = [await subscription.poll(2) for _ in range(7)]
        assert all(len(messages) <= 2 for messages in polled)
        assert numbers([message for messages in polled for message in messages]) == list(range(9))

    async def test_what_was_polled_but_not_committed_is_read_again_after_a_rewind(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(number) for number in range(6)])
        subscription = await broker.subscribe("workers", ["orders"])
        first = await read(subscription, 6)
        await subscription.commit(positions(first[:2]))
        await subscription.rewind()
        assert numbers(await read(subscription, 4)) == [2, 3, 4, 5]
        assert list(await subscription.poll(10)) == []

    async def test_waiting_for_messages_ends_when_one_comes_and_the_next_poll_has_it(self, connect: Connect) -> None:
        broker, other = connect(), connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        assert list(await subscription.poll(10)) == []
        took_s = float("inf")

        async def wait() -> None:
            nonlocal took_s
            began = anyio.current_time()
            if not await subscription.wait(int(PATIENCE_S * 1000)):
                return  # this broker cannot tell
            took_s = anyio.current_time() - began

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                await other.publish([outgoing(1)])
            assert numbers(await read(subscription, 1)) == [1]
        assert took_s < PATIENCE_S / 2 or took_s == float("inf")

    async def test_waiting_for_messages_that_do_not_come_ends_in_time(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        with anyio.fail_after(PATIENCE_S):
            await subscription.wait(5)
            assert list(await subscription.poll(10)) == []

    async def test_what_is_there_is_not_waited_for_and_all_of_it_is_read(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        await subscription.poll(10)
        await broker.publish([outgoing(number) for number in range(20)])
        with anyio.fail_after(PATIENCE_S / 2):
            await subscription.wait(int(PATIENCE_S * 1000))
        assert numbers(await read(subscription, 20)) == list(range(20))

    async def test_a_poll_after_being_told_claims_nothing_of_what_it_was_not_told(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        await subscription.poll(10)
        await broker.publish([outgoing(1, key_of(0))])
        await subscription.wait(int(PATIENCE_S * 1000))
        await broker.publish([outgoing(2, key_of(1)), outgoing(3, key_of(2))])
        found = list(await subscription.poll(1_000))
        read_up = (await subscription.reading()).read
        unread = [m for m in await subscription.poll(1_000) if ("orders", m.partition) in read_up]
        assert found
        assert unread == []

    async def test_one_committed_message_is_not_read_again_after_a_rewind(self, connect: Connect) -> None:
        # Offset 0 is special: the broker reports it for a partition that is empty as well.
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(0)])
        subscription = await broker.subscribe("workers", ["orders"])
        await read_and_commit(subscription, 1)
        await subscription.rewind()
        assert list(await subscription.poll(10)) == []
        await broker.publish([outgoing(1)])
        assert numbers(await read(subscription, 1)) == [1]

    async def test_a_new_subscription_goes_on_after_the_committed_offset(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(number) for number in range(5)])
        before = await broker.subscribe("workers", ["orders"])
        found = await read(before, 5)
        await before.commit(positions(found[:3]))
        await broker.close()
        after = await connect().subscribe("workers", ["orders"])
        assert numbers(await read(after, 2)) == [3, 4]

    async def test_groups_do_not_know_of_each_other(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish(spread(6))
        await read_and_commit(await broker.subscribe("workers", ["orders"]), 6)
        assert numbers(await read(await broker.subscribe("auditors", ["orders"]), 6)) == list(range(6))

    async def test_one_subscription_reads_several_topics(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS, TopicSpec(name="payments", partitions=1)])
        await broker.publish([outgoing(0), outgoing(1, topic="payments"), outgoing(2), outgoing(3, topic="payments")])
        subscription = await broker.subscribe("workers", ["orders", "payments"])
        found = await read_and_commit(subscription, 4)
        assert {(message.topic, UUID(message.id).int - 1) for message in found} == {
            *(("orders", 0), ("orders", 2), ("payments", 1), ("payments", 3))
        }
        await subscription.rewind()
        assert list(await subscription.poll(10)) == []

    async def test_two_members_share_the_partitions_and_each_message_goes_to_one(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        one = await broker.subscribe("workers", ["orders"])
        two = await connect().subscribe("workers", ["orders"])
        await broker.publish(spread(30))
        taken: tuple[list[Incoming], list[Incoming]] = ([], [])
        with anyio.fail_after(PATIENCE_S):
            while len(taken[0]) + len(taken[1]) < 30:
                taken[0].extend(await one.poll(100))
                taken[1].extend(await two.poll(100))
        assert numbers([*taken[0], *taken[1]]) == list(range(30))
        partitions = [{message.partition for message in messages} for messages in taken]
        assert partitions[0]
        assert partitions[1]
        assert not partitions[0] & partitions[1]

    async def test_a_partition_in_work_changes_hands_after_its_commit(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish(spread(3))
        one = await broker.subscribe("workers", ["orders"])
        in_work = await read(one, 3)
        two = await connect().subscribe("workers", ["orders"])
        assert list(await two.poll(10)) == []
        await one.commit(positions(in_work))
        await broker.publish([outgoing(number, key_of(number % 3)) for number in range(3, 6)])
        moved = await read(two, 1)
        assert not {0, 1, 2} & set(numbers(moved))

    async def test_a_member_that_leaves_hands_over_what_it_has_not_committed(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish(spread(6))
        one = await broker.subscribe("workers", ["orders"])
        first = await read(one, 6)
        two = await connect().subscribe("workers", ["orders"])
        await one.commit([position for position in positions(first) if position.partition == 0])
        await one.close()
        assert numbers(await read(two, 4)) == [1, 2, 4, 5]

    async def test_a_closed_connection_leaves_its_groups(self, connect: Connect) -> None:
        broker, other = connect(), connect()
        await broker.ensure([ORDERS])
        await broker.subscribe("workers", ["orders"])
        two = await other.subscribe("workers", ["orders"])
        await broker.close()
        await other.publish(spread(6))
        assert numbers(await read(two, 6)) == list(range(6))

    async def test_a_commit_for_a_lost_partition_is_passed_over_and_said(self, connect: Connect) -> None:
        broker, other = connect(), connect()
        await broker.ensure([ORDERS])
        await broker.publish(spread(6))
        one = await broker.subscribe("workers", ["orders"])
        found = await read(one, 6)
        two = await other.subscribe("workers", ["orders"])
        # Whoever leaves has all partitions dealt out anew, work in progress or not.
        await (await other.subscribe("workers", ["orders"])).close()
        refused = await one.commit(positions(found))
        again = await read(two, 2)
        assert len({message.partition for message in again}) == 1
        assert list(refused) == [at for at in positions(found) if at.partition == again[0].partition]
        assert list(await two.commit(positions(again))) == []
        await two.rewind()
        assert list(await two.poll(10)) == []

    async def test_an_offset_of_a_topic_that_was_made_anew_since_is_refused_and_nothing_is_passed_over(
        self, connect: Connect, delete_topic: DeleteTopic
    ) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        await broker.publish([outgoing(number) for number in range(6)])
        noted = positions(await read(subscription, 6))
        await delete_topic("orders")
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(100)])
        found = set[int]()
        with anyio.fail_after(PATIENCE_S):
            while not found:  # A poll finds it out, and the member joins again.
                found |= set(numbers(await subscription.poll(10)))
        await broker.publish([outgoing(number) for number in range(101, 110)])
        assert list(await subscription.commit(noted)) == noted
        with anyio.fail_after(PATIENCE_S):
            while len(found) < 10:
                found |= set(numbers(await subscription.poll(10)))
        assert found == set(range(100, 110))

    async def test_what_was_returned_before_a_rewind_may_be_committed_after_it(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        await broker.publish([outgoing(number) for number in range(6)])
        noted = positions(await read(subscription, 6))
        await subscription.rewind()
        assert list(await subscription.commit(noted)) == []
        assert list(await subscription.poll(10)) == []

    async def test_ensuring_twice_changes_nothing(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish(spread(3))
        await broker.ensure([ORDERS])
        await connect().ensure([ORDERS, TopicSpec(name="payments", partitions=1, expiry_s=3600)])
        assert numbers(await read(await broker.subscribe("workers", ["orders"]), 3)) == [0, 1, 2]

    async def test_several_processes_may_ensure_and_join_at_the_same_time(self, connect: Connect) -> None:
        brokers = [connect() for _ in range(4)]

        async def start(broker: Broker) -> None:
            await broker.ensure([ORDERS, TopicSpec(name="payments", partitions=1)])
            await broker.subscribe("workers", ["orders", "payments"])

        async with anyio.create_task_group() as starting:
            for broker in brokers:
                starting.start_soon(start, broker)

    async def test_a_topic_that_exists_is_taken_with_the_partitions_it_has(self, connect: Connect) -> None:
        await connect().ensure([TopicSpec(name="orders", partitions=5, expiry_s=0)])
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(number, f"order-{number}") for number in range(20)])
        found = await read(await broker.subscribe("workers", ["orders"]), 20)
        chosen = {UUID(message.id).int - 1: message.partition for message in found}
        assert chosen == {number: partition_of(f"order-{number}", 5) for number in range(20)}

    async def test_publishing_again_gives_duplicates_with_the_same_id(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(1)])
        await broker.publish([outgoing(1)])
        found = await read(await broker.subscribe("workers", ["orders"]), 2)
        assert [(message.id, message.offset) for message in found] == [(outgoing(1).id, 0), (outgoing(1).id, 1)]

    async def test_more_messages_than_one_request_takes_arrive_in_order(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(number) for number in range(2500)])
        found = await read(await broker.subscribe("workers", ["orders"]), 2500)
        assert [UUID(message.id).int - 1 for message in found] == list(range(2500))

    async def test_a_topic_that_is_not_there_is_refused_with_its_name(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        with pytest.raises(BrokerError, match="parcels"):
            await broker.publish([outgoing(1, topic="parcels")])
        with pytest.raises(BrokerError, match=r"topic 'parcels' of stream .* is not there"):
            await broker.subscribe("workers", ["parcels"])

    @pytest.mark.parametrize(("topic", "offset"), [("parcels", 0), ("orders", -1)])
    async def test_an_offset_that_cannot_be_one_is_refused_by_name(
        self, connect: Connect, topic: str, offset: int
    ) -> None:
        broker = connect()
        await broker.ensure([ORDERS, TopicSpec(name="parcels", partitions=1)])
        subscription = await broker.subscribe("workers", ["orders"])
        with pytest.raises(BrokerError, match=topic):
            await subscription.commit([Position(topic=topic, partition=0, offset=offset)])

    async def test_a_subscription_that_fails_leaves_no_member_behind(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        with pytest.raises(BrokerError) as held:
            await broker.subscribe("workers", ["orders", "parcels"])
        # While the error is held, with all that it refers to.
        subscription = await broker.subscribe("workers", ["orders"])
        await broker.publish(spread(3))
        assert numbers(await read(subscription, 3)) == [0, 1, 2]
        assert "parcels" in str(held.value)

    async def test_a_closed_broker_refuses_and_can_be_closed_again(self, connect: Connect) -> None:
        broker = connect()
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        await broker.close()
        await broker.close()
        with pytest.raises(BrokerError):
            await broker.publish([outgoing(1)])
        with pytest.raises(BrokerError):
            await subscription.poll(1)
        await subscription.close()
