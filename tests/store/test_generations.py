"""Generations of a projection: never the same number twice, and a pointer that is old or new."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from sagas.config import Settings
from sagas.errors import StoreError
from sagas.ports import OutboxRow
from sagas.store.generations import Generations
from sagas.store.letter_file import LetterFile
from sagas.store.participant import SqliteParticipantStore
from tests.store.builders import a_dead_letter, an_outbox_row


def nothing_waits(waiting: Sequence[OutboxRow]) -> None:
    """What is removed has nothing to be published."""
    raise AssertionError(waiting)


def test_a_pointer_says_which_generation_is_current_and_is_replaced_as_a_whole(tmp_path: Path) -> None:
    generations = Generations(tmp_path, "view")
    assert generations.current() is None
    generations.make_current(7)
    generations.make_current(8)
    assert generations.current() == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["view.current"]


def test_a_new_generation_is_above_all_that_are_there_whatever_the_clock_says(tmp_path: Path) -> None:
    generations = Generations(tmp_path, "view")
    assert generations.new(5) == 5
    generations.path(5).touch()
    generations.path(90).touch()
    (tmp_path / "view-notes.projection").touch()
    assert generations.new(6) == 91
    assert generations.group(91) == "view-91"


def test_a_current_generation_whose_file_is_gone_is_none_and_its_number_is_never_given_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generations = Generations(tmp_path, "view")
    assert generations.present() is None
    generations.path(7).touch()
    generations.make_current(7)
    assert (generations.present(), caplog.messages) == (7, [])
    generations.path(7).unlink()
    assert generations.present() is None
    assert "view-7.projection: is gone" in caplog.text
    assert generations.new(5) == 8


def test_older_generations_are_removed_with_their_logs_and_newer_ones_stay(tmp_path: Path) -> None:
    generations = Generations(tmp_path, "view")
    for number in (1, 2, 3):
        generations.path(number).touch()
        Path(f"{generations.path(number)}-wal").touch()
    generations.remove_older(2, nothing_waits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "view-2.projection",
        "view-2.projection-wal",
        "view-3.projection",
        "view-3.projection-wal",
    ]


@pytest.mark.parametrize("name", ["view-2", "view-2.projection", "view-notes"])
def test_the_database_of_another_process_is_no_generation_however_it_is_called(tmp_path: Path, name: str) -> None:
    database = Settings(data_dir=tmp_path).database(name)
    database.touch()
    generations = Generations(tmp_path, "view")
    generations.remove_older(9, nothing_waits)
    assert database.exists()
    assert generations.new(1) == 1


def test_a_name_is_taken_as_it_is_written(tmp_path: Path) -> None:
    theirs, mine = Generations(tmp_path, "view"), Generations(tmp_path, "v[i]ew")
    for generations in (theirs, mine):
        generations.path(1).touch()
    mine.remove_older(2, nothing_waits)
    assert [path.name for path in tmp_path.iterdir()] == [theirs.path(1).name]


def test_what_still_waits_in_an_older_generation_is_handed_over_before_it_is_removed(tmp_path: Path) -> None:
    generations = Generations(tmp_path, "view")
    rows = [an_outbox_row("a"), an_outbox_row("b")]
    with closing(SqliteParticipantStore(generations.path(1))) as store, store.transaction() as transaction:
        transaction.add_outbox(rows)
    SqliteParticipantStore(generations.path(2)).close()
    found: list[OutboxRow] = []
    generations.remove_older(3, found.extend)

    assert [msgspec.structs.replace(row, seq=0) for row in found] == rows
    assert list(tmp_path.iterdir()) == []


def test_an_older_generation_that_cannot_be_read_or_handed_over_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generations = Generations(tmp_path, "view")
    generations.path(1).write_bytes(b"no database at all" * 99)
    with closing(SqliteParticipantStore(generations.path(2))) as store, store.transaction() as transaction:
        transaction.add_outbox([an_outbox_row("a")])

    def full(waiting: Sequence[OutboxRow]) -> None:
        raise StoreError("the disk is full")

    generations.remove_older(3, full)
    assert {generations.path(number).exists() for number in (1, 2)} == {True}
    assert ("not an SQLite database" in caplog.text, "the disk is full" in caplog.text) == (True, True)


def test_a_letter_is_not_sent_again_from_a_generation_that_is_being_removed(tmp_path: Path) -> None:
    generations = Generations(tmp_path, "view")
    with closing(SqliteParticipantStore(generations.path(1))) as store, store.transaction() as transaction:
        transaction.add_dead_letters([a_dead_letter("no")])
        transaction.add_outbox([an_outbox_row("a")])
    with closing(LetterFile(generations.path(1), read_only=False)) as letters:
        generations.remove_older(2, lambda waiting: None)
        with pytest.raises(StoreError, match="was deleted"):
            letters.requeue([1], "ann", "mended", 1)


@pytest.mark.parametrize("text", ["", "seven", "-1", "9" * 40, "1 2"])
def test_a_pointer_that_says_nothing_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    generations = Generations(tmp_path, "view")
    generations.pointer.write_text(text)
    with pytest.raises(StoreError, match=r"view\.current"):
        generations.current()
