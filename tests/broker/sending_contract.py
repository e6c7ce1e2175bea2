"""What a broker that can send at once (`PromptBroker`) has to do; one that cannot just now says so and does nothing."""

from collections.abc import Callable, Sequence

import anyio
import pytest

from sagas.errors import BrokerError
from sagas.ports import Broker, Outgoing, PromptBroker
from tests.broker.traffic import ORDERS, PATIENCE_S, key_of, outgoing, read, spread

Connect = Callable[[], Broker]


class Outcomes:
    """What became of what was sent, in the order in which it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, BrokerError | None]] = []
        self._more = anyio.Event()

    def of(self, name: str) -> Callable[[BrokerError | None], None]:
        """To be told of what is called `name`."""

        def note(error: BrokerError | None) -> None:
            self.told.append((name, error))
            self._more.set()

        return note

    async def all_told(self, count: int) -> None:
        """Wait until so many were told of."""
        with anyio.fail_after(PATIENCE_S):
            while len(self.told) < count:
                self._more = anyio.Event()
                await self._more.wait()


async def prompt(connect: Connect) -> PromptBroker:
    """A broker that has published to the topic, after which it can send at once if it ever can."""
    broker = connect()
    await broker.ensure([ORDERS])
    await broker.publish([outgoing(0)])
    assert isinstance(broker, PromptBroker)
    return broker


async def send(broker: PromptBroker, outcomes: Outcomes, name: str, messages: Sequence[Outgoing]) -> bool:
    """Send, or publish where it cannot be sent at once; whether it was sent."""
    if broker.send(messages, outcomes.of(name)):
        return True
    await broker.publish(messages)
    outcomes.of(name)(None)
    return False


class SendingContract:
    """The tests. `connect` comes from the subclass."""

    pytestmark = pytest.mark.anyio

    async def test_what_is_sent_at_once_comes_in_order_behind_what_was_published(self, connect: Connect) -> None:
        broker, outcomes = await prompt(connect), Outcomes()
        for number in range(1, 31):
            await send(broker, outcomes, str(number), [outgoing(number), outgoing(number, key_of(number % 3))])
        found = await read(await broker.subscribe("workers", ["orders"]), 61)
        of_the_key = [m for m in found if m.partition == found[0].partition]
        assert [m.offset for m in of_the_key] == list(range(len(of_the_key)))
        order = [int(m.payload.split()[-1]) for m in of_the_key]
        assert order == sorted(order)
        await outcomes.all_told(30)
        assert outcomes.told == [(str(number), None) for number in range(1, 31)]

    async def test_what_iggy_cannot_take_is_told_of_and_nothing_is_sent(self, connect: Connect) -> None:
        broker, outcomes = await prompt(connect), Outcomes()
        wrong = Outgoing(id=outgoing(2).id, topic="orders", key="k", payload=b"")
        if broker.send([outgoing(1), wrong], outcomes.of("wrong")):
            await outcomes.all_told(1)
            ((_, error),) = outcomes.told
            assert "payload" in str(error)
        assert len(await read(await broker.subscribe("workers", ["orders"]), 1)) == 1
        then = Outcomes()
        await send(broker, then, "right", [outgoing(3)])
        await then.all_told(1)
        assert then.told == [("right", None)]

    async def test_a_topic_that_is_not_there_takes_nothing(self, connect: Connect) -> None:
        broker, outcomes = await prompt(connect), Outcomes()
        if broker.send([outgoing(1), outgoing(2, topic="nowhere")], outcomes.of("nowhere")):
            await outcomes.all_told(1)
            assert "nowhere" in str(outcomes.told[0][1])
        assert len(await read(await broker.subscribe("workers", ["orders"]), 1)) == 1

    async def test_who_waits_for_messages_is_told_of_what_is_sent(self, connect: Connect) -> None:
        broker, outcomes = await prompt(connect), Outcomes()
        reader = await connect().subscribe("workers", ["orders"])
        await read(reader, 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, broker, outcomes, "sent", spread(3))
            assert len(await read(reader, 3)) == 3
        await outcomes.all_told(1)

    async def test_a_closed_broker_sends_nothing(self, connect: Connect) -> None:
        broker, outcomes = await prompt(connect), Outcomes()
        await broker.close()
        assert not broker.send([outgoing(1)], outcomes.of("late"))
        assert len(await read(await connect().subscribe("workers", ["orders"]), 1)) == 1
        assert outcomes.told == []
