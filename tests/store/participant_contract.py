"""What every `ParticipantStore` must do. A new adapter subclasses `ParticipantStoreContract` and has all of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sagas.errors import StatementRefused, StoreError, TransactionEnded
from sagas.ports import Migration, ParticipantStore, ParticipantTransaction, Rows, Sql
from tests.store.builders import (
    FOREIGN_ID,
    NOW_MS,
    a_barrier_row,
    a_dead_letter,
    a_message_id,
    an_outbox_row,
)

TAKE_ALL = "UPDATE stock SET count = count - 1 RETURNING item"


class Refused(Exception):
    """Raised in a test to leave a transaction."""


def stock(sql: Sql) -> None:
    """A participant's own table."""
    sql.execute("CREATE TABLE stock (item TEXT PRIMARY KEY NOT NULL, count INTEGER NOT NULL CHECK (count >= 0))")


def do_everything_and_refuse(store: ParticipantStore) -> None:
    """Write to each table and raise before the transaction has ended."""
    with store.transaction() as transaction:
        transaction.remember(a_barrier_row(), NOW_MS)
        transaction.sql.execute("INSERT INTO stock VALUES ('widget', 5)")
        transaction.processed(FOREIGN_ID, "order.created", NOW_MS)
        transaction.add_outbox([an_outbox_row("reply")])
        transaction.add_dead_letters([a_dead_letter("unknown")])
        raise Refused


def do_a_part_and_refuse(transaction: ParticipantTransaction) -> None:
    """Write inside a savepoint, with another one in it that succeeds, and raise."""
    with transaction.savepoint():
        transaction.sql.execute("INSERT INTO stock VALUES ('widget', 5)")
        with transaction.savepoint():
            transaction.remember(a_barrier_row(), NOW_MS)
        raise Refused


def amend_and_refuse(transaction: ParticipantTransaction) -> None:
    """Amend what is remembered and add to it inside a savepoint, twice, and raise."""
    row = a_barrier_row()
    with transaction.savepoint():
        transaction.amend(replace(row, is_blocked=True), NOW_MS + 1)
        transaction.amend(replace(row, answer="", answer_data=b""), NOW_MS + 2)
        transaction.remember(replace(row, operation="undo"), NOW_MS + 3)
        transaction.processed(FOREIGN_ID, "order.created", NOW_MS)
        raise Refused


def process_and_refuse(transaction: ParticipantTransaction, *events: str) -> None:
    """Process events inside a savepoint, and raise."""
    with transaction.savepoint():
        for event_id in events:
            transaction.processed(event_id, "order.created", NOW_MS)
        raise Refused


def note_and_refuse(transaction: ParticipantTransaction, *events: str) -> None:
    """Note events inside a savepoint, and raise."""
    with transaction.savepoint():
        for event_id in events:
            transaction.note(event_id, "order.created", NOW_MS)
        raise Refused


def leave_unread_and_refuse(transaction: ParticipantTransaction, unread: list[Rows]) -> None:
    """Change rows inside a savepoint, read none of what that gives back, and raise."""
    with transaction.savepoint():
        unread.append(transaction.sql.execute(TAKE_ALL))
        raise Refused


def leave_all_unread_and_refuse(store: ParticipantStore, unread: list[Rows]) -> None:
    """The same in a whole transaction."""
    with store.transaction() as transaction:
        unread.append(transaction.sql.execute(TAKE_ALL))
        raise Refused


def remember_and_run(store: ParticipantStore, sql: str) -> None:
    """Remember an operation, then run `sql` as its handler would."""
    with store.transaction() as transaction:
        transaction.remember(a_barrier_row(), NOW_MS)
        transaction.sql.execute(sql)


class ParticipantStoreContract(ABC):
    """The behaviour of a `ParticipantStore`."""

    @abstractmethod
    def make_store(self, directory: Path, migrations: Sequence[Migration]) -> ParticipantStore:
        """A new, empty store with the tables that `migrations` make; `directory` is there for its files."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ParticipantStore]:
        store = self.make_store(tmp_path, [("001-stock", stock)])
        yield store
        store.close()

    # ------------------------------------------------------------------ barrier

    def test_what_was_remembered_is_recalled_byte_for_byte(self, store: ParticipantStore) -> None:
        row = a_barrier_row()
        with store.transaction() as transaction:
            assert transaction.remember(row, NOW_MS)
        with store.transaction() as transaction:
            assert transaction.recall(row.instance_id, "reserve", "do") == row

    def test_an_operation_that_was_never_seen_is_not_recalled(self, store: ParticipantStore) -> None:
        row = a_barrier_row()
        with store.transaction() as transaction:
            transaction.remember(row, NOW_MS)
            assert transaction.recall(row.instance_id, "reserve", "undo") is None
            assert transaction.recall(row.instance_id, "pay", "do") is None
            assert transaction.recall(a_message_id("other"), "reserve", "do") is None

    def test_the_first_memory_of_an_operation_stays(self, store: ParticipantStore) -> None:
        row = a_barrier_row()
        with store.transaction() as transaction:
            transaction.remember(row, NOW_MS)
            assert not transaction.remember(replace(row, answer="inventory.failed", is_blocked=True), NOW_MS)
            assert transaction.recall(row.instance_id, "reserve", "do") == row

    def test_do_and_undo_are_remembered_apart(self, store: ParticipantStore) -> None:
        done, undone = a_barrier_row(), a_barrier_row(operation="undo")
        with store.transaction() as transaction:
            assert transaction.remember(done, NOW_MS)
            assert transaction.remember(undone, NOW_MS)

    def test_an_amended_operation_is_recalled_as_amended(self, store: ParticipantStore) -> None:
        row = a_barrier_row()
        amended = replace(row, answer="", answer_data=b"", is_blocked=True, command_hash=b"")
        with store.transaction() as transaction:
            transaction.remember(row, NOW_MS)
            transaction.amend(amended, NOW_MS + 1)
            assert transaction.recall(row.instance_id, "reserve", "do") == amended

    def test_what_is_not_remembered_cannot_be_amended(self, store: ParticipantStore) -> None:
        with pytest.raises(StoreError, match="remember it first"), store.transaction() as transaction:
            transaction.amend(a_barrier_row(), NOW_MS)

    @pytest.mark.parametrize("count", [1, 7, 600])
    def test_what_is_prefetched_is_recalled_as_it_would_be_anyway(self, store: ParticipantStore, count: int) -> None:
        there = [a_barrier_row(f"step-{number}") for number in range(count)]
        with store.transaction() as transaction:
            for row in there[::2]:
                transaction.remember(row, NOW_MS)
        with store.transaction() as transaction:
            transaction.prefetch([(row.instance_id, row.step, "do") for row in there])
            found = [transaction.recall(row.instance_id, row.step, "do") for row in there]
        assert found == [row if number % 2 == 0 else None for number, row in enumerate(there)]

    def test_a_transaction_sees_what_it_remembered_and_amended_itself(self, store: ParticipantStore) -> None:
        row = a_barrier_row()
        amended = replace(row, is_blocked=True)
        with store.transaction() as transaction:
            transaction.prefetch([(row.instance_id, "reserve", "do")])
            assert transaction.remember(row, NOW_MS)
            assert transaction.recall(row.instance_id, "reserve", "do") == row
            transaction.amend(amended, NOW_MS + 1)
            assert transaction.recall(row.instance_id, "reserve", "do") == amended
            assert not transaction.remember(row, NOW_MS + 2)
            assert transaction.processed(FOREIGN_ID, "order.created", NOW_MS)
            assert not transaction.processed(FOREIGN_ID, "order.created", NOW_MS)
        with store.transaction() as transaction:
            assert transaction.recall(row.instance_id, "reserve", "do") == amended

    @pytest.mark.parametrize("is_stored", [True, False])
    def test_a_savepoint_that_raises_takes_back_what_was_amended_in_it(
        self, store: ParticipantStore, *, is_stored: bool
    ) -> None:
        row = a_barrier_row()
        with store.transaction() as transaction:
            transaction.remember(row, NOW_MS)
            if not is_stored:
                with pytest.raises(Refused):
                    amend_and_refuse(transaction)
                assert transaction.recall(row.instance_id, "reserve", "do") == row
        with store.transaction() as transaction:
            if is_stored:
                with pytest.raises(Refused):
                    amend_and_refuse(transaction)
            assert transaction.recall(row.instance_id, "reserve", "do") == row
        with store.transaction() as transaction:
            assert transaction.recall(row.instance_id, "reserve", "do") == row
            assert transaction.recall(row.instance_id, "reserve", "undo") is None
            assert transaction.processed(FOREIGN_ID, "order.created", NOW_MS)

    # ------------------------------------------------------------------ one transaction for all

    def test_a_block_that_raises_leaves_nothing_behind(self, store: ParticipantStore) -> None:
        row = a_barrier_row()
        with pytest.raises(Refused):
            do_everything_and_refuse(store)
        assert (store.unpublished(9), store.dead_letters(9)) == ([], [])
        with store.transaction() as transaction:
            assert transaction.recall(row.instance_id, "reserve", "do") is None
            assert transaction.sql.execute("SELECT * FROM stock").fetchone() is None
            assert transaction.processed(FOREIGN_ID, "order.created", NOW_MS)

    def test_business_rows_are_kept_with_the_rest(self, store: ParticipantStore) -> None:
        with store.transaction() as transaction:
            transaction.sql.execute("INSERT INTO stock VALUES (?, ?), (?, ?)", ["gadget", 1, "widget", 5])
        with store.transaction() as transaction:
            rows = transaction.sql.execute("SELECT item, count FROM stock WHERE count > ? ORDER BY item", [0])
            assert rows.fetchall() == [("gadget", 1), ("widget", 5)]

    @pytest.mark.parametrize("then", ["UPDATE stock SET count = count + 1", "  delete from stock"])
    def test_what_a_statement_found_is_read_whatever_is_written_after_it(
        self, store: ParticipantStore, then: str
    ) -> None:
        with store.transaction() as transaction:
            execute = transaction.sql.execute
            assert execute("INSERT INTO stock VALUES ('gadget', 1)").fetchone() is None
            changed = execute("UPDATE stock SET count = 2 Returning item, count")
            assert execute(then).fetchall() == []
            assert changed.fetchone() == ("gadget", 2)
            assert execute("DELETE FROM stock").fetchall() == []
            assert changed.fetchone() is None

    def test_a_savepoint_that_raises_takes_back_its_own_part_only(self, store: ParticipantStore) -> None:
        with store.transaction() as transaction:
            transaction.sql.execute("INSERT INTO stock VALUES ('gadget', 1)")
            with pytest.raises(Refused):
                do_a_part_and_refuse(transaction)
            with transaction.savepoint():
                transaction.sql.execute("INSERT INTO stock VALUES ('sprocket', 3)")
        with store.transaction() as transaction:
            items = transaction.sql.execute("SELECT item FROM stock ORDER BY item").fetchall()
            assert items == [("gadget",), ("sprocket",)]
            assert transaction.recall(a_barrier_row().instance_id, "reserve", "do") is None

    @pytest.mark.parametrize("raises", [True, False])
    def test_rows_that_a_part_has_left_unread_keep_nothing_open(self, store: ParticipantStore, *, raises: bool) -> None:
        unread: list[Rows] = []
        with store.transaction() as transaction:
            transaction.sql.execute("INSERT INTO stock VALUES ('gadget', 1), ('widget', 5)")
            if raises:
                with pytest.raises(Refused):
                    leave_unread_and_refuse(transaction, unread)
            else:
                with transaction.savepoint():
                    unread.append(transaction.sql.execute(TAKE_ALL))
                    assert unread[0].fetchone() is not None
            with transaction.savepoint():
                transaction.sql.execute("UPDATE stock SET count = count + 10")
        with store.transaction() as transaction:
            counts = transaction.sql.execute("SELECT count FROM stock ORDER BY item").fetchall()
        assert counts == ([(11,), (15,)] if raises else [(10,), (14,)])
        assert unread, "somebody has held them all the while"

    def test_rows_that_a_transaction_has_left_unread_are_no_reason_not_to_commit(self, store: ParticipantStore) -> None:
        unread: list[Rows] = []
        with store.transaction() as transaction:
            transaction.sql.execute("INSERT INTO stock VALUES ('gadget', 3), ('widget', 5)")
            unread.append(transaction.sql.execute(TAKE_ALL))
        with pytest.raises(Refused):
            leave_all_unread_and_refuse(store, unread)
        with store.transaction() as transaction:
            assert transaction.sql.execute("SELECT sum(count) FROM stock").fetchall() == [(6,)]
        assert len(unread) == 2

    @pytest.mark.parametrize(
        "sql",
        [
            "COMMIT",
            "  rollback;",
            "/* so */ COMMIT",
            "-- so\nCOMMIT",
            ";;commit",
            "BEGIN",
            "END",
            "SAVEPOINT mine",
            "release part",
        ],
    )
    def test_a_handler_cannot_end_the_transaction(self, store: ParticipantStore, sql: str) -> None:
        with pytest.raises(StatementRefused, match="leave it out"):
            remember_and_run(store, sql)
        with store.transaction() as transaction:
            assert transaction.recall(a_barrier_row().instance_id, "reserve", "do") is None

    def test_several_statements_at_once_are_refused_with_what_to_do(self, store: ParticipantStore) -> None:
        for sql in ("DELETE FROM stock; DELETE FROM stock", "SELECT 1; SELECT 2"):
            with pytest.raises(StatementRefused, match="several statements at once; call `execute` once for each"):
                remember_and_run(store, sql)

    def test_a_migration_that_cannot_be_carried_out_is_refused_by_its_name(self, tmp_path: Path) -> None:
        def two(sql: Sql) -> None:
            sql.execute("CREATE TABLE a (b); CREATE TABLE c (d)")

        text: Any = "CREATE TABLE a (b)"
        with pytest.raises(StatementRefused, match=r"the migration '.*001-two' of .*several statements at once"):
            self.make_store(tmp_path, [("001-two", two)])
        with pytest.raises(StoreError, match=r"the migration '.*001-text' is 'CREATE TABLE a .*expected a function"):
            self.make_store(tmp_path, [("001-text", text)])

    def test_writing_after_the_transaction_has_ended_is_refused(self, store: ParticipantStore) -> None:
        with store.transaction() as transaction:
            pass
        with pytest.raises(TransactionEnded):
            transaction.sql.execute("INSERT INTO stock VALUES ('widget', 5)")
        with pytest.raises(TransactionEnded):
            transaction.add_outbox([an_outbox_row("reply")])
        with pytest.raises(TransactionEnded):
            transaction.note(FOREIGN_ID, "order.created", NOW_MS)

    # ------------------------------------------------------------------ processed events

    @pytest.mark.parametrize("event_id", [a_message_id("m"), FOREIGN_ID, "sixteen-letters!"])
    def test_an_event_is_processed_once_whatever_its_id(self, store: ParticipantStore, event_id: str) -> None:
        with store.transaction() as transaction:
            assert transaction.processed(event_id, "order.created", NOW_MS)
            assert not transaction.processed(event_id, "order.created", NOW_MS)
        with store.transaction() as transaction:
            assert not transaction.processed(event_id, "order.created", NOW_MS)

    @pytest.mark.parametrize("event_id", [a_message_id("m"), FOREIGN_ID])
    def test_an_event_that_is_noted_is_processed_and_stays_as_it_was_noted_first(
        self, store: ParticipantStore, event_id: str
    ) -> None:
        with store.transaction() as transaction:
            transaction.note(event_id, "order.created", NOW_MS)
            transaction.note(event_id, "order.created", NOW_MS + 1)
            assert not transaction.processed(event_id, "order.created", NOW_MS)
        for later_ms in (NOW_MS + 2, NOW_MS + 3):
            with store.transaction() as transaction:
                transaction.note(event_id, "order.created", later_ms)
        assert store.forget_processed(NOW_MS + 1, 9) == 1
        with store.transaction() as transaction:
            assert transaction.processed(event_id, "order.created", NOW_MS)
            transaction.note(event_id, "order.created", NOW_MS + 1)
        assert store.forget_processed(NOW_MS + 1, 9) == 1

    def test_an_event_that_a_savepoint_took_back_after_it_was_noted_is_new_again(self, store: ParticipantStore) -> None:
        with store.transaction() as transaction:
            transaction.note(a_message_id("kept"), "order.created", NOW_MS)
            with pytest.raises(Refused):
                note_and_refuse(transaction, a_message_id("kept"), a_message_id("m"))
            assert transaction.processed(a_message_id("m"), "order.created", NOW_MS)
        with store.transaction() as transaction:
            assert not transaction.processed(a_message_id("kept"), "order.created", NOW_MS)

    def test_processed_events_are_forgotten_oldest_first_and_never_too_many(self, store: ParticipantStore) -> None:
        with store.transaction() as transaction:
            for age in range(5):
                transaction.processed(f"event {age}", "order.created", NOW_MS - age)
        assert store.forget_processed(NOW_MS - 1, 2) == 2
        assert store.forget_processed(NOW_MS - 1, 9) == 1
        assert store.forget_processed(NOW_MS - 1, 9) == 0
        with store.transaction() as transaction:
            noted = [transaction.processed(f"event {age}", "order.created", NOW_MS) for age in range(5)]
        assert noted == [False, False, True, True, True]

    def test_an_event_that_a_savepoint_took_back_is_new_again(self, store: ParticipantStore) -> None:
        events = [FOREIGN_ID, "another event"]
        with store.transaction() as transaction:
            with pytest.raises(Refused):
                process_and_refuse(transaction, *events)
            assert [transaction.processed(event, "order.created", NOW_MS) for event in events] == [True, True]

    # ------------------------------------------------------------------ outbox and dead letters

    def test_outbox_rows_come_in_order_until_they_are_published(self, store: ParticipantStore) -> None:
        with store.transaction() as transaction:
            transaction.add_outbox([an_outbox_row(name) for name in "cab"])
        rows = store.unpublished(9)
        assert [replace(row, seq=0) for row in rows] == [an_outbox_row(name) for name in "cab"]
        store.mark_published([rows[0].seq, rows[1].seq], NOW_MS)
        assert store.unpublished(9) == rows[2:]

    def test_dead_letters_are_kept_as_they_came_newest_first(self, store: ParticipantStore) -> None:
        with store.transaction() as transaction:
            transaction.add_dead_letters([a_dead_letter("first"), a_dead_letter("second")])
        found = store.dead_letters(9)
        assert [replace(letter, id=0) for letter in found] == [a_dead_letter("second"), a_dead_letter("first")]
        assert store.dead_letters(1) == found[:1]

    def test_closing_twice_does_nothing(self, store: ParticipantStore) -> None:
        store.close()
        store.close()
