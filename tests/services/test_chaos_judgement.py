"""What `make chaos` calls wrong: it must not be lenient, and it must not cry wolf."""

import os

import pytest
from msgspec.structs import replace

from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK, Instance
from services.chaos import wrong_ends
from services.memory import SAMPLES_MIN, SLACK_KIB, growth_of, resident_kib
from services.stories import Story

DELIVERED = Story(number=1, kind="delivered", order_id="o-1")
DECLINED = Story(number=7, kind="card declined", order_id="o-1")
RUN = Instance(id="i-1", saga="order", version=1, key="o-1", state=COMPLETED, data=b"{}")


@pytest.mark.parametrize(
    ("story", "run"),
    [
        (DELIVERED, RUN),
        (DECLINED, replace(RUN, state=COMPENSATED, cause="card declined")),
        (DECLINED, replace(RUN, state=REJECTED, cause="out of stock")),
        (DELIVERED, replace(RUN, state=COMPENSATED, cause="pay: no answer in 2.0 s")),
    ],
)
def test_an_end_that_the_story_allows_is_right(story: Story, run: Instance) -> None:
    assert wrong_ends([story], {"o-1": run}) == []


@pytest.mark.parametrize(
    ("story", "run"),
    [
        (DELIVERED, replace(RUN, state=COMPENSATED, cause="out of stock")),
        (DELIVERED, replace(RUN, state="pay.pending")),
        (DELIVERED, replace(RUN, state=STUCK, reason="ship: no answer", cause="no answer")),
        (DECLINED, RUN),
    ],
)
def test_any_other_end_is_wrong(story: Story, run: Instance) -> None:
    assert len(wrong_ends([story], {"o-1": run})) == 1


def test_an_order_that_was_acknowledged_and_never_began_is_wrong() -> None:
    assert "is nowhere" in wrong_ends([DELIVERED], {})[0]


def test_memory_that_grows_is_noticed_and_what_wavers_is_not() -> None:
    count = SAMPLES_MIN
    (leaking,) = growth_of({"orders": [40_000 + 2_000 * number for number in range(count)]})
    (wavering,) = growth_of({"orders": [40_000 + SLACK_KIB * (number % 2) for number in range(count)]})
    assert not leaking.is_flat
    assert wavering.is_flat
    assert str(leaking) == "orders 48 → 87 MiB"


def test_a_few_samples_say_nothing() -> None:
    (young,) = growth_of({"orders": [1, 1_000_000]})
    assert young.is_flat
    assert growth_of({"orders": []}) == []


def test_the_memory_of_a_process_is_read_from_the_system_and_of_none_is_none() -> None:
    assert (resident_kib(os.getpid()) or 0) > 1_000
    assert resident_kib(2**22 + 1) is None
