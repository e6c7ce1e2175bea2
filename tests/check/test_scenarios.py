"""The scenario test that is written for a counterexample is a test: it fails as long as the law is broken."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagas import Saga
from sagas.check import Assumptions, Counterexample, check
from sagas.testing import Scenario
from services.orders.saga import order_saga
from tests.check.parcels import decides_first, decides_later
from tests.check.sagas import line
from tests.core.trip import trip_saga
from tests.rules.source import ROOT

SWITCHED: list[dict[str, Any]] = [
    {"participants": "forget-refusals"},
    {"participants": "forget-undos"},
    {"participants": "leave-something"},
    {"has_barrier": False},
    {"timeout_means": "refused"},
    {"timeout_means": "done"},
    {"operators": "careless"},
    {"commits_first": False},
    {"reads_before_timers": False},
]


def scenario_of(saga: str, switched: dict[str, Any]) -> Counterexample:
    definition, source = {
        "order": (order_saga.definition, "services.orders.saga:order_saga"),
        "trip": (trip_saga.definition, "tests.core.trip:trip_saga"),
    }[saga]
    found = check(definition, Assumptions(**switched), source=source).counterexample
    assert found is not None
    return found


def run(found: Counterexample) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(found.scenario, "scenario.py", "exec"), namespace)
    next(value for name, value in namespace.items() if name.startswith("test_"))()


@pytest.mark.parametrize("saga", ["order", "trip"])
@pytest.mark.parametrize("switched", SWITCHED, ids=str)
def test_the_scenario_of_a_counterexample_fails_with_what_was_found(saga: str, switched: dict[str, Any]) -> None:
    found = scenario_of(saga, switched)
    with pytest.raises(AssertionError) as failed:
        run(found)
    assert str(failed.value).startswith(found.how)


@pytest.mark.parametrize("saga", [decides_first, decides_later], ids=lambda saga: saga.name)
def test_a_story_goes_the_branch_that_was_found_broken_whatever_the_data_say(saga: Saga[Any]) -> None:
    found = check(saga.definition, source=f"tests.check.parcels:{saga.name}").counterexample
    assert found is not None
    assert found.is_retold
    assert any("is_small.deciding → by_van.pending" in line for line in found.words), found.words
    with pytest.raises(AssertionError) as failed:
        run(found)
    assert str(failed.value).startswith("by_van: folding Delayed raised ValueError")


def test_a_crash_that_loses_two_commands_is_told_as_that() -> None:
    found = check(line("u&uu").definition, Assumptions(commits_first=False)).counterexample
    assert found is not None
    lost = [words for words in found.words if words.endswith("the orchestrator dies before it commits")]
    assert len(lost) == 2, "the undo of each branch is out, and neither is known"


def test_a_decision_that_a_saga_has_not_cannot_be_dictated() -> None:
    with pytest.raises(AssertionError, match=r"has no decision 'is_big', only \['is_small'\]"):
        Scenario(decides_first, choices={"is_big": True})


def test_it_is_a_file_that_pytest_runs(tmp_path: Path) -> None:
    file = tmp_path / "test_found.py"
    file.write_text(scenario_of("order", SWITCHED[0]).scenario, encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "the run is rejected and create stands outside" in ran.stdout
