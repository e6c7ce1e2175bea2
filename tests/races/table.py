"""`python -m tests.races.table`: runs the races and prints a table of race, test and result. 1 if one fails."""

import re
import sys
from pathlib import Path

import pytest

from tests.races.missing import MISSING

RACES = range(1, 85)

_NAME = re.compile(r"\Atest_race_(\d\d)_(\w+)\Z")


def number_of(name: str) -> int:
    """The number of the race that a test is about, 0 for any other test."""
    found = _NAME.match(name)
    return int(found.group(1)) if found else 0


def words_of(name: str) -> str:
    """What the test of a race says, as a sentence without its end."""
    found = _NAME.match(name)
    return found.group(2).replace("_", " ") if found else ""


class Results:
    """A pytest plugin that keeps how the test of each race ended."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[str, str]] = {}
        """Race to what its test says, and how it ended: the worst of its cases."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take up one phase of one test."""
        name = report.location[2].partition("[")[0].rpartition(".")[2]
        number = number_of(name)
        if not number or (report.when != "call" and report.outcome == "passed"):
            return
        _, known = self.rows.get(number, ("", "passed"))
        self.rows[number] = (words_of(name), report.outcome if known == "passed" else known)


def main() -> int:
    """Run the races and print the table; the exit code."""
    results = Results()
    folder = str(Path(__file__).parent)
    # One process: the results are kept in this one's memory.
    code = int(pytest.main([folder, "-q", "--no-header", "--no-summary", "-p", "no:xdist"], plugins=[results]))
    print()
    for number in RACES:
        if number in MISSING:
            race, why = MISSING[number]
            print(f"{number:2}  {'missing':8} {race} (missing: {why})")
        else:
            words, outcome = results.rows.get(number, ("no test", "failed"))
            print(f"{number:2}  {outcome:8} {words}")
    passed = sum(outcome == "passed" for _, outcome in results.rows.values())
    print(f"\n{len(RACES)} races: {passed} passed, {len(results.rows) - passed} failed, {len(MISSING)} missing")
    return code


if __name__ == "__main__":
    sys.exit(main())
