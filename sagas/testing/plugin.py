"""A pytest plugin: your own sagas in the simulated world, as one test.

Switch it on in the topmost `conftest.py`, beside `pyproject.toml`:

    pytest_plugins = ["sagas.testing.plugin"]

and write a test that hands a `Subject` to the fixture `simulate`:

    def test_trips_survive_everything(simulate: Simulate) -> None:
        simulate(Subject(name="trips", definitions=[trip_saga.definition], services={hotel: TABLES}, workload=trips))

It runs 25 seeds, each with timers and without, and fails at the first on which a promise does not hold,
with the line that repeats it and a sequence diagram. From the command line:

    pytest --sim-seeds 1000            more seeds
    pytest --sim-seed 4711             this one only
"""

import argparse
from collections.abc import Callable

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "sagas.testing.plugin needs pytest; install it, or this library as iggy-sagas[testing]", name="pytest"
    ) from error

from sagas.testing.simulation.campaign import Tally, run_seed
from sagas.testing.simulation.subject import Subject

SEEDS_USUAL = 25

Simulate = Callable[[Subject], Tally]
"""What the fixture is: call it with a subject. The figures of what was run, if nothing failed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("sagas", "simulation of sagas")
    group.addoption("--sim-seeds", type=_count, default=SEEDS_USUAL, help="how many seeds a simulation runs")
    group.addoption("--sim-seed", type=int, default=None, help="the only seed that simulations run")


def _count(text: str) -> int:
    # A test that runs no seed passes, and says nothing.
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"invalid count {text!r}: expected a whole number from 1")
    return int(text)


@pytest.fixture
def simulate(request: pytest.FixtureRequest) -> Simulate:
    """Runs a subject on the seeds that the command line asks for."""
    only: int | None = request.config.getoption("--sim-seed")
    count: int | None = request.config.getoption("--sim-seeds")
    seeds = range(count or SEEDS_USUAL) if only is None else [only]

    def run(subject: Subject) -> Tally:
        tally = Tally()
        for seed in seeds:
            run_seed(subject, seed, tally)
            if tally.failures:
                pytest.fail(f"{tally.failures[0].report()}\nrepeat: pytest --sim-seed {seed}", pytrace=False)
        return tally

    return run
