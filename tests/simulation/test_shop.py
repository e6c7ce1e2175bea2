"""The demo's shop under every fault we can make, for a few seeds; `make sim` runs a thousand."""

import pytest

from sagas.testing.simulation.campaign import Tally, run_seed
from sagas.testing.simulation.subject import load_subject


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_no_seed_breaks_a_promise_with_timers_or_without(first: int) -> None:
    subject, tally = load_subject("services.simulated:shop"), Tally()
    for seed in range(first, first + 5):
        run_seed(subject, seed, tally)
    assert [failure.report("services.simulated:shop") for failure in tally.failures] == []
    assert tally.crashes > 0, "the faults did nothing"
    assert tally.states.get("completed", 0) > 0
