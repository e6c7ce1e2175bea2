"""The pytest plugin for users' own sagas, and the command beside it."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from sagas.testing.simulation.__main__ import main

pytest_plugins = ["pytester"]

TEST = """
    from sagas.testing.plugin import Simulate
    from services.simulated import shop

    def test_shop(simulate: Simulate) -> None:
        assert simulate(shop).failures == []
"""


def test_a_users_sagas_are_simulated_by_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-p", "sagas.testing.plugin", "--sim-seeds", "2")
    result.assert_outcomes(passed=1)


def test_a_broken_promise_fails_with_the_line_that_repeats_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        TEST.replace("simulate(shop)", 'simulate(replace(shop, check=lambda aftermath: ["money is missing"]))').replace(
            "from sagas", "from dataclasses import replace\n    from sagas", 1
        )
    )
    result = pytester.runpytest_subprocess("-p", "sagas.testing.plugin", "--sim-seed", "5")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*shop: money is missing", "*sequenceDiagram*", "*repeat: pytest --sim-seed 5"])


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_number_of_seeds_that_would_run_nothing_is_refused(pytester: pytest.Pytester, count: str) -> None:
    pytester.makepyfile(TEST)

    result = pytester.runpytest_inprocess("-p", "sagas.testing.plugin", f"--sim-seeds={count}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--sim-seeds: *'{count}'*"])
    shown = CliRunner().invoke(main, [f"--seeds={count}"])
    assert (shown.exit_code, "--seeds" in shown.output) == (2, True)


def test_the_command_asks_for_a_subject_and_takes_none_that_only_the_demo_has() -> None:
    shown = CliRunner().invoke(main, ["--seeds=1"])
    assert (shown.exit_code, "Missing option '--saga'" in shown.output) == (2, True)


def test_without_pytest_the_plugin_says_what_to_install() -> None:
    script = "import sys; sys.modules['pytest'] = None; import sagas.testing.plugin"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "sagas.testing.plugin needs pytest; install it, or this library as iggy-sagas[testing]" in ran.stderr
