"""Whether a path still leads to the file that was opened: the same answers, whatever the system offers to ask with."""

import ctypes
from pathlib import Path

import pytest

from sagas.store.watched import Statx, WatchedFile, find_statx


def failing(*_: object) -> int:
    """As a system call that the kernel does not have, or a sandbox does not let through."""
    return -1


@pytest.fixture(params=["statx", "failing", "missing"])
def statx(request: pytest.FixtureRequest) -> Statx | None:
    """Each way of asking."""
    return {"statx": find_statx(), "failing": failing, "missing": None}[request.param]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file."""
    path = tmp_path / "saga.db"
    path.write_bytes(b"1")
    return path


def test_a_file_that_was_written_to_is_the_same(path: Path, statx: Statx | None) -> None:
    watched = WatchedFile(str(path), statx)
    path.write_bytes(b"2")
    assert watched.is_there()


def test_a_file_that_was_deleted_is_not_there(path: Path, statx: Statx | None) -> None:
    watched = WatchedFile(str(path), statx)
    path.unlink()
    assert not watched.is_there()


def test_a_file_that_was_moved_away_is_not_there_and_is_again_when_it_comes_back(
    path: Path, statx: Statx | None
) -> None:
    watched = WatchedFile(str(path), statx)
    moved = path.rename(path.with_name("moved.db"))
    assert not watched.is_there()
    moved.rename(path)
    assert watched.is_there()


def test_another_file_in_its_place_is_not_it(path: Path, statx: Statx | None) -> None:
    watched = WatchedFile(str(path), statx)
    other = path.with_name("other.db")
    other.write_bytes(b"1")
    other.replace(path)
    assert not watched.is_there()


def test_a_path_that_is_led_elsewhere_by_a_link_is_noticed(path: Path, statx: Statx | None) -> None:
    other, link = path.with_name("other.db"), path.with_name("current.db")
    other.write_bytes(b"1")
    link.symlink_to(path)
    watched = WatchedFile(str(link), statx)
    assert watched.is_there()
    link.unlink()
    link.symlink_to(other)
    assert not watched.is_there()


def test_the_call_is_asked_for_the_inode_only(path: Path) -> None:
    asked: list[tuple[int, bytes, int, int]] = []

    def noting(at: int, name: bytes, flags: int, wanted: int, buffer: "ctypes.Array[ctypes.c_char]") -> int:
        asked.append((at, name, flags, wanted))
        return failing(buffer)

    assert WatchedFile(str(path), noting).is_there()
    stx_ino = 0x100
    assert asked == [(-100, str(path).encode(), 0, stx_ino)] * 2
