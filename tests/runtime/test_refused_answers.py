"""An answer that the orchestrator cannot take may come again once it can: its participant has no other."""

from collections.abc import Iterator
from itertools import count
from typing import Annotated

import msgspec
import pytest

from sagas import Command, Event, unchanged
from sagas.core.definition import Definition
from sagas.core.envelope import Header, encode_message
from sagas.core.ids import answer_id, derived_id
from sagas.ports import Incoming
from sagas.runtime.admission import admit
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.letter_file import requeued
from sagas.store.sqlite import SqliteStore
from tests.runtime.packing import ASKED, BOX, DESK, NOW_MS, Order, an_event, ordered, run_of
from tests.runtime.test_republished import delivered

_offsets = count()


class Weighed(Event, tag="weighed"):
    order_id: str
    kilos: int = 0


class OldWeighed(Event, tag="weighed"):
    """As the release before declares it."""

    order_id: str
    kilos: Annotated[int, msgspec.Meta(le=10)] = 0


class Weigh(Command[Weighed], tag="weigh"):
    order_id: str


class OldWeigh(Command[OldWeighed], tag="weigh"):
    order_id: str


def new_release() -> Definition:
    saga = ordered(2)

    @saga.pivot(to=BOX, timeout=60, unknown="ask")
    def pack(order: Order) -> Weigh:
        return Weigh(order_id=order.order_id)

    pack.reply(unchanged)
    saga.flow(pack)
    return saga.definition


def old_release() -> Definition:
    saga = ordered(1)

    @saga.pivot(to=BOX, timeout=60, unknown="ask")
    def pack(order: Order) -> OldWeigh:
        return OldWeigh(order_id=order.order_id)

    pack.reply(unchanged)
    saga.flow(pack)
    return saga.definition


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:")
    yield made
    made.close()


def begin(store: SqliteStore, definition: Definition) -> Orchestrator:
    node = Orchestrator([definition], store, store)
    node.process([an_event(DESK, ASKED)], NOW_MS)
    return node


def the_answer(store: SqliteStore, *, topic: str = BOX.events, payload: bytes = b"") -> Incoming:
    """What the participant says each time that it is asked: at another place in the log, under the one id."""
    run = run_of(store)
    message_id = answer_id(derived_id(run.id, "pack", "do"))
    said = Weighed(order_id="o-1", kilos=20)
    return Incoming(
        id=message_id,
        topic=topic,
        partition=0,
        offset=next(_offsets),
        timestamp_ms=NOW_MS,
        payload=payload or encode_message(said, message_id=message_id, key_field="order_id", key="o-1", now_ms=NOW_MS),
        headers={Header.INSTANCE: run.id, Header.STEP: "pack", Header.OPERATION: "do"},
    )


def verdicts(store: SqliteStore) -> list[str]:
    return [row.verdict for row in store.journal(run_of(store).id)]


def test_an_answer_that_only_the_next_release_can_read_is_taken_by_it(store: SqliteStore) -> None:
    for definition in (old_release(), new_release()):
        admit([definition], store, NOW_MS)
    old = begin(store, old_release())
    for _ in range(3):
        old.process([the_answer(store)], NOW_MS)
    old.process([the_answer(store), the_answer(store)], NOW_MS)
    assert [letter.reason.split(":")[0] for letter in store.dead_letters(9)] == ["unreadable"]
    assert verdicts(store) == ["advance", "violation"], "one for all of them"
    new = Orchestrator([new_release()], store, store)
    new.process([the_answer(store), the_answer(store)], NOW_MS)
    assert run_of(store).state == "completed"
    assert verdicts(store)[2:] == ["advance", "advance"], "carried over, and answered"


def test_an_answer_on_a_topic_of_somebody_else_s_may_come_on_the_right_one(store: SqliteStore) -> None:
    node = begin(store, new_release())
    for _ in range(2):
        node.process([the_answer(store, topic=DESK.events)], NOW_MS)
    assert len(store.dead_letters(9)) == 1
    node.process([the_answer(store)], NOW_MS)
    assert run_of(store).state == "completed"


def test_an_answer_that_is_no_message_may_come_as_one(store: SqliteStore) -> None:
    node = begin(store, new_release())
    for _ in range(2):
        node.process([the_answer(store, payload=b"{}")], NOW_MS)
    assert len(store.dead_letters(9)) == 1
    node.process([the_answer(store)], NOW_MS)
    assert run_of(store).state == "completed"


def test_an_answer_that_the_engine_failed_on_may_come_when_it_no_longer_does(store: SqliteStore) -> None:
    node = begin(store, new_release())
    for _ in range(2):
        known, message = set[str](), the_answer(store)
        while True:
            node.fail(message, "a bug", NOW_MS)
            new = [r for r in store.unpublished(99) if r.event_type == "sagas.retry" and r.id not in known]
            if not new:
                break
            known.add(new[0].id)
            message = delivered(new[0])
    assert len(store.dead_letters(9)) == 1
    node.process([the_answer(store)], NOW_MS)
    assert run_of(store).state == "completed"


def test_an_answer_that_lay_here_before_it_could_not_be_read_may_come_again(store: SqliteStore) -> None:
    for definition in (old_release(), new_release()):
        admit([definition], store, NOW_MS)
    begin(store, old_release())
    Orchestrator([new_release()], store).process([the_answer(store)], NOW_MS)
    assert store.dead_letters(9) == []
    later_ms = NOW_MS + 30_000
    Orchestrator([old_release()], store).fire(later_ms, later_ms)
    assert len(store.dead_letters(9)) == 1
    Orchestrator([new_release()], store, store).process([the_answer(store)], later_ms)
    assert run_of(store).state == "completed"


def test_an_answer_out_of_the_dead_letters_and_its_repeats_are_one(store: SqliteStore) -> None:
    for definition in (old_release(), new_release()):
        admit([definition], store, NOW_MS)
    begin(store, old_release()).process([the_answer(store)], NOW_MS)
    (letter,) = store.dead_letters(9)
    new = Orchestrator([new_release()], store, store)
    new.process([delivered(requeued(letter, NOW_MS)), the_answer(store)], NOW_MS)
    assert run_of(store).state == "completed"
    assert verdicts(store).count("advance") == 3
    assert "duplicate" not in verdicts(store)
