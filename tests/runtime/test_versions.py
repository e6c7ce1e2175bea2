"""Versions of a saga on one database: side by side, carried over to a newer one, or left to a node that knows them."""

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from sagas.core.definition import Definition
from sagas.core.envelope import Header
from sagas.core.instance import Instance
from sagas.errors import DefinitionError
from sagas.runtime.admission import StrandedInstances, admit
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.verification import rebuild
from sagas.store.sqlite import SqliteStore
from tests.core.variants import BANK, Data, DataWithSum, Plan, a_command, variant
from tests.runtime.node import NOW_MS, Node

PACK = Plan("pack", a_command("pack"), a_command("unpack"))
PAY = Plan("pay", a_command("pay"), a_command("refund"), to=BANK)
CHARGE = PAY._replace(name="charge")
SHIP = Plan("ship", a_command("ship"), kind="pivot", unknown="ask")
V1 = variant(1, PACK, PAY)
V2 = variant(2, PACK, CHARGE, SHIP, renames={"pay": "charge"})
FORGOTTEN = variant(2, PACK, CHARGE, SHIP)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:")
    yield made
    made.close()


def sent(store: SqliteStore) -> list[tuple[str, str]]:
    """What is in the outbox: event type and the step's name on the wire."""
    return [(row.event_type, row.headers[Header.STEP]) for row in store.unpublished(99)]


def carry_overs(store: SqliteStore, instance: Instance) -> Sequence[str]:
    rows = store.journal(instance.id)
    return [row.note for row in rows if b"carry-over" in row.input]


def test_two_versions_run_side_by_side_and_new_runs_take_the_newest(store: SqliteStore) -> None:
    Node(store, V1).start("o-1")
    both = Node(store, V2, V1)

    assert (both.start("o-2").version, both.reply("o-1", "pack", "pack.done").state) == (2, "pay.pending")
    assert both.reply("o-2", "pack", "pack.done").state == "charge.pending"
    assert both.reply("o-1", "pay", "pay.done").state == "completed"
    assert both.instance("o-1").version == 1
    assert both.reply("o-2", "charge", "pay.done").state == "ship.pending"


def test_timers_and_replies_of_a_version_that_is_not_loaded_wait_for_a_node_that_knows_it(store: SqliteStore) -> None:
    instance = Node(store, V2).start("o-1")
    old = Node(store, V1, may_strand=True)

    old.fire()
    old.reply("o-1", "pack", "pack.done")

    assert old.instance("o-1") == instance
    assert store.dead_letters(9) == []
    assert store.next_due_ms() is not None, "its timers must not be lost"
    new = Node(store, V2)
    new.now_ms = old.now_ms
    new.fire()
    assert new.instance("o-1").state != instance.state


def test_a_run_goes_on_under_the_newer_version_that_names_its_step_anew(store: SqliteStore) -> None:
    old = Node(store, V1)
    old.start("o-1")
    old.reply("o-1", "pack", "pack.done")

    new = Node(store, V2)
    after = new.reply("o-1", "pay", "pay.done")

    assert (after.version, after.content, after.state) == (2, V2.content, "ship.pending")
    assert carry_overs(store, after) == ["from version 1 to 2: pay is charge"]
    assert after.revision == len(store.journal(after.id))
    assert sent(store)[-1] == ("ship", "ship")
    back = new.reply("o-1", "ship", "ship.refused")
    assert (back.state, sent(store)[-1]) == ("charge.undoing", ("refund", "pay"))
    assert new.reply("o-1", "pay", "refund.done", "undo").state == "pack.undoing"


def test_the_timer_of_a_renamed_step_is_there_once_and_still_counts(store: SqliteStore) -> None:
    old = Node(store, V1)
    old.start("o-1")
    old.reply("o-1", "pack", "pack.done")
    new = Node(store, V2)
    new.now_ms = old.now_ms

    new.fire()

    assert new.instance("o-1").state in ("charge.pending", "charge.undoing")
    with store.transaction() as transaction:
        names = [timer.name for timer in transaction.due_timers(NOW_MS * 2, 9)]
    assert names == ["pay"]


def test_an_operator_acts_on_a_run_of_an_older_version(store: SqliteStore) -> None:
    old = Node(store, V1)
    old.start("o-1")
    seen = old.reply("o-1", "pack", "pack.done")
    new = Node(store, V2)

    stale = new.operate("o-1", "cancel", seen.revision - 1)
    assert isinstance(stale, str)
    assert new.instance("o-1") == seen, "what is refused changes nothing"
    done = new.operate("o-1", "cancel", seen.revision)
    assert not isinstance(done, str)
    assert new.instance("o-1").state == "charge.undoing"
    assert [row.action for row in store.audit(seen.id)] == ["cancel"]


@pytest.mark.parametrize("action", ["cancel", "abandon"])
def test_what_a_person_does_with_a_run_that_is_carried_over_is_decided_the_same_again(
    store: SqliteStore, action: str
) -> None:
    old = Node(store, V1)
    old.start("o-1")
    seen = old.reply("o-1", "pack", "pack.done")

    Node(store, V2).operate("o-1", action, seen.revision)

    after = store.instance("tale", "o-1")
    assert after is not None
    rebuilt = rebuild({("tale", 1): V1, ("tale", 2): V2}, "tale", 2, store.journal(seen.id))
    assert (rebuilt.differences, rebuilt.instance) == ((), after)


def test_a_node_without_the_book_of_versions_carries_nothing_over(store: SqliteStore) -> None:
    Node(store, V1).start("o-1")
    before = store.instance("tale", "o-1")

    Orchestrator([V2], store).fire(NOW_MS * 2, NOW_MS * 2)

    assert store.instance("tale", "o-1") == before


# --------------------------------------------------------------------------- what is not let in


def refused(store: SqliteStore, *definitions: Definition) -> str:
    with pytest.raises(StrandedInstances) as error:
        admit(definitions, store, NOW_MS)
    return str(error.value)


def test_whoever_renames_a_step_is_told_what_to_write(store: SqliteStore) -> None:
    old = Node(store, V1)
    for key in ("o-1", "o-2", "o-3", "o-4"):
        old.start(key)
    old.reply("o-1", "pack", "pack.done")

    said = refused(store, FORGOTTEN)

    assert said.splitlines()[:3] == [
        "not started: 1 live instances would be stranded",
        "  saga 'tale' version 1, 1 in pay.pending (o-1): step 'pay' no longer exists",
        "    if 'charge' is the same step under another name, write "
        'Saga("tale", …, version=2, renames={"pay": "charge"})',
    ]
    assert "load 'tale' version 1 beside version 2" in said
    assert "--leave-unknown" in said


def test_the_same_version_with_other_content_is_not_let_in_while_runs_are_live(store: SqliteStore) -> None:
    node = Node(store, V1)
    node.start("o-1")
    changed = variant(1, PACK, PAY, SHIP)

    said = refused(store, changed)

    assert "version 1 has other steps or messages than when it began" in said
    assert "raise it to version=2" in said
    for step, tag in (("pack", "pack.done"), ("pay", "pay.done")):
        node.reply("o-1", step, tag)
    admit([changed], store, NOW_MS)


def test_a_node_that_was_started_all_the_same_leaves_changed_content_alone(store: SqliteStore) -> None:
    before = Node(store, V1).start("o-1")

    Node(store, variant(1, PACK, PAY, SHIP), may_strand=True).fire()

    assert store.instance("tale", "o-1") == before


def test_an_older_release_is_not_let_in_after_a_newer_one(store: SqliteStore) -> None:
    Node(store, V2).start("o-1")

    assert "version 1 is the newest here" in refused(store, V1)
    admit([V1, V2], store, NOW_MS)


def test_data_that_the_newer_version_cannot_read_strands(store: SqliteStore) -> None:
    Node(store, V1).start("o-1")

    said = refused(store, variant(2, PACK, PAY, data=DataWithSum))

    assert "its data cannot be read" in said
    assert "give the new field a default" in said


class NumberedData(Data, frozen=True):
    """Raises what is neither msgspec's nor a ValueError, which msgspec would make its own."""

    def __post_init__(self) -> None:
        if not self.k.startswith("N"):
            raise LookupError(f"{self.k} is no number: they begin with N since version 2")


def test_data_that_the_new_class_itself_does_not_take_strands_the_run(store: SqliteStore) -> None:
    Node(store, V1).start("o-1")
    new = variant(2, PACK, PAY, data=NumberedData)

    said = refused(store, new)

    assert "its data cannot be read: LookupError: o-1 is no number" in said
    before = store.instance("tale", "o-1")
    node = Node(store, new, may_strand=True)
    node.fire()
    assert store.instance("tale", "o-1") == before, "it waits for a node that knows version 1"
    assert node.start("N-2").version == 2


def test_timeouts_may_be_changed_at_any_time(store: SqliteStore) -> None:
    Node(store, V1).start("o-1")

    admit([variant(1, PACK._replace(timeout=1), PAY)], store, NOW_MS)


def test_runs_of_a_saga_that_is_not_loaded_at_all_are_somebody_elses(store: SqliteStore) -> None:
    from services.orders.saga import order_saga

    Node(store, V1).start("o-1")

    admit([order_saga.definition], store, NOW_MS)


def test_what_was_loaded_is_written_down_once(store: SqliteStore) -> None:
    for _ in range(3):
        admit([V1, V2], store, NOW_MS)

    assert [(row.saga, row.version, row.content) for row in store.definitions()] == [
        ("tale", 1, V1.content),
        ("tale", 2, V2.content),
    ]


def test_one_version_loaded_twice_is_refused(store: SqliteStore) -> None:
    with pytest.raises(DefinitionError, match="version 1 is loaded twice"):
        Orchestrator([V1, V1], store)


def test_the_input_that_carries_over_says_from_where(store: SqliteStore) -> None:
    old = Node(store, V1)
    old.start("o-1")
    after = Node(store, V2).reply("o-1", "pack", "pack.done")

    inputs = [msgspec.msgpack.decode(row.input) for row in store.journal(after.id)]
    assert {"type": "carry-over", "from_version": 1, "from_content": V1.content} in inputs
