"""The read model is a function of the messages: not of when, in which order between topics, or how often they came."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sagas.ports import Incoming
from sagas.store.compare import Difference, differences, snapshot
from sagas.store.participant import SqliteParticipantStore
from services.projector.projection import orders_view
from services.readmodel.steps import steps_of
from services.readmodel.tables import ENTRY_QUERY, EntryRow, OrderRow, entry_row, find, save
from tests.projector.corpus import Lane, messages

NOW_MS = 1_735_689_600_000


@cache
def lanes() -> dict[Lane, list[Incoming]]:
    return anyio.run(messages)


def project(batches: Sequence[Sequence[Incoming]], path: Path | str) -> None:
    """Fold these batches into a new file."""
    store = SqliteParticipantStore(path, orders_view.migrations)
    for number, batch in enumerate(batches):
        orders_view.process(batch, store, NOW_MS + number)
    store.close()


def in_order() -> list[list[Incoming]]:
    """Each lane whole, one after the other."""
    return list(lanes().values())


def shuffled(random: Random) -> Iterator[list[Incoming]]:
    """All messages in any order that keeps that of each lane; some come again, from an earlier place on."""
    positions: dict[Lane, int] = dict.fromkeys(lanes(), 0)
    left: list[Lane] = [lane for lane, found in lanes().items() if found]
    while left:
        lane = random.choice(left)
        found, at = lanes()[lane], positions[lane]
        if random.random() < 0.3:
            at = random.randint(0, at)
        end = min(len(found), at + random.randint(1, 15))
        batch = found[at:end]
        positions[lane] = max(end, positions[lane])
        if random.random() < 0.2:
            batch = [*batch, *batch]
        yield batch
        left = [lane for lane in left if positions[lane] < len(lanes()[lane])]
    # A relay that lost an acknowledgement publishes again what later messages have overtaken.
    for found in lanes().values():
        at = random.randint(0, len(found) - 1)
        yield found[at : at + random.randint(1, 3)]


def differing(random: Random, *, forgets: bool = False) -> list[Difference]:
    with TemporaryDirectory() as folder:
        straight, crooked = Path(folder, "straight.db"), Path(folder, "crooked.db")
        project(in_order(), straight)
        store = SqliteParticipantStore(crooked, orders_view.migrations)
        for number, batch in enumerate(shuffled(random)):
            orders_view.process(batch, store, NOW_MS + number)
            if forgets and random.random() < 0.3:
                store.forget_processed(NOW_MS + number + 1, 1_000)
        store.close()
        with snapshot(straight) as old, snapshot(crooked) as new:
            return list(differences(old, new))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_any_order_between_topics_and_any_repetition_make_the_same_read_model(seed: int) -> None:
    assert differing(Random(seed)) == []


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_a_repeat_changes_nothing_even_after_its_id_was_forgotten(seed: int) -> None:
    assert differing(Random(seed), forgets=True) == []


def row_of(order_id: str) -> tuple[OrderRow, list[EntryRow]]:
    store = SqliteParticipantStore(":memory:", orders_view.migrations)
    for batch in in_order():
        orders_view.process(batch, store, NOW_MS)
    with store.transaction() as transaction:
        row = find(transaction.sql, order_id)
        entries = transaction.sql.execute(f"{ENTRY_QUERY} WHERE order_id = ? ORDER BY revision", (order_id,)).fetchall()
    store.close()
    assert row is not None
    return row, [entry_row(entry) for entry in entries]


@pytest.mark.parametrize(
    ("order_id", "state", "steps"),
    [
        ("o-fine", "completed", ["create do ok", "reserve do ok", "pay do ok", "ship do ok"]),
        (
            "o-declined",
            "compensated",
            ["create do ok", "reserve do ok", "pay do refused (card declined)", "reserve undo ok", "create undo ok"],
        ),
        (
            "o-unicorn",
            "compensated",
            [
                "create do ok",
                "reserve do refused (out of stock: product 'unicorn', 2 wanted, 0 on the shelf)",
                "create undo ok",
            ],
        ),
        (
            "o-nowhere",
            "compensated",
            [
                "create do ok",
                "reserve do ok",
                "pay do ok",
                "ship do refused (address cannot be delivered to)",
                "pay undo ok",
                "reserve undo ok",
                "create undo ok",
            ],
        ),
        (
            "o-silent",
            "compensated",
            [
                "create do ok",
                "reserve do ok",
                "pay do unknown (no answer in time)",
                "pay undo ok",
                "reserve undo ok",
                "create undo ok",
            ],
        ),
        ("o-free", "rejected", ["create do refused (nothing to pay: the total is 0.00)"]),
    ],
)
def test_the_read_model_tells_each_story_step_by_step(order_id: str, state: str, steps: list[str]) -> None:
    row, entries = row_of(order_id)
    told = [
        f"{step.step} {step.operation} {step.outcome}" + (f" ({step.why})" if step.why else "")
        for step in steps_of(entries)
    ]
    assert (row.state, told) == (state, steps)
    assert row.revision == len(entries) == entries[-1].revision


def test_what_the_services_say_stands_in_columns_of_its_own() -> None:
    fine, _ = row_of("o-fine")
    assert (fine.booking, fine.inventory, fine.payment, fine.shipping) == (
        "created",
        "reserved",
        "processed",
        "shipped",
    )
    assert fine.payment_id.startswith("pay-")
    assert fine.tracking.startswith("track-")
    nowhere, _ = row_of("o-nowhere")
    assert (nowhere.booking, nowhere.inventory) == ("cancelled", "released")
    assert (nowhere.payment, nowhere.shipping) == ("refunded", "failed")
    assert nowhere.cause == "address cannot be delivered to"


def test_an_id_that_was_claimed_twice_shows_the_order_that_is_carried_out() -> None:
    row, _ = row_of("o-fine")
    assert (row.total, row.address, row.items) == (5998, "1 Harbour Street", '[{"product_id":"mug","quantity":2}]')


def test_a_key_that_is_used_anew_shows_the_later_run_alone() -> None:
    row, entries = row_of("o-again")
    assert (row.state, row.cause, row.address) == ("completed", "", "2 Other Street")
    assert [f"{step.step} {step.operation} {step.outcome}" for step in steps_of(entries)] == [
        "create do ok",
        "reserve do ok",
        "pay do ok",
        "ship do ok",
    ]
    assert row.revision == len(entries)
    assert (row.booking, row.inventory, row.payment, row.shipping) == ("created", "reserved", "processed", "shipped")


def test_a_row_of_a_release_that_did_not_note_its_run_goes_on() -> None:
    store = SqliteParticipantStore(":memory:", orders_view.migrations)
    early, late = halves_of("o-fine")
    orders_view.process(early, store, NOW_MS)
    with store.transaction() as transaction:
        before = find(transaction.sql, "o-fine")
        assert before is not None
        save(transaction.sql, replace(before, run="", served=""))
    orders_view.process(late, store, NOW_MS)
    with store.transaction() as transaction:
        assert find(transaction.sql, "o-fine") == row_of("o-fine")[0]
    store.close()


def halves_of(order_id: str) -> tuple[list[Incoming], list[Incoming]]:
    """What was said of an order, topic by topic: the first half of each, and the second."""
    found = [[m for m in lane if f'"{order_id}"'.encode() in m.payload] for lane in lanes().values()]
    return [m for lane in found for m in lane[: len(lane) // 2]], [m for lane in found for m in lane[len(lane) // 2 :]]


def test_what_cannot_be_read_is_kept_and_the_rest_goes_on() -> None:
    first = next(iter(lanes().values()))[0]
    broken = Incoming(
        id="00000000-0000-7000-8000-000000000001", topic="orders", partition=0, offset=99, timestamp_ms=1, payload=b"{"
    )
    store = SqliteParticipantStore(":memory:", orders_view.migrations)
    orders_view.process([broken, first, broken], store, NOW_MS)
    assert [letter.offset for letter in store.dead_letters(9)] == [99]
    assert store.unpublished(9) == []
    store.close()
