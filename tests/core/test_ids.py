"""Ids are derived, sort by time and never change from one release to the next."""

from uuid import UUID

import pytest

from sagas.core.ids import derived_id, first_id_at, instance_id, number_of, spelled, text_of
from sagas.core.retry import FOREVER, Retry


def test_these_ids_are_on_disk_and_in_topics_and_stay_as_they_are() -> None:
    instance = instance_id("order", "o-1", 1_764_583_200_123)
    assert instance == "019ad95a-d57b-79fa-9763-ecc85ca1989b"
    assert derived_id(instance, "reserve", "do") == "019ad95a-d57b-75a2-94f2-60e1da4f81df"


def test_an_id_is_a_uuid_of_version_7_and_its_children_keep_its_time() -> None:
    instance = instance_id("order", "o-1", 1_764_583_200_123)
    child = derived_id(instance, "reserve", "do")
    assert UUID(instance).version == UUID(child).version == 7
    assert UUID(instance).int >> 80 == UUID(child).int >> 80 == 1_764_583_200_123


@pytest.mark.parametrize("spelled", ["019AD95A-D57B-79FA-9763-ECC85CA1989B", "{019ad95ad57b79fa9763ecc85ca1989b}"])
def test_the_child_of_an_id_that_is_spelled_otherwise_is_spelled_as_all_are(spelled: str) -> None:
    child = derived_id(spelled, "reserve", "do")
    assert str(UUID(child)) == child
    assert UUID(child).version == 7
    assert UUID(child).int >> 80 == UUID(spelled).int >> 80


@pytest.mark.parametrize("number", [0, 1, 0xFEDCBA98_7654_3210_0123_456789ABCDEF, 2**128 - 1])
def test_an_id_is_spelled_as_python_spells_it(number: int) -> None:
    assert text_of(number) == spelled(number.to_bytes(16)) == str(UUID(int=number))
    assert number_of(text_of(number)) == number_of(text_of(number).upper()) == number


def test_the_first_id_of_a_millisecond_stands_between_those_before_and_those_of_it() -> None:
    assert instance_id("order", "o-1", 999) < first_id_at(1_000) <= instance_id("order", "o-1", 1_000)


def test_later_instances_sort_after_earlier_ones() -> None:
    ids = [instance_id("order", f"o-{n}", 1_000 + n) for n in range(100)]
    assert ids == sorted(ids)


def test_different_parts_make_different_ids() -> None:
    parent = instance_id("order", "o-1", 1)
    assert len({derived_id(parent, "ab", "c"), derived_id(parent, "a", "bc"), derived_id(parent, "abc")}) == 3


def test_a_parent_that_is_no_uuid_is_refused() -> None:
    with pytest.raises(ValueError, match="badly formed"):
        derived_id("o-1", "x")


def test_backoff_grows_up_to_its_cap_and_never_below_half() -> None:
    retry = Retry(first_ms=100, factor=2, cap_ms=1_000)
    delays = [retry.delay_ms(attempt, "seed") for attempt in range(1, 10)]
    for attempt, delay in enumerate(delays, start=1):
        full = min(100 * 2 ** (attempt - 1), 1_000)
        assert full / 2 <= delay <= full
    assert delays == [retry.delay_ms(attempt, "seed") for attempt in range(1, 10)]
    assert retry.delay_ms(1, "seed") != retry.delay_ms(1, "other seed")


def test_forever_is_never_exhausted_however_often_it_was_tried() -> None:
    assert not FOREVER.is_exhausted(10**9)
    assert FOREVER.delay_ms(10**9, "x") <= 60_000
    assert Retry(attempts_max=3).is_exhausted(3)


def test_a_factor_that_no_float_can_hold_waits_for_the_longest_that_is_allowed() -> None:
    retry = Retry(attempts_max=0, factor=1e6, cap_ms=30_000)
    assert all(15_000 <= retry.delay_ms(attempt, "k") <= 30_000 for attempt in (3, 53, 1_000))
