"""A short run of the fuzz target, and that a finding would be told by its seed."""

from random import Random

import pytest

from tests.hostile import fuzz
from tests.hostile.fuzz import bent, bent_headers
from tests.hostile.rig import COMMAND, START, headers_for


def test_three_seconds_of_bent_messages_raise_nothing() -> None:
    result = fuzz.fuzz(seed=20_251, seconds=3.0)
    assert result.executions >= 3 * fuzz.ROUND
    assert result.refused / result.executions > 0.2, "nearly everything was valid: the edits are too tame"


def test_a_seed_says_it_all() -> None:
    headers = headers_for("o-1")
    assert bent(Random(7), START, COMMAND) == bent(Random(7), START, COMMAND) != bent(Random(8), START, COMMAND)
    assert bent_headers(Random(7), headers) == bent_headers(Random(7), headers)


def test_a_finding_is_told_by_its_seed() -> None:
    said: list[str] = []

    def broken(random: Random, count: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fuzz.fuzz(seed=7, seconds=1.0, targets=[broken], say=said.append)
    assert said == ["found by seed 7, round 0 (broken)"]
