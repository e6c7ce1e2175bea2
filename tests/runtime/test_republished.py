"""What is published again is one event for the orchestrator, and is dealt with where it failed on it itself."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sagas.core.definition import Definition
from sagas.core.envelope import Header
from sagas.ports import DeadLetter, Incoming, OutboxRow
from sagas.runtime.dead_letters import dead_letter, published_again
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.rows import PARKED_MS_MAX
from sagas.store.letter_file import LetterFile, requeued
from sagas.store.sqlite import SqliteStore
from tests.runtime.packing import (
    ASKED,
    BANK,
    DESK,
    GIVEN,
    NOW_MS,
    PAID,
    GiftAsked,
    Order,
    OrderAsked,
    Paid,
    a_saga,
    an_event,
    ordered,
    packing,
    run_of,
)

_offsets = count(1_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "orchestrator.db")
    yield made
    made.close()


def paid_in_halves() -> Definition:
    saga = ordered()

    @saga.wait(on=BANK, timeout=3600, absence="refusal")
    def first_half(order: Order, signal: Paid) -> Order:
        return order

    @saga.wait(on=BANK, timeout=3600, absence="refusal")
    def second_half(order: Order, signal: Paid) -> Order:
        return order

    saga.flow(first_half >> second_half >> packing(saga))
    return saga.definition


def delivered(row: OutboxRow) -> Incoming:
    return Incoming(
        id=row.id,
        topic=row.topic,
        partition=0,
        offset=next(_offsets),
        timestamp_ms=NOW_MS,
        payload=row.payload,
        headers=row.headers,
    )


def letter_of(message: Incoming, reader: str) -> DeadLetter:
    return dead_letter(message, "a bug", NOW_MS, read_by=reader, key_field="order_id")[0]


def requeued_for(reader: str, message: Incoming) -> Incoming:
    """What comes when a person sends the letter again that this reader made of a message."""
    return delivered(requeued(letter_of(message, reader), NOW_MS))


def retried_by(reader: str, message: Incoming) -> Incoming:
    row = published_again(message, NOW_MS, read_by=reader, key_field="order_id")
    assert row is not None
    return delivered(row)


def requeue_own(store: SqliteStore, tmp_path: Path) -> Incoming:
    """Send the orchestrator's one letter again; what comes then."""
    (letter,) = (letter for letter in store.dead_letters(9) if not letter.settled_as)
    letters = LetterFile(tmp_path / "orchestrator.db", read_only=False)
    letters.requeue([letter.id], "ann", "mended", NOW_MS)
    letters.close()
    return delivered(next(row for row in store.unpublished(99) if row.event_type == "sagas.requeue"))


@pytest.mark.parametrize("publish", [requeued_for, retried_by])
def test_a_payment_that_another_reader_has_published_again_is_one_payment(store: SqliteStore, publish: Any) -> None:
    node, paid = Orchestrator([paid_in_halves()], store), an_event(BANK, PAID)
    node.process([an_event(DESK, ASKED), paid], NOW_MS)
    assert run_of(store).state == "second_half.waiting"
    node.process([publish("analytics", paid), publish("billing", paid)], NOW_MS)
    assert run_of(store).state == "second_half.waiting"
    node.process([an_event(BANK, PAID)], NOW_MS)
    assert run_of(store).state == "pack.pending", "another payment"


@pytest.mark.parametrize("together", [True, False])
def test_of_an_event_and_its_copies_whichever_comes_first_counts(store: SqliteStore, *, together: bool) -> None:
    node, paid = Orchestrator([paid_in_halves()], store), an_event(BANK, PAID)
    node.process([an_event(DESK, ASKED)], NOW_MS)
    copies = [requeued_for("analytics", paid), requeued_for("billing", paid), paid]
    for batch in [copies] if together else [[copy] for copy in copies]:
        node.process(batch, NOW_MS)
    assert run_of(store).state == "second_half.waiting"


def test_a_start_that_another_reader_has_published_again_leaves_no_trace(store: SqliteStore) -> None:
    node, start = Orchestrator([paid_in_halves()], store), an_event(DESK, ASKED)
    node.process([start], NOW_MS)
    before = run_of(store)
    node.process([requeued_for("analytics", start)], NOW_MS)
    assert run_of(store) == before


def test_a_copy_that_began_a_run_is_known_by_the_first_id(store: SqliteStore) -> None:
    node, start = Orchestrator([paid_in_halves()], store), an_event(DESK, ASKED)
    copy = requeued_for("analytics", start)
    node.process([copy], NOW_MS)
    before = run_of(store)
    assert before.begun_by == start.id
    for again in (copy, start):
        node.process([again], NOW_MS)
    assert run_of(store) == before


def test_a_letter_of_the_orchestrator_s_own_is_dealt_with_when_it_is_sent_again(
    store: SqliteStore, tmp_path: Path
) -> None:
    refuses, mended = a_saga("ledger", Paid, waits=False), paid_in_halves()
    node, paid = Orchestrator([refuses], store), an_event(BANK, Paid(order_id="refused"))
    node.process([paid], NOW_MS)
    node = Orchestrator([mended], store)
    node.process([an_event(DESK, OrderAsked(order_id="refused"))], NOW_MS)
    copy = requeue_own(store, tmp_path)
    node.process([copy], NOW_MS)
    node.process([copy, paid, requeued_for("analytics", paid)], NOW_MS)
    run = store.instance("order", "refused")
    assert run is not None
    assert run.state == "second_half.waiting", "once"


def test_a_signal_that_was_given_up_reaches_its_run_when_it_is_sent_again_though_it_began_another(
    store: SqliteStore, tmp_path: Path
) -> None:
    node = Orchestrator([a_saga("ledger", Paid, waits=False), a_saga("gift", GiftAsked)], store)
    node.process([an_event(BANK, PAID)], NOW_MS)
    assert run_of(store, "ledger").state == "pack.pending"
    later_ms = NOW_MS + PARKED_MS_MAX
    node.fire(later_ms, later_ms)
    node.process([an_event(DESK, GIVEN)], later_ms)
    node.process([requeue_own(store, tmp_path)], later_ms)
    assert run_of(store, "gift").state == "pack.pending"


def test_a_message_that_the_engine_fails_on_is_dealt_with_when_it_comes_again(store: SqliteStore) -> None:
    node, paid = Orchestrator([paid_in_halves()], store), an_event(BANK, PAID)
    node.process([an_event(DESK, ASKED)], NOW_MS)
    for _ in range(2):
        node.fail(paid, "a bug", NOW_MS)
    (row,) = (row for row in store.unpublished(99) if row.event_type == "sagas.retry")
    copy = delivered(row)
    assert copy.headers[Header.FIRST_ID] == paid.id
    node.process([copy], NOW_MS)
    assert run_of(store).state == "second_half.waiting"
    node.process([copy, paid, requeued_for("analytics", paid)], NOW_MS)
    assert run_of(store).state == "second_half.waiting", "once"


def test_a_message_that_the_engine_failed_on_to_the_end_is_one_letter_and_known(store: SqliteStore) -> None:
    node, paid = Orchestrator([paid_in_halves()], store), an_event(BANK, PAID)
    node.process([an_event(DESK, ASKED)], NOW_MS)
    copy, published = paid, set[str]()
    while True:
        node.fail(copy, "a bug", NOW_MS)
        new = [r for r in store.unpublished(99) if r.event_type == "sagas.retry" and r.id not in published]
        if not new:
            break
        copy = delivered(new[0])
        published.add(copy.id)
    assert len(published) == 3
    assert len(store.dead_letters(9)) == 1
    node.fail(copy, "a bug", NOW_MS)
    node.process([paid, copy], NOW_MS)
    assert len(store.dead_letters(9)) == 1
    assert run_of(store).state == "first_half.waiting", "a person decides about the letter"
