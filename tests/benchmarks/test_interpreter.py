"""What `make bench` runs on: the fastest Python there is, and the one at hand unless another is clearly faster."""

import sys
from pathlib import Path

import pytest

from benchmarks.interpreter import fastest, loops_ms, on_path


def _interpreter(folder: Path, name: str, answer: str) -> str:
    """A program that says it took `answer` seconds."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_the_fastest_is_taken(tmp_path: Path) -> None:
    own = _interpreter(tmp_path, "own", "echo 0.050")
    others = [_interpreter(tmp_path, "slow", "echo 0.080"), _interpreter(tmp_path, "fast", "echo 0.030")]
    assert fastest(own, others) == (others[1], {own: 50.0, others[0]: 80.0, others[1]: 30.0})


def test_the_one_at_hand_is_kept_when_another_is_hardly_faster(tmp_path: Path) -> None:
    own = _interpreter(tmp_path, "own", "echo 0.050")
    assert fastest(own, [_interpreter(tmp_path, "other", "echo 0.049")])[0] == own


def test_what_counts_is_its_best_core(tmp_path: Path) -> None:
    own = _interpreter(tmp_path, "own", "echo 0.050; echo 0.060")
    other = _interpreter(tmp_path, "other", "echo 0.090; echo 0.030")
    assert fastest(own, [other]) == (other, {own: 50.0, other: 30.0})


@pytest.mark.parametrize("answer", ["exit 1", "echo soon"])
def test_what_is_no_interpreter_that_could_be_used_is_passed_over(tmp_path: Path, answer: str) -> None:
    own = _interpreter(tmp_path, "own", "echo 0.050")
    assert fastest(own, [_interpreter(tmp_path, "broken", answer), str(tmp_path / "missing")]) == (own, {own: 50.0})


def test_another_is_taken_when_the_one_at_hand_cannot_be_used(tmp_path: Path) -> None:
    other = _interpreter(tmp_path, "other", "echo 0.090")
    assert fastest(_interpreter(tmp_path, "own", "exit 1"), [other])[0] == other


def test_this_interpreter_can_be_used() -> None:
    took_ms = loops_ms(sys.executable)
    assert took_ms
    assert min(took_ms) > 0


def test_an_interpreter_that_is_there_under_two_names_is_asked_once(tmp_path: Path) -> None:
    first = _interpreter(tmp_path / "a", "python3", "echo 1")
    (tmp_path / "a" / "python3.12").symlink_to(first)
    other = _interpreter(tmp_path / "b", "python3.12", "echo 1")
    assert on_path(f"{tmp_path / 'a'}:{tmp_path / 'b'}:{tmp_path / 'none'}") == [first, other]
