"""`make scaling`: what it calls settled, what it calls right, and one whole run with real processes."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from services.scaling_proof import Handled, disagreement, judge


def rows(*entries: tuple[str, str, int]) -> list[Handled]:
    return [Handled(message_id, task, number, "worker-1", 0) for message_id, task, number in entries]


def test_each_message_once_and_each_task_in_its_order_is_right() -> None:
    assert judge(["a", "b", "c"], rows(("a", "t", 0), ("c", "u", 2), ("b", "t", 1))) == []


@pytest.mark.parametrize(
    ("handled", "says"),
    [
        (rows(("a", "t", 0), ("b", "t", 1), ("b", "t", 1)), "b was handled 2 times"),
        (rows(("a", "t", 0)), "b was never handled"),
        (rows(("b", "t", 1), ("a", "t", 0)), "t: number 0 was handled after 1"),
        (rows(("a", "t", 0), ("b", "t", 1), ("x", "u", 0)), "x was handled and never published"),
    ],
)
def test_what_is_wrong_is_named(handled: Sequence[Handled], says: str) -> None:
    assert says in judge(["a", "b"], handled)


@pytest.mark.parametrize(
    ("members", "told", "workers", "says"),
    [
        ([(0,), (1,), (2,), ()], {"a": (0,), "b": (1,), "c": (2,), "d": ()}, 4, ""),
        ([(0, 1, 2)], {"a": (0, 1, 2)}, 1, ""),
        ([(0, 1), (2,)], {"a": (0, 1), "b": (2,)}, 3, "of 3"),
        ([(0, 1), (2,)], {"a": (0, 1)}, 2, "1 workers that know"),
        ([(0, 1), (2,)], {"a": (0,), "b": (2,)}, 2, "the broker says"),
        ([(0, 1), (1, 2)], {"a": (0, 1), "b": (1, 2)}, 2, "not each partition has one owner"),
        ([(0, 1, 2), ()], {"a": (0, 1, 2), "b": ()}, 2, "not dealt out evenly"),
    ],
)
def test_ownership_is_settled_when_broker_and_workers_say_one_even_table(
    members: Sequence[tuple[int, ...]], told: Mapping[str, tuple[int, ...]], workers: int, says: str
) -> None:
    found = disagreement(members, told, workers)
    assert says in found
    assert bool(says) == bool(found)


@pytest.mark.e2e
def test_the_command_scales_one_to_three_to_four_to_two_and_loses_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "services.scaling", "--rate", "80", "--seconds", "0.6"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    titles = [line for line in run.stdout.splitlines() if line[:1].isdigit()]
    assert titles[:3] == ["1 worker", "3 workers", "4 workers"]
    assert "owns 0 1 2" in run.stdout
    assert "idle: more workers than partitions" in run.stdout
    assert "0 twice, 0 missed" in run.stdout
    assert "died with a batch done and its offset not stored" in run.stdout
    again = next(line for line in run.stdout.splitlines() if "delivered again" in line)
    assert int(again.split()[0]) > 0, "the crash was between the work and its offset: something comes again"
