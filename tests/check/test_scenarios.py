"""The scenario test that is written for a counterexample is a test: it fails as long as the law is broken."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagas.check import Assumptions, Counterexample, check
from services.orders.saga import order_saga
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


@pytest.mark.parametrize("saga", ["order", "trip"])
@pytest.mark.parametrize("switched", SWITCHED, ids=str)
def test_the_scenario_of_a_counterexample_fails_with_what_was_found(saga: str, switched: dict[str, Any]) -> None:
    found = scenario_of(saga, switched)
    namespace: dict[str, Any] = {}
    exec(compile(found.scenario, "scenario.py", "exec"), namespace)
    test = next(value for name, value in namespace.items() if name.startswith("test_"))
    with pytest.raises(AssertionError) as failed:
        test()
    assert str(failed.value).startswith(found.how)


def test_it_is_a_file_that_pytest_runs(tmp_path: Path) -> None:
    file = tmp_path / "test_found.py"
    file.write_text(scenario_of("order", SWITCHED[0]).scenario, encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "the run is rejected and create stands outside" in ran.stdout
