"""A person has a stuck run retried: what stood in its way is gone, though it was answered and read before."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from sagas import CannotUndo, Command, Event, Participant, Rejection, Saga, Unknown, unchanged
from sagas.core.effects import Operate
from sagas.core.instance import Instance
from sagas.ports import Sql
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.participant import Service
from sagas.testing.world import World

pytestmark = pytest.mark.anyio

HOUSE = Participant("house", key="parcel_id")
DAY_S = 24 * 3600


class Parcel(msgspec.Struct, frozen=True):
    parcel_id: str


class Asked(Event, tag="asked"):
    parcel_id: str


class Packed(Event, tag="packed"):
    parcel_id: str


class Unpacked(Event, tag="unpacked"):
    parcel_id: str


class Pack(Command[Packed], tag="pack"):
    parcel_id: str


class Unpack(Command[Unpacked | CannotUndo], tag="unpack"):
    parcel_id: str


class Sent(Event, tag="sent"):
    parcel_id: str


class Lost(Rejection, tag="lost"):
    parcel_id: str


class Dispatch(Command[Sent | Lost], tag="dispatch"):
    parcel_id: str


class Trouble:
    """What stands in the way, until it does not."""

    def __init__(self, *what: str) -> None:
        self.what = set(what)
        self.undone = 0


def a_saga(trouble: Trouble, unknown: Unknown) -> Saga[Parcel]:
    saga = Saga("parcel", Parcel, version=1)

    @saga.start(on=HOUSE)
    def begin(event: Asked) -> Parcel:
        return Parcel(event.parcel_id)

    @saga.step(to=HOUSE, timeout=30, unknown=unknown)
    def pack(parcel: Parcel) -> Pack:
        return Pack(parcel_id=parcel.parcel_id)

    @pack.undo
    def _(parcel: Parcel) -> Unpack:
        return Unpack(parcel_id=parcel.parcel_id)

    @pack.reply
    def _(parcel: Parcel, reply: Packed) -> Parcel:
        if "fold" in trouble.what:
            raise ValueError(reply)
        return parcel

    @saga.step(to=HOUSE, timeout=30, unknown="undo", leaves_nothing=True)
    def send(parcel: Parcel) -> Dispatch:
        return Dispatch(parcel_id=parcel.parcel_id)

    send.reply(unchanged)
    saga.flow(pack >> send)
    return saga


def a_house(trouble: Trouble) -> Service:
    house = Service(HOUSE)

    @house.handles
    def pack(sql: Sql, command: Pack) -> Packed:
        return Packed(parcel_id=command.parcel_id)

    @house.undoes
    def unpack(sql: Sql, command: Unpack) -> Unpacked | CannotUndo:
        trouble.undone += 1
        return CannotUndo(reason="sealed") if "undo" in trouble.what else Unpacked(parcel_id=command.parcel_id)

    @house.handles
    def send(sql: Sql, command: Dispatch) -> Sent | Lost:
        return Lost(parcel_id=command.parcel_id) if "send" in trouble.what else Sent(parcel_id=command.parcel_id)

    return house


@asynccontextmanager
async def a_stuck_run(trouble: Trouble, unknown: Unknown = "undo") -> AsyncGenerator[World, None]:
    async with World([a_saga(trouble, unknown).definition], {a_house(trouble): ()}) as world:
        await world.publish_start("parcel", Asked(parcel_id="p-1"))
        await world.settle()
        assert run_of(world).state == "stuck"
        yield world


def run_of(world: World) -> Instance:
    return world.instance("parcel", "p-1")


async def retried(world: World, trouble: Trouble, unknown: Unknown = "undo") -> Instance:
    run, now_ms = run_of(world), world.clock.now_ms()
    message = Operate(action="retry", who="ann", reason="mended", revision=run.revision)
    decision: Any = Orchestrator([a_saga(trouble, unknown).definition], world.store).operate(run.id, message, now_ms)
    assert not isinstance(decision, str), decision
    await world.settle(within_s=DAY_S)
    return run_of(world)


@pytest.mark.parametrize("unknown", ["undo", "ask", "hold"])
async def test_an_answer_whose_fold_raised_is_taken_when_the_fold_is_mended(unknown: Unknown) -> None:
    trouble = Trouble("fold")
    async with a_stuck_run(trouble, unknown) as world:
        trouble.what.clear()
        assert (await retried(world, trouble, unknown)).state == "completed"


async def test_an_undo_that_could_not_be_is_asked_once_more_and_looks_once_more() -> None:
    trouble = Trouble("undo", "send")
    async with a_stuck_run(trouble) as world:
        assert trouble.undone == 1
        still = await retried(world, trouble)
        assert (still.state, trouble.undone) == ("stuck", 2), "it is in the way still, and says so"
        assert "sealed" in still.reason
        trouble.what.clear()
        assert ((await retried(world, trouble)).state, trouble.undone) == ("compensated", 3)
