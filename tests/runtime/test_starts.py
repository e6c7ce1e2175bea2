"""The message that begins a run is known by the run, and need not stand in the inbox."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from sagas import Event, Saga, unchanged
from sagas.core.envelope import encode_message
from sagas.core.instance import COMPLETED, Instance
from sagas.ports import Changes, Incoming, InstanceFilter
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.sqlite import SqliteStore
from tests.races.parts import ORDER
from tests.runtime.shop import an_order
from tests.runtime.trips import DESK, HOTEL, BookRoom, FreeRoom, TripAsked, trip_saga

NOW_MS = 1_700_000_000_000
FIRST = "0b5f7d9c-53d9-4d3f-8f6a-2f3f0d6f9a01"
"""A random id, as other programs give their messages."""
SECOND = "f3a0c1de-9d2b-4c7f-a1f5-0a7c4f1e2b02"
THIRD = "5a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c03"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "orchestrator.db")
    yield store
    store.close()


def a_start(message_id: str, *, key: str = "o-1", address: str = "Main Street 1") -> Incoming:
    event = an_order(key, address=address)
    payload = encode_message(event, message_id=message_id, key_field="order_id", key=key, now_ms=NOW_MS)
    return Incoming(id=message_id, topic="orders", partition=0, offset=0, timestamp_ms=NOW_MS, payload=payload)


def the_run(store: SqliteStore) -> Instance:
    (run,) = store.instances(InstanceFilter())
    return run


def begin(store: SqliteStore) -> tuple[Orchestrator, Instance]:
    """An orchestrator and the run that it has begun."""
    orchestrator = Orchestrator([ORDER], store)
    orchestrator.process([a_start(FIRST)], NOW_MS)
    return orchestrator, the_run(store)


def rewrite(store: SqliteStore, run: Instance, *, inbox: Sequence[str] = (), **fields: str) -> Instance:
    """Have the run stored with these fields."""
    changed = replace(run, revision=run.revision + 1, **fields)
    with store.transaction() as transaction:
        transaction.write(Changes(now_ms=NOW_MS, updated=[(changed, run.revision)], inbox=list(inbox)))
    return changed


def seen(store: SqliteStore, *ids: str) -> set[str]:
    with store.transaction() as transaction:
        return transaction.seen(ids)


def verdicts(store: SqliteStore) -> list[str]:
    return [row.verdict for row in store.journal(the_run(store).id)]


def test_what_began_a_run_stands_in_the_run(store: SqliteStore) -> None:
    begin(store)
    assert the_run(store).begun_by == FIRST
    assert seen(store, FIRST) == set()


def test_a_start_that_is_read_again_leaves_no_trace(store: SqliteStore) -> None:
    orchestrator = Orchestrator([ORDER], store)
    orchestrator.process([a_start(FIRST), a_start(FIRST)], NOW_MS)
    before = the_run(store)
    orchestrator.process([a_start(FIRST)], NOW_MS + 9)
    assert the_run(store) == before
    assert verdicts(store) == ["advance"]
    assert len(store.unpublished(9)) == 1


def test_a_start_that_another_node_took_meanwhile_leaves_no_trace(tmp_path: Path, store: SqliteStore) -> None:
    other = SqliteStore(tmp_path / "orchestrator.db")
    _, before = begin(store)
    Orchestrator([ORDER], other).process([a_start(FIRST)], NOW_MS + 9)
    assert the_run(other) == before
    other.close()


def test_another_message_for_the_run_is_a_duplicate_once(store: SqliteStore) -> None:
    orchestrator, _ = begin(store)
    for late in (1, 2):
        orchestrator.process([a_start(SECOND)], NOW_MS + late)
    assert verdicts(store) == ["advance", "duplicate"]
    assert seen(store, FIRST, SECOND) == {SECOND}
    assert the_run(store).begun_by == FIRST


def test_another_order_for_the_run_is_a_dead_letter_once(store: SqliteStore) -> None:
    orchestrator, _ = begin(store)
    for late in (1, 2):
        orchestrator.process([a_start(SECOND, address="Elsewhere 2")], NOW_MS + late)
    assert verdicts(store) == ["advance", "violation"]
    assert len(store.dead_letters(9)) == 1


def test_a_run_that_an_older_release_began_is_known_by_the_inbox(store: SqliteStore) -> None:
    orchestrator, run = begin(store)
    older = rewrite(store, run, begun_by="", inbox=[FIRST])
    orchestrator.process([a_start(FIRST)], NOW_MS + 9)
    assert the_run(store) == older


def test_when_a_run_is_purged_the_inbox_knows_what_began_it(store: SqliteStore) -> None:
    orchestrator, run = begin(store)
    rewrite(store, run, state=COMPLETED)
    store.cleaner.purge_runs(NOW_MS + 1, NOW_MS + 9, 99)
    assert store.instances(InstanceFilter()) == []
    orchestrator.process([a_start(FIRST)], NOW_MS + 9)
    assert store.instances(InstanceFilter()) == []
    assert store.dead_letters(9) == []
    # As long as the run's tombstone, and not as long as the run.
    assert store.cleaner.forget_seen(NOW_MS + 9, 9) == 0
    assert store.cleaner.forget_seen(NOW_MS + 10, 9) == 1


# --------------------------------------------------------------------------- a start that others wait for


class GuideHired(Event, tag="guide.hired"):
    trip_id: str


class Guide(msgspec.Struct, frozen=True):
    """A guide who waits until somebody asks for the trip."""

    trip_id: str


guide_saga = Saga("guide", Guide, version=1, key="trip_id")


@guide_saga.start(on=DESK)
def hire(event: GuideHired) -> Guide:
    return Guide(event.trip_id)


@guide_saga.wait(on=DESK, timeout=3_600, absence="refusal")
def asked(guide: Guide, signal: TripAsked) -> Guide:
    return guide


@guide_saga.step(to=HOTEL, timeout=30, unknown="undo")
def bed(guide: Guide) -> BookRoom:
    return BookRoom(trip_id=guide.trip_id)


@bed.undo
def _(guide: Guide) -> FreeRoom:
    return FreeRoom(trip_id=guide.trip_id)


bed.reply(unchanged)
guide_saga.flow(asked >> bed)


def from_the_desk(event: GuideHired | TripAsked, message_id: str) -> Incoming:
    payload = encode_message(event, message_id=message_id, key_field="trip_id", key=event.trip_id, now_ms=NOW_MS)
    return Incoming(
        id=message_id, topic=DESK.events, partition=0, offset=0, timestamp_ms=NOW_MS, payload=payload, headers={}
    )


def states(store: SqliteStore) -> dict[str, str]:
    return {run.saga: run.state for run in store.instances(InstanceFilter())}


def test_what_begins_one_run_is_what_another_waits_for(store: SqliteStore) -> None:
    orchestrator = Orchestrator([trip_saga.definition, guide_saga.definition], store)
    ask = from_the_desk(TripAsked(trip_id="t-1"), FIRST)
    orchestrator.process([from_the_desk(GuideHired(trip_id="t-1"), SECOND), ask], NOW_MS)
    there = store.instances(InstanceFilter())
    assert states(store)["guide"] == "bed.pending"
    assert seen(store, FIRST, SECOND) == {FIRST}
    orchestrator.process([ask], NOW_MS + 9)
    assert store.instances(InstanceFilter()) == there


def test_a_start_that_comes_again_after_a_release_that_waits_for_it_is_none_and_no_signal(store: SqliteStore) -> None:
    ask = from_the_desk(TripAsked(trip_id="t-1"), FIRST)
    Orchestrator([trip_saga.definition], store).process([ask], NOW_MS)
    later = Orchestrator([trip_saga.definition, guide_saga.definition], store)
    later.process([from_the_desk(GuideHired(trip_id="t-1"), SECOND)], NOW_MS + 1)
    later.process([ask], NOW_MS + 2)
    assert states(store)["guide"] == "asked.waiting"


def test_what_comes_when_both_runs_were_purged_is_one_dead_letter(store: SqliteStore) -> None:
    orchestrator = Orchestrator([trip_saga.definition, guide_saga.definition], store)
    orchestrator.process(
        [from_the_desk(GuideHired(trip_id="t-1"), SECOND), from_the_desk(TripAsked(trip_id="t-1"), FIRST)], NOW_MS
    )
    for run in store.instances(InstanceFilter()):
        rewrite(store, run, state=COMPLETED)
    store.cleaner.purge_runs(NOW_MS + 1, NOW_MS + 9, 99)
    orchestrator.process([from_the_desk(TripAsked(trip_id="t-1"), THIRD)], NOW_MS + 9)
    assert [letter.reason.split(":")[1] for letter in store.dead_letters(9)] == [" none begins anew"]
