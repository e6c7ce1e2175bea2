"""Statements for lists: whatever their length, the same as one by one."""

from collections.abc import Generator
from contextlib import closing

import pytest

from sagas.errors import TransactionEnded
from sagas.store.database import Database, IntegrityError
from sagas.store.lists import IN_LIST_SIZES, INSERTED_SIZES, in_parts, over_list, over_rows

INSERT = "INSERT INTO things (name, size) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET size = excluded.size"
SIZES = [0, 1, *(size + more for size in (*INSERTED_SIZES, sum(INSERTED_SIZES)) for more in (-1, 0, 1)), 1_000]


@pytest.fixture
def database() -> Generator[Database, None, None]:
    with closing(Database(":memory:")) as database:
        database.connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER)")
        yield database


def things(database: Database) -> list[tuple[str, int]]:
    return [(name, size) for name, size in database.rows("SELECT name, size FROM things ORDER BY id")]


@pytest.mark.parametrize("count", SIZES)
def test_rows_are_inserted_each_once_and_in_their_order(database: Database, count: int) -> None:
    rows = [(f"thing-{number}", number) for number in range(count)]
    with database.transaction():
        database.insert_many(INSERT, iter(rows))
    assert things(database) == rows


@pytest.mark.parametrize("count", SIZES)
def test_of_rows_that_meet_the_last_counts_however_far_apart_they_are(database: Database, count: int) -> None:
    with database.transaction():
        database.insert_many(INSERT, [("first", -1), *((f"thing-{n % 5}", n) for n in range(count)), ("first", count)])
    last = {f"thing-{number % 5}": number for number in range(count)}
    assert dict(things(database)) == {**last, "first": count}


def test_a_row_that_is_refused_ends_the_transaction_with_nothing_kept(database: Database) -> None:
    strict = INSERT.partition(" ON CONFLICT")[0]
    rows = [(f"thing-{number}", number) for number in range(100)]
    with pytest.raises(IntegrityError), database.transaction():
        database.insert_many(strict, [*rows, rows[70]])
    assert things(database) == []


def test_rows_are_inserted_inside_a_transaction_only(database: Database) -> None:
    with pytest.raises(TransactionEnded, match="no transaction is open"):
        database.insert_many(INSERT, [("thing", 1)] * 20)
    assert things(database) == []


def test_what_is_no_row_of_values_is_refused_by_its_text() -> None:
    with pytest.raises(ValueError, match="no row of VALUES"):
        over_rows("DELETE FROM things WHERE name = ?", 8)


def test_a_constant_in_a_row_is_in_each_of_them() -> None:
    assert over_rows("INSERT INTO t (a, b) VALUES (?, NULL)", 2) == "INSERT INTO t (a, b) VALUES (?, NULL), (?, NULL)"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 127, 499, 500, 501, 1_733])
def test_a_list_is_parted_into_known_lengths_and_nothing_is_added_to_it(count: int) -> None:
    values = [f"v-{number}" for number in range(count)]
    parts = list(in_parts(values))
    assert {len(part) for part in parts} <= set(IN_LIST_SIZES)
    assert list(dict.fromkeys(value for part in parts for value in part)) == values


def test_a_statement_is_the_same_object_each_time() -> None:
    def over(marks: str) -> str:
        return f"SELECT id FROM things WHERE id IN ({marks})"

    assert over_list(over, 16) is over_list(over, 16)
    assert over_rows(INSERT, 16) is over_rows(INSERT, 16)
