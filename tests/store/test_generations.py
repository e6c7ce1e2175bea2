"""Generations of a projection: never the same number twice, and a pointer that is old or new."""

from pathlib import Path

import pytest

from sagas.config import Settings
from sagas.errors import StoreError
from sagas.store.generations import Generations


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
    generations.remove_older(2)
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
    generations.remove_older(9)
    assert database.exists()
    assert generations.new(1) == 1


def test_a_name_is_taken_as_it_is_written(tmp_path: Path) -> None:
    theirs, mine = Generations(tmp_path, "view"), Generations(tmp_path, "v[i]ew")
    for generations in (theirs, mine):
        generations.path(1).touch()
    mine.remove_older(2)
    assert [path.name for path in tmp_path.iterdir()] == [theirs.path(1).name]


@pytest.mark.parametrize("text", ["", "seven", "-1", "9" * 40, "1 2"])
def test_a_pointer_that_says_nothing_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    generations = Generations(tmp_path, "view")
    generations.pointer.write_text(text)
    with pytest.raises(StoreError, match=r"view\.current"):
        generations.current()
