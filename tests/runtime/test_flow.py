"""Branches, waits and delays in the whole system: a signal is an event on a topic, a delay is a timer."""

import pytest

from sagas.broker.memory import MemoryBroker
from sagas.core.envelope import encode_message
from sagas.core.ids import instance_id
from sagas.core.instance import Instance
from sagas.core.messages import Event
from sagas.ports import Outgoing
from sagas.testing.world import World
from tests.runtime.trips import (
    DESK,
    TripApproved,
    TripAsked,
    TripDenied,
    bank,
    desk,
    flight,
    hotel,
    trip_saga,
)

pytestmark = pytest.mark.anyio


def a_world() -> World:
    return World([trip_saga.definition], {hotel: [], flight: [], bank: [], desk: []})


async def tell(world: World, event: Event, key: str) -> None:
    """Publish a signal as any client would: a plain event with the business key, no header."""
    message_id = instance_id("signal", f"{key}{type(event).__name__}", world.clock.now_ms())
    payload = encode_message(event, message_id=message_id, key_field="trip_id", key=key, now_ms=world.clock.now_ms())
    broker = MemoryBroker(world.broker)
    await broker.publish([Outgoing(id=message_id, topic=DESK.events, key=key, payload=payload)])
    await broker.close()


def effects(instance: Instance) -> dict[str, str]:
    return {record.name: record.effect for record in instance.steps}


async def test_two_branches_a_signal_and_a_delay_complete() -> None:
    async with a_world() as world:
        await world.publish_start("trip", TripAsked(trip_id="t-1", is_abroad=True))
        await world.work()
        assert world.instance("trip", "t-1").state == "approval.waiting"
        await tell(world, TripApproved(trip_id="t-1"), "t-1")
        await world.work()
        assert world.instance("trip", "t-1").state == "cooling_off.delaying"
        begun_ms = world.clock.now_ms()
        await world.settle()
        run = world.instance("trip", "t-1")
        assert (run.state, effects(run)) == ("completed", dict.fromkeys(("room", "seat", "visa", "charge"), "done"))
        assert world.clock.now_ms() - begun_ms >= 60_000
        assert world.store.dead_letters(9) == []


async def test_one_branch_refused_undoes_the_other_before_the_saga_is_settled() -> None:
    async with a_world() as world:
        await world.publish_start("trip", TripAsked(trip_id="t-1", seats=9))
        await world.settle()
        run = world.instance("trip", "t-1")
        assert (run.state, effects(run)) == ("compensated", {"room": "undone", "seat": "refused"})
        assert run.cause == "seat: SeatRefused (sold out)"


async def test_a_signal_that_says_no_turns_back_and_so_does_silence() -> None:
    async with a_world() as world:
        await world.publish_start("trip", TripAsked(trip_id="denied"))
        await world.publish_start("trip", TripAsked(trip_id="silent"))
        await world.work()
        await tell(world, TripDenied(trip_id="denied", reason="too dear"), "denied")
        await world.settle()
        runs = {key: world.instance("trip", key) for key in ("denied", "silent")}
        assert {key: run.state for key, run in runs.items()} == dict.fromkeys(runs, "compensated")
        assert runs["denied"].cause == "approval: TripDenied (too dear)"
        assert runs["silent"].cause == "approval: no signal in 3600.0 s"


async def test_a_signal_that_comes_before_its_wait_or_even_before_its_saga_is_kept() -> None:
    async with a_world() as world:
        await tell(world, TripApproved(trip_id="t-1"), "t-1")
        await world.work()
        await world.publish_start("trip", TripAsked(trip_id="t-1"))
        await world.settle()
        assert world.instance("trip", "t-1").state == "completed"
        assert world.store.dead_letters(9) == []


async def test_a_signal_that_is_read_in_one_batch_with_its_start_and_before_it_is_kept() -> None:
    async with a_world() as world:
        await tell(world, TripApproved(trip_id="t-1"), "t-1")
        await world.publish_start("trip", TripAsked(trip_id="t-1"))
        await world.work()
        assert world.instance("trip", "t-1").state == "cooling_off.delaying"


async def test_a_refusal_that_a_branch_takes_up_does_not_turn_the_run_back() -> None:
    async with a_world() as world:
        await world.publish_start("trip", TripAsked(trip_id="poor-1"))
        await world.work()
        await tell(world, TripApproved(trip_id="poor-1"), "poor-1")
        await world.settle()
        run = world.instance("trip", "poor-1")
        assert (run.state, effects(run)["charge"], effects(run)["invoice"]) == ("completed", "refused", "done")
        assert run.cause == ""


async def test_an_orchestrator_killed_between_two_branches_goes_on_where_it_was() -> None:
    async with a_world() as world:
        await world.publish_start("trip", TripAsked(trip_id="t-1"))
        orchestrator = world.nodes["orchestrator"]
        for _ in range(3):
            for node in world.nodes.values():
                await node.turn()
            await orchestrator.kill()
            await orchestrator.start()
        await world.work()
        await tell(world, TripApproved(trip_id="t-1"), "t-1")
        await world.settle()
        assert world.instance("trip", "t-1").state == "completed"
