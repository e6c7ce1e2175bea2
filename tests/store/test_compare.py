"""What differs between two files is found and named."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sagas.ports import Sql
from sagas.store.compare import count_rows, differences, snapshot
from sagas.store.participant import SqliteParticipantStore

ROWS = ("('a', 1, 'x')", "('b', 2, NULL)", "('c', 3, 'z')")


def a_file(path: Path, *rows: str, columns: str = "id TEXT NOT NULL PRIMARY KEY, n INTEGER, t TEXT") -> Path:
    """A file with one table of these rows."""

    def create(sql: Sql) -> None:
        sql.execute(f"CREATE TABLE things ({columns}) STRICT")
        for row in rows:
            sql.execute(f"INSERT INTO things VALUES {row}")

    SqliteParticipantStore(path, (("001", create),)).close()
    return path


def found(old: Path, new: Path) -> list[str]:
    """The differences, in words."""
    with snapshot(old) as one, snapshot(new) as other:
        return [str(difference) for difference in differences(one, other)]


def test_equal_files_differ_in_nothing(tmp_path: Path) -> None:
    old, new = a_file(tmp_path / "old.db", *ROWS), a_file(tmp_path / "new.db", *reversed(ROWS))
    assert found(old, new) == []
    with snapshot(new) as one:
        assert count_rows(one) == 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:2], ["things 'c': only in the old one"]),
        ((*ROWS, "('bb', 9, 'new')"), ["things 'bb': only in the new one"]),
        (("('a', 1, 'x')", "('b', 2, 'y')", "('c', 4, 'z')"), ["things 'b': t None -> 'y'", "things 'c': n 3 -> 4"]),
        ((), ["things 'a': only in the old one", "things 'b': only in the old one", "things 'c': only in the old one"]),
    ],
)
def test_each_row_and_column_that_differs_is_named(tmp_path: Path, rows: tuple[str, ...], said: list[str]) -> None:
    assert found(a_file(tmp_path / "old.db", *ROWS), a_file(tmp_path / "new.db", *rows)) == said


def test_a_column_that_only_one_has_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    new = a_file(tmp_path / "new.db", "('a', 2)", columns="id TEXT NOT NULL PRIMARY KEY, n INTEGER")
    assert found(a_file(tmp_path / "old.db", "('a', 1, 'x')"), new) == [
        "things column t: only in the old one",
        "things 'a': n 1 -> 2",
    ]


def test_a_table_without_a_key_is_compared_by_its_rows(tmp_path: Path) -> None:
    plain = "id TEXT, n INTEGER, t TEXT"
    old, new = a_file(tmp_path / "old.db", *ROWS, columns=plain), a_file(tmp_path / "new.db", *ROWS[1:], columns=plain)
    assert found(old, new) == ["things 'a' 1 'x': only in the old one"]


def test_a_snapshot_does_not_see_what_is_written_meanwhile(tmp_path: Path) -> None:
    path = a_file(tmp_path / "old.db", *ROWS)
    copy = a_file(tmp_path / "new.db", *ROWS)
    with snapshot(path) as old:
        store = SqliteParticipantStore(path, (("001", lambda sql: None),))
        with store.transaction() as transaction:
            transaction.sql.execute("DELETE FROM things")
        store.close()
        with snapshot(copy) as new:
            assert list(differences(old, new)) == []
    assert len(found(path, copy)) == 3


NOTES = [f"INSERT INTO notes (rowid, text) VALUES ({n}, 'kettle {n}')" for n in range(20)]
BOXES = [f"INSERT INTO boxes VALUES ({n}, {n * 7 % 13}, {n * 7 % 13 + 1})" for n in range(120)]


def a_file_of(path: Path, table: str, *transactions: Sequence[str]) -> Path:
    """A file with one table, written to in these transactions."""

    def create(sql: Sql) -> None:
        sql.execute(table)

    store = SqliteParticipantStore(path, (("001", create),))
    for statements in transactions:
        with store.transaction() as transaction:
            for statement in statements:
                transaction.sql.execute(statement)
    store.close()
    return path


@pytest.mark.parametrize(
    ("table", "writes"),
    [
        ("CREATE VIRTUAL TABLE notes USING fts5(text)", NOTES),
        ("CREATE VIRTUAL TABLE notes USING fts5(text, content='')", NOTES),
        ("CREATE VIRTUAL TABLE boxes USING rtree(id, low, high)", BOXES),
    ],
)
def test_an_index_of_a_virtual_table_may_be_built_in_other_pieces(
    tmp_path: Path, table: str, writes: Sequence[str]
) -> None:
    old = a_file_of(tmp_path / "old.db", table, writes)
    new = a_file_of(tmp_path / "new.db", table, *[[write] for write in writes])
    assert found(old, new) == []
    with snapshot(old) as one:
        assert count_rows(one) == len(writes)


def test_a_row_of_a_virtual_table_that_differs_is_named(tmp_path: Path) -> None:
    table = "CREATE VIRTUAL TABLE notes USING fts5(text)"
    old = a_file_of(tmp_path / "old.db", table, NOTES)
    new = a_file_of(tmp_path / "new.db", table, [*NOTES[:-1], "UPDATE notes SET text = 'mug' WHERE rowid = 3"])
    assert found(old, new) == ["notes 3: text 'kettle 3' -> 'mug'", "notes 19: only in the old one"]


@pytest.mark.parametrize("key", [" PRIMARY KEY", ""])
def test_rows_whose_texts_are_sorted_in_a_way_of_their_own_are_compared(tmp_path: Path, key: str) -> None:
    table = f"CREATE TABLE names (name TEXT NOT NULL COLLATE NOCASE{key})"
    rows = ["INSERT INTO names VALUES ('a')", "INSERT INTO names VALUES ('B')", "INSERT INTO names VALUES ('c')"]
    old = a_file_of(tmp_path / "old.db", table, rows)
    assert found(old, a_file_of(tmp_path / "other.db", table, rows[1:])) == ["names 'a': only in the old one"]


def test_texts_that_a_table_holds_for_equal_are_compared_as_they_are_written(tmp_path: Path) -> None:
    table = "CREATE TABLE names (name TEXT COLLATE NOCASE)"
    rows = ["INSERT INTO names VALUES ('a')", "INSERT INTO names VALUES ('A')"]
    old, new = (a_file_of(tmp_path / name, table, some) for name, some in (("o", rows), ("n", rows[::-1])))
    assert found(old, new) == []
