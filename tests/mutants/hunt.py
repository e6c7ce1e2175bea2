"""Looking for a planted bug: seed by seed, in both modes, until one run fails; or by the test that is there for it."""

import contextlib
import io
import logging
from dataclasses import dataclass

import pytest

from sagas.testing.simulation import Subject, simulate
from services.simulated import shop
from tests.mutants.kernel import KERNEL_MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.participants import PARTICIPANT_MUTANTS
from tests.mutants.shells import SHELL_MUTANTS

SEEDS_MAX = 200

MUTANTS = {mutant.name: mutant for mutant in (*SHELL_MUTANTS, *PARTICIPANT_MUTANTS, *KERNEL_MUTANTS)}


@dataclass(frozen=True, kw_only=True)
class Found:
    """How a bug was found; `seeds` is how many it took, 0 by a test, and `by` is "" when nothing found it."""

    name: str
    by: str
    seeds: int
    what: str


def hunt(name: str) -> Found:
    """Find the bug of this name."""
    was_disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return _hunt(name)
    finally:
        logging.disable(was_disabled)


def _hunt(name: str) -> Found:
    mutant = MUTANTS[name]
    with mutant.planted():
        found = _by_test(mutant) if mutant.test else _by_simulation(mutant)
    # Where the shop was varied to bring the bug out, the variation alone must be sound.
    if mutant.subject is not None and mutant.replaced and found.by and _fails(mutant, found.seeds):
        return Found(name=name, by="", seeds=found.seeds, what="the varied shop fails without the bug as well")
    return found


def _subject(mutant: Mutant) -> Subject:
    return shop if mutant.subject is None else mutant.subject(shop)


def _fails(mutant: Mutant, seeds: int) -> bool:
    subject = _subject(mutant)
    return any(
        simulate(subject, number, timers=timers).violations for number in range(seeds) for timers in (False, True)
    )


def _by_simulation(mutant: Mutant) -> Found:
    subject = _subject(mutant)
    for number in range(SEEDS_MAX):
        for timers in (False, True):
            run = simulate(subject, number, timers=timers)
            if run.violations:
                mode = "on" if timers else "off"
                return Found(
                    name=mutant.name, by=f"timers {mode}", seeds=number + 1, what=str(run.violations[0]).splitlines()[0]
                )
    return Found(name=mutant.name, by="", seeds=SEEDS_MAX, what="")


def _by_test(mutant: Mutant) -> Found:
    # In this process, for the bug is planted in it; and before pytest can rewrite what is imported already.
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with contextlib.redirect_stdout(io.StringIO()):
        failed = pytest.main([*options, mutant.test]) == pytest.ExitCode.TESTS_FAILED
    return Found(name=mutant.name, by=mutant.test if failed else "", seeds=0, what=mutant.why_not_simulated)
