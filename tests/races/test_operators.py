"""Races between what a person or a deployment does and what the runs do meanwhile."""

from contextlib import aclosing
from pathlib import Path
from threading import Barrier, Thread

import pytest

from sagas import Saga, unchanged
from sagas.core.effects import Action, Operate, Send
from sagas.core.envelope import encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import COMPENSATED
from sagas.core.kernel import decide
from sagas.core.story import standing
from sagas.ports import Incoming, InstanceFilter, TimerRow
from sagas.runtime.bulk import retry_paced, stuck_instances
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.sqlite import SqliteStore
from sagas.testing import VirtualClock
from sagas.testing.world import World
from tests.core.test_kernel import DONE, REFUSED, UNDO_REFUSED, UNDONE, Run, undeliverable
from tests.core.trip import FLIGHTS, HOTELS, BookRoom, FreeRoom, HoldSeat, IssueTicket, ReleaseSeat, Trip, TripAsked
from tests.races.parts import ORDER, a_reply, again, in_topic, publish, turn_until
from tests.races.test_timers import timed_out
from tests.runtime.shop import a_shop, an_order, order, rows
from tests.runtime.stuck import a_shop_with_stuck_orders

pytestmark = pytest.mark.anyio

NOW_MS = 1_700_000_000_000


async def effects_of(shop: World) -> list[list[tuple[object, ...]]]:
    """Everything that the participants did."""
    tables = {"payments": "movements", "inventory": "products", "orders": "orders", "shipping": "shipments"}
    return [rows(shop, name, f"SELECT * FROM {table}") for name, table in tables.items()]


def cancel(revision: int) -> Operate:
    return Operate(action="cancel", who="ann", reason="asked bob", revision=revision)


async def test_race_74_a_cancel_and_a_reply_that_cross_are_taken_one_after_the_other() -> None:
    async with a_shop() as shop:
        desk = Orchestrator([ORDER], shop.store)
        await shop.publish_start("order", an_order("o-1"))
        await shop.publish_start("order", an_order("o-2"))
        await turn_until(shop, "o-1", "create.pending")
        first, second = order(shop, "o-1"), order(shop, "o-2")
        # The reply is first: the cancel was meant for another situation, and nothing is done.
        await publish(shop, a_reply(first.id, "o-1", "create", an_order("o-1")))
        await shop.nodes["orchestrator"].turn()
        refusal = desk.operate(first.id, cancel(first.revision), shop.clock.now_ms())
        assert isinstance(refusal, str)
        assert (order(shop, "o-1").state, shop.store.audit(first.id)) == ("reserve.pending", [])
        # The cancel is first: the reply finds its undo on the way, and is entered beside it.
        desk.operate(second.id, cancel(second.revision), shop.clock.now_ms())
        await publish(shop, a_reply(second.id, "o-2", "create", an_order("o-2")))
        await shop.nodes["orchestrator"].turn()
        assert (order(shop, "o-2").state, order(shop, "o-2").steps[0].reply) == ("create.undoing", "OrderCreated")
        await shop.settle()
        assert [order(shop, key).state for key in ("o-1", "o-2")] == ["completed", "compensated"]


async def test_race_75_a_cancel_after_the_pivot_is_refused() -> None:
    run = Run(DONE["room"], DONE["seat"])
    assert run.take(cancel(run.now.revision)).verdict == "violation"
    run.take(DONE["ticket"])
    decision = run.take(cancel(run.now.revision))
    assert (decision.verdict, decision.effects, run.now.state) == ("violation", (), "mail.pending")


def resolve(run: Run, word: Action) -> None:
    run.take(Operate(action=word, who="ann", reason="looked", revision=run.now.revision))


async def test_race_76_a_true_answer_that_differs_from_a_persons_word_is_an_incident_and_sends_nothing() -> None:
    # Said to be done, and refused: the run goes on as it was told.
    run = timed_out("ticket", "room", "seat")
    resolve(run, "resolve-done")
    decision = run.take(REFUSED["ticket"])
    assert (decision.verdict, decision.effects, run.now.state) == ("violation", (), "mail.pending")
    assert run.now.incident == "ticket was resolved as done by hand, and its participant said TicketRefused afterwards"
    assert (run.now.steps[2].effect, run.take(REFUSED["ticket"]).verdict) == ("done", "duplicate")
    run.take(DONE["mail"])
    assert "incident: ticket was resolved as done" in standing(run.now)
    # Said to be undone, and done: the person may have taken it back outside, so no undo is sent on top of that.
    run = timed_out("ticket", "room", "seat")
    resolve(run, "resolve-undone")
    decision = run.take(DONE["ticket"])
    assert (decision.verdict, decision.effects, run.now.state) == ("violation", (), "seat.undoing")
    assert run.now.incident.endswith("its participant said TicketIssued afterwards")
    # An undo said to be done, and refused once more.
    run = Run(DONE["room"], REFUSED["seat"], UNDO_REFUSED)
    resolve(run, "resolve-undone")
    assert (run.take(undeliverable("room", "undo")).verdict, run.now.state) == ("violation", COMPENSATED)
    assert run.now.incident == "room was resolved as undone by hand, and its participant said Undeliverable afterwards"


async def test_a_true_answer_that_agrees_with_a_persons_word_takes_its_place() -> None:
    run = timed_out("ticket", "room", "seat")
    resolve(run, "resolve-done")
    assert (run.take(DONE["ticket"]).verdict, run.now.steps[2].reply, run.now.incident) == ("late", "TicketIssued", "")
    run = timed_out("ticket", "room", "seat")
    resolve(run, "resolve-undone")
    assert (run.take(REFUSED["ticket"]).verdict, run.now.incident) == ("late", "")
    run = Run(DONE["room"], REFUSED["seat"], UNDO_REFUSED)
    resolve(run, "resolve-undone")
    assert (run.take(UNDONE["room"]).verdict, run.now.steps[0].undo_reply, run.now.incident) == (
        "late",
        "RoomFreed",
        "",
    )


async def test_race_77_what_a_person_decided_on_an_outdated_screen_is_not_done() -> None:
    async with a_shop() as shop:
        desk = Orchestrator([ORDER], shop.store)
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "create.pending")
        seen = order(shop, "o-1")
        await turn_until(shop, "o-1", "pay.pending")
        now = order(shop, "o-1")
        actions: tuple[Action, ...] = ("cancel", "abandon")
        for action in actions:
            message = Operate(action=action, who="ann", reason="old news", revision=seen.revision)
            assert isinstance(desk.operate(seen.id, message, shop.clock.now_ms()), str)
        assert order(shop, "o-1") == now
        assert shop.store.audit(seen.id) == []


async def test_race_78_many_that_are_stuck_are_retried_at_a_pace_and_it_can_be_stopped() -> None:
    async with a_shop_with_stuck_orders(25) as shop:
        desk, clock = Orchestrator([ORDER], shop.store), VirtualClock(shop.clock.now_ms(), is_automatic=True)
        found = list(stuck_instances(shop.store, saga="order", step="ship"))
        times: list[int] = []
        async with aclosing(
            retry_paced(desk, iter(found), who="ann", reason="it is back", clock=clock, per_second=10)
        ) as retrying:
            async for one in retrying:
                assert not isinstance(one.outcome, str)
                times.append(clock.now_ms())
                if len(times) == 15:
                    break
        assert max(sum(at <= other < at + 1_000 for other in times) for at in times) == 10
        # What was retried stays so, and whoever begins again finds the others only.
        assert len(list(stuck_instances(shop.store))) == 10
        async for _ in retry_paced(
            desk, stuck_instances(shop.store), who="ann", reason="", clock=clock, per_second=1_000
        ):
            pass
        await shop.nodes["shipping"].start()
        await shop.settle()
        assert {order(shop, i.key).state for i in found} == {"completed"}


async def test_race_79_messages_put_in_once_more_after_the_end_change_nothing() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("good"))
        await shop.publish_start("order", an_order("back", address="nowhere"))
        await shop.settle()
        before = await effects_of(shop)
        topics = [
            topic for name in ("orders", "inventory", "payments", "shipping") for topic in (name, f"{name}-commands")
        ]
        said = [message for topic in topics for message in await in_topic(shop, topic)]
        for number in (0, 1):
            await publish(shop, *[again(message, number) for message in said])
            await shop.settle()
            assert await effects_of(shop) == before
        assert [order(shop, key).state for key in ("good", "back")] == ["completed", "compensated"]


def a_trip_with_a_stop() -> Saga[Trip]:
    """The trip of `trip.py`, with a step put in before the ones its runs have come to."""
    saga = Saga("trip", Trip, version=1, deadline=60)

    @saga.start(on=HOTELS)
    def begin(event: TripAsked) -> Trip:
        return Trip(event.trip_id, event.nights)

    @saga.step(to=FLIGHTS, timeout=9, unknown="undo", leaves_nothing=True)
    def stop(trip: Trip) -> HoldSeat:
        return HoldSeat(trip_id=trip.trip_id)

    @saga.step(to=HOTELS, timeout=9, unknown="undo")
    def room(trip: Trip) -> BookRoom:
        return BookRoom(trip_id=trip.trip_id, nights=trip.nights)

    @room.undo
    def _(trip: Trip) -> FreeRoom:
        return FreeRoom(trip_id=trip.trip_id, room=trip.room)

    @saga.step(to=FLIGHTS, timeout=9, unknown="ask")
    def seat(trip: Trip) -> HoldSeat:
        return HoldSeat(trip_id=trip.trip_id)

    @seat.undo
    def _(trip: Trip) -> ReleaseSeat:
        return ReleaseSeat(trip_id=trip.trip_id)

    @saga.pivot(to=FLIGHTS, timeout=9, unknown="hold")
    def ticket(trip: Trip) -> IssueTicket:
        return IssueTicket(trip_id=trip.trip_id)

    for step in (stop, seat):
        step.reply(unchanged)
    room.reply(unchanged)
    ticket.reply(unchanged)
    saga.flow(stop >> room >> seat >> ticket)
    return saga


async def test_race_81_a_step_put_in_before_the_current_one_does_not_shift_what_is_undone() -> None:
    changed = a_trip_with_a_stop().definition
    run = Run(DONE["room"])
    now, sent = run.now, list[tuple[str, str]]()
    for reply in (REFUSED["seat"], UNDONE["room"]):
        decision = decide(changed, now, reply, run.now_ms)
        assert decision.instance is not None
        now = decision.instance
        sent += [(e.step, e.operation) for e in decision.effects if isinstance(e, Send)]
    assert sent == [("room", "undo")]
    assert now.state == COMPENSATED


async def test_race_83_of_two_nodes_that_own_the_timers_of_one_database_one_fires_each(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    stores = [SqliteStore(path) for _ in range(2)]
    nodes = [Orchestrator([ORDER], store) for store in stores]
    nodes[0].process([start(f"o-{number}", number) for number in range(20)], NOW_MS)
    due_ms = stores[0].next_due_ms()
    assert due_ms is not None
    gate, fired = Barrier(2, timeout=30), list[TimerRow]()

    def fire(node: Orchestrator) -> None:
        gate.wait()
        fired.extend(node.fire(due_ms, due_ms))

    threads = [Thread(target=fire, args=[node]) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fired) == 20
    assert [row.headers["attempt"] for row in stores[1].unpublished(99)] == ["1"] * 20 + ["2"] * 20
    for store in stores:
        store.close()


def start(key: str, number: int) -> Incoming:
    """The event that begins the run of `key`, as it is read."""
    message_id = derived_id(instance_id("client", key, NOW_MS), "start")
    payload = encode_message(an_order(key), message_id=message_id, key_field="order_id", key=key, now_ms=NOW_MS)
    return Incoming(id=message_id, topic="orders", partition=0, offset=number, timestamp_ms=NOW_MS, payload=payload)


async def test_race_84_what_comes_for_a_run_that_was_purged_is_kept_and_begins_nothing() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("good"))
        await shop.publish_start("order", an_order("back", address="nowhere"))
        await shop.settle()
        before, letters = await effects_of(shop), len(shop.store.dead_letters(99))
        topics = ("orders", "inventory", "payments", "shipping")
        said = [message for topic in topics for message in await in_topic(shop, topic)]
        while shop.store.cleaner.purge_runs(shop.clock.now_ms() + 1, shop.clock.now_ms(), 500):
            pass
        assert shop.store.instances(InstanceFilter()) == []
        await publish(shop, *[again(message, 0) for message in said])
        await shop.settle()
        assert len(shop.store.dead_letters(99)) == letters, "the inbox knows them"
        # Under other ids, as another program writes them, or when the inbox has forgotten.
        await publish(shop, *[again(message, 1) for message in said])
        await shop.settle()
        assert shop.store.instances(InstanceFilter()) == []
        assert await effects_of(shop) == before
        assert len(shop.store.dead_letters(99)) == letters + len(said)
        assert {letter.reason.partition(" ended")[0] for letter in shop.store.dead_letters(len(said))} >= {
            "the run of 'good'",
            "the run of 'back'",
            "it answers step 'pay' of a run that",
        }
