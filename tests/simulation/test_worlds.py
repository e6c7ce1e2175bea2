"""The demo's shop in simulated worlds: some new seeds, and for ever those that once failed."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagas.testing.simulation import simulate
from sagas.testing.simulation.campaign import Tally, failure_of, run_seed
from services.simulated import shop

SEEDS = range(20, 50)
"""Fifty with those of `test_shop.py`."""
FAILED_ONCE = Path(__file__).parent.parent / "seeds.txt"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Faults are logged by the thousand."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def failed_once() -> list[int]:
    lines = FAILED_ONCE.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def test_no_promise_is_broken_with_timers_and_without() -> None:
    tally = Tally()
    for seed in SEEDS:
        run_seed(shop, seed, tally)
        assert not tally.failures, tally.failures[0].report()
    assert tally.runs == 2 * len(SEEDS)
    assert tally.crashes > 5 * len(SEEDS)
    assert {"completed", "compensated", "rejected"} <= set(tally.states)


@pytest.mark.parametrize("seed", failed_once())
def test_what_failed_once_holds_for_ever(seed: int) -> None:
    tally = Tally()
    run_seed(shop, seed, tally)
    assert not tally.failures, tally.failures[0].report()


@pytest.mark.parametrize("timers", [True, False])
def test_the_same_seed_goes_the_same_way(timers: bool) -> None:
    first, second, other = (simulate(shop, seed, timers=timers) for seed in (7, 7, 8))
    assert first.history.digest == second.history.digest
    assert first.steps == second.steps
    assert first.history.digest != other.history.digest


def test_a_seed_goes_the_same_way_in_another_process_with_another_hash_seed() -> None:
    script = (
        "import logging; logging.disable(logging.CRITICAL)\n"
        "from sagas.testing.simulation import simulate\n"
        "from services.simulated import shop\n"
        "print(simulate(shop, 11, timers=True).history.digest)"
    )
    here = simulate(shop, 11, timers=True).history.digest
    environ = {**os.environ, "PYTHONHASHSEED": "4711"}
    there = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_a_failure_is_told_as_a_sequence_diagram_with_the_line_that_repeats_it() -> None:
    failure = failure_of(shop, simulate(shop, 3, timers=True))
    report = failure.report("make sim SEEDS=1 SEED=3")
    assert "repeat: make sim SEEDS=1 SEED=3" in report
    assert "sequenceDiagram" in report
    assert "orchestrator->>orders" in report
