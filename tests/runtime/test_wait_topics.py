"""Two waits for the same event from two topics: an event ends the wait of the topic that it came on, and no other."""

from typing import Any

import msgspec
import pytest

from sagas import Event, Participant, Saga
from sagas.broker.memory import MemoryBroker
from sagas.core.effects import Input, Signal
from sagas.core.envelope import encode_message
from sagas.core.ids import instance_id
from sagas.core.instance import COMPLETED
from sagas.core.kernel import decide
from sagas.ports import Outgoing
from sagas.testing import Scenario, World

MANAGERS, SECURITY = Participant("managers", key="k"), Participant("security", key="k")


class Begun(Event, tag="begun"):
    k: str


class Approved(Event, tag="approved"):
    k: str
    by: str


class Data(msgspec.Struct, frozen=True):
    """Who has approved."""

    k: str
    manager: str = ""
    security: str = ""


def a_saga(*, is_side_by_side: bool) -> Saga[Data]:
    saga: Saga[Data] = Saga("permit", Data, version=1, key="k")

    @saga.start(on=MANAGERS)
    def begin(event: Begun) -> Data:
        return Data(event.k)

    @saga.wait(on=MANAGERS, timeout=60, absence="refusal")
    def manager(data: Data, signal: Approved) -> Data:
        return msgspec.structs.replace(data, manager=signal.by)

    @saga.wait(on=SECURITY, timeout=60, absence="refusal")
    def security(data: Data, signal: Approved) -> Data:
        return msgspec.structs.replace(data, security=signal.by)

    saga.flow(manager & security if is_side_by_side else manager >> security)
    return saga


async def approve(world: World, topic: str, by: str) -> None:
    broker, now_ms = MemoryBroker(world.broker), world.clock.now_ms()
    message_id = instance_id("approval", by, now_ms)
    payload = encode_message(Approved(k="k-1", by=by), message_id=message_id, key_field="k", key="k-1", now_ms=now_ms)
    await broker.publish([Outgoing(id=message_id, topic=topic, key="k-1", payload=payload)])
    await broker.close()
    await world.work()


@pytest.mark.anyio
@pytest.mark.parametrize("is_side_by_side", [True, False])
async def test_two_events_of_one_topic_do_not_stand_for_one_of_each(is_side_by_side: bool) -> None:
    definition = a_saga(is_side_by_side=is_side_by_side).definition
    async with World([definition], {}) as world:
        await world.publish_start("permit", Begun(k="k-1"))
        await world.work()
        await approve(world, "security", "guard-1")
        await approve(world, "security", "guard-2")
        run = world.instance("permit", "k-1")
        assert run.state == "manager.waiting"
        await approve(world, "managers", "ann")
        run = world.instance("permit", "k-1")
        assert run.state == COMPLETED
        assert definition.decode_data(run.data) == Data("k-1", manager="ann", security="guard-1")


def test_a_story_says_on_which_topic_an_event_comes_that_two_waits_take() -> None:
    story = Scenario(a_saga(is_side_by_side=True)).start_event(Begun(k="k-1"))
    with pytest.raises(AssertionError, match=r"on 'managers' and 'security': say which, `on=…`"):
        story.signal(Approved(k="k-1", by="guard-1"))
    story.signal(Approved(k="k-1", by="guard-1"), on=SECURITY)
    story.signal(Approved(k="k-1", by="guard-2"), on=SECURITY).expect_verdict("duplicate")
    story.signal(Approved(k="k-1", by="ann"), on=MANAGERS).expect_completed()
    assert story.data == Data("k-1", manager="ann", security="guard-1")


def test_an_event_of_a_topic_that_no_wait_reads_is_refused() -> None:
    story = Scenario(a_saga(is_side_by_side=True)).start_event(Begun(k="k-1"))
    elsewhere = Participant("elsewhere", key="k")
    story.signal(Approved(k="k-1", by="eve"), on=elsewhere).expect_verdict("violation")


def test_a_signal_that_an_earlier_release_wrote_down_says_no_topic_and_is_taken_as_it_was() -> None:
    """A journal is decided again: what was taken then is taken now."""
    saga = a_saga(is_side_by_side=False)
    story = Scenario(saga).start_event(Begun(k="k-1"))
    noted = b'{"type":"signal","event_type":"approved","data":"eyJieSI6Imd1YXJkIn0="}'
    signal: Any = msgspec.json.decode(noted, type=Input)
    assert signal == Signal(event_type="approved", data=b'{"by":"guard"}')
    decision = decide(saga.definition, story.instance, signal, 1)
    assert decision.instance is not None
    assert decision.instance.state == "security.waiting"
