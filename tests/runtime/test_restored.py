"""A participant's database that has gone back in time is noticed by the answers it does not know."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sagas.core.ids import instance_id
from sagas.core.messages import Event, InProgress
from sagas.errors import DatabaseRestored, SchemaMismatch, StoreError
from sagas.ports import Incoming, OperationKey, Sql
from sagas.runtime.delivery import CLOCKS_APART_MS
from sagas.runtime.handlers import Ticket
from sagas.runtime.participant import Service
from sagas.store.remembered import RememberedFile
from sagas.store.sqlite import SqliteStore
from services.contracts import INVENTORY, InventoryFailed, InventoryReserved, ReserveInventory
from tests.runtime.warehouse import Warehouse
from tests.services.desk import NOW_MS, ticket_for

ODD: list[Callable[[Incoming], Incoming]] = [
    lambda message: msgspec.structs.replace(message, headers={}),
    lambda message: msgspec.structs.replace(message, payload=b"{"),
    lambda message: msgspec.structs.replace(message, defect="cut off"),
    lambda message: msgspec.structs.replace(message, headers={**message.headers, "instance": "nobody"}),
    lambda message: msgspec.structs.replace(message, headers={**message.headers, "operation": "redo"}),
    lambda message: msgspec.structs.replace(message, id="00000000-0000-0000-0000-000000000001"),
]
"""What makes an answer none."""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_a_database_that_has_all_answers_may_start(warehouse: Warehouse) -> None:
    warehouse.start()
    warehouse.reserve("o-1")
    warehouse.release("o-1")
    warehouse.start()
    assert warehouse.compared().compared == 2


def test_a_database_from_a_backup_is_refused_and_told_apart_by_what_it_lacks(warehouse: Warehouse) -> None:
    warehouse.reserve("o-1")
    warehouse.back_up()
    warehouse.reserve("o-2")
    warehouse.release("o-2")
    warehouse.restore()
    with pytest.raises(DatabaseRestored) as refused:
        warehouse.start()
    said = str(refused.value)
    assert "does not know 2 of the newest 3 answers that inventory has given" in said
    assert "2025-01-01 00:00:00 UTC (inventory.reserved to the do of reserve, order_id 'o-2', run " in said
    assert "`sagas restored inventory`" in said


def test_a_new_file_in_the_place_of_one_that_was_lost_is_refused(warehouse: Warehouse) -> None:
    warehouse.back_up()
    warehouse.reserve("o-1")
    warehouse.restore()
    with pytest.raises(DatabaseRestored, match="does not know 1 of the newest 1 answers"):
        warehouse.start()


def test_what_somebody_has_said_to_know_of_is_told_and_does_not_refuse(warehouse: Warehouse) -> None:
    warehouse.back_up()
    warehouse.reserve("o-1")
    warehouse.restore()
    warehouse.desk.store.remembered.note_restored(NOW_MS + 1, "accept", "ada", "the disk was lost", NOW_MS)
    warehouse.start()
    compared = warehouse.compared()
    assert (compared.missing, compared.known_missing) == ({}, 1)

    warehouse.back_up()
    warehouse.reserve("o-2", at_ms=NOW_MS + 1)
    warehouse.restore()
    with pytest.raises(DatabaseRestored, match="does not know 1 of the newest 2 answers"):
        warehouse.start()


def test_an_answer_whose_memory_was_cleaned_away_is_not_missed(warehouse: Warehouse) -> None:
    warehouse.reserve("o-1")
    warehouse.desk.store.forget_operations(NOW_MS + 1, 100)
    warehouse.start()
    later_ms = NOW_MS + 1 + CLOCKS_APART_MS
    warehouse.back_up()
    warehouse.reserve("o-2", at_ms=later_ms)
    warehouse.restore()
    with pytest.raises(DatabaseRestored, match="order_id 'o-2'"):
        warehouse.start()


def test_what_leaves_no_memory_is_no_answer_to_be_missed(tmp_path: Path) -> None:
    broken = Service(INVENTORY)

    @broken.handles
    def reserve(sql: Sql, command: ReserveInventory) -> InventoryReserved | InventoryFailed:
        raise RuntimeError("the shelf is away")

    warehouse = Warehouse(tmp_path, broken)
    warehouse.reserve("o-1")
    assert [b"sagas.fault" in message.payload for message in warehouse.topic.messages] == [True]
    warehouse.start()


def test_what_is_in_progress_again_was_answered_before(tmp_path: Path) -> None:
    slow = Service(INVENTORY)

    @slow.handles
    def reserve(
        sql: Sql, command: ReserveInventory, ticket: Ticket
    ) -> InventoryReserved | InventoryFailed | InProgress:
        return InProgress()

    warehouse = Warehouse(tmp_path, slow)
    warehouse.reserve("o-1")
    warehouse.start()
    warehouse.back_up()
    with warehouse.desk.store.transaction() as transaction:
        reply: Event = InventoryReserved(order_id="o-1")
        assert slow.settle(transaction, ticket_for("o-1", "reserve"), reply, NOW_MS)
    warehouse.topic.publish(warehouse.desk.answers(), NOW_MS)
    warehouse.start()
    warehouse.restore()
    with pytest.raises(DatabaseRestored, match=r"inventory\.reserved to the do of reserve"):
        warehouse.start()


def test_commands_carried_out_again_with_another_answer_are_told(warehouse: Warehouse) -> None:
    warehouse.back_up()
    warehouse.reserve("o-1")
    warehouse.restore()
    with warehouse.desk.store.transaction() as transaction:
        transaction.sql.execute("UPDATE products SET on_shelf = 0")
    warehouse.reserve("o-1")
    warehouse.start()
    ((given, now),) = warehouse.compared().otherwise.values()
    assert (given.key, given.answer, now) == ("o-1", "inventory.reserved", "inventory.failed")


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_answer_of_ours_in_our_topic_is_passed_over(
    warehouse: Warehouse, odd: Callable[[Incoming], Incoming]
) -> None:
    warehouse.back_up()
    warehouse.reserve("o-1")
    warehouse.restore()
    warehouse.topic.messages = [odd(message) for message in warehouse.topic.messages]
    warehouse.start()


def test_more_answers_than_a_statement_takes_are_looked_for(warehouse: Warehouse) -> None:
    warehouse.reserve("o-1")
    known: OperationKey = (ticket_for("o-1", "reserve").instance_id, "reserve", "do")
    others: list[OperationKey] = [(instance_id("order", f"x-{n}", NOW_MS), "reserve", "do") for n in range(1_100)]
    assert warehouse.desk.store.remembered.answers([*others, known]) == {known: "inventory.reserved"}


def test_the_file_is_read_and_noted_by_the_command_and_others_are_refused(warehouse: Warehouse) -> None:
    warehouse.reserve("o-1")
    file = RememberedFile(warehouse.path, read_only=False)
    assert (file.forgotten_ms, file.restored_ms) == (0, 0)
    file.note_restored(7, "repeat", "ada", "lost", NOW_MS)
    file.note_restored(5, "accept", "ada", "lost", NOW_MS)
    assert file.restored_ms == 7
    file.close()
    with pytest.raises(StoreError):
        RememberedFile(warehouse.path.with_name("nowhere.db"), read_only=False)
    assert not warehouse.path.with_name("nowhere.db").exists()
    other = warehouse.path.with_name("orchestrator.db")
    SqliteStore(other).close()
    with pytest.raises(SchemaMismatch, match="no participant's database"):
        RememberedFile(other, read_only=True)


def test_a_file_of_an_older_release_is_started_once_first(warehouse: Warehouse) -> None:
    with warehouse.desk.store.transaction() as transaction:
        transaction.sql.execute("DELETE FROM schema_migrations WHERE name = 'participant:007-restored'")
    with pytest.raises(SchemaMismatch, match="start its process once"):
        RememberedFile(warehouse.path, read_only=True)
