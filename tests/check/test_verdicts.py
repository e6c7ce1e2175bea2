"""What holds when everything is as promised, and what breaks when one promise is switched off."""

from typing import Any

import pytest

from sagas import Saga
from sagas.check import Assumptions, Report, check
from sagas.check.laws import Law
from services.orders.saga import order_saga
from tests.check.sagas import line
from tests.core.courses import COURSES
from tests.core.parcels import SAGAS
from tests.core.trip import trip_saga


def test_no_order_of_messages_breaks_the_order_saga_and_every_way_back_is_taken() -> None:
    report = check(order_saga.definition)
    assert report.is_ok, report.counterexample
    assert report.is_whole
    assert report.undo_coverage == (30, 30)
    assert report.states > 150


@pytest.mark.parametrize("kinds", ["u", "P", "uP", "uPr", "aP", "hP", "cP", "nP", "uH", "uaH", "ucP", "ur", "n"])
@pytest.mark.parametrize("deadline", [None, 60])
def test_every_kind_of_step_holds(kinds: str, deadline: float | None) -> None:
    report = check(line(kinds, deadline=deadline).definition)
    assert report.is_ok, report.counterexample
    taken, edges = report.undo_coverage
    assert taken == edges > 0


@pytest.mark.parametrize("name", SAGAS)
def test_no_order_of_messages_breaks_a_list_of_items_whatever_stands_around_it(name: str) -> None:
    report = check(SAGAS[name].definition)
    assert report.is_ok, report.counterexample
    assert (report.is_whole, report.items_max) == (True, 2)
    taken, edges = report.undo_coverage
    assert taken == edges > 0


def assuming(saga: str, **switched: Any) -> Report:
    known: dict[str, Saga[Any]] = {"order": order_saga, "trip": trip_saga}
    return check((known.get(saga) or line(saga)).definition, Assumptions(**switched))


@pytest.mark.parametrize(
    ("saga", "switched", "law", "messages"),
    [
        # do0→no (and once more), do0→ok, reply no0
        ("order", {"participants": "forget-refusals"}, "rest", 3),
        # timeout0, undo0, do0→ok
        ("order", {"participants": "forget-undos"}, "rest", 4),
        ("order", {"participants": "undo-blindly"}, "once", 2),
        ("order", {"participants": "leave-something"}, "rest", 2),
        ("order", {"has_barrier": False}, "once", 2),
        # a timeout taken for "did nothing": do0→ok, timeout0
        ("order", {"timeout_means": "refused"}, "rest", 2),
        # the pivot's timeout taken for refused, and for done
        ("P", {"timeout_means": "refused"}, "rest", 2),
        ("P", {"timeout_means": "done"}, "rest", 1),
        ("uP", {"timeout_means": "refused"}, "rest", 2),
        ("order", {"operators": "careless"}, "rest", 5),
        ("order", {"commits_first": False}, "order", 5),
        ("order", {"reads_before_timers": False}, "patience", 1),
        ("trip", {"participants": "forget-refusals"}, "rest", 3),
        ("trip", {"commits_first": False}, "order", 5),
    ],
)
def test_each_promise_that_is_switched_off_has_its_counterexample(
    saga: str, switched: dict[str, Any], law: Law, messages: int
) -> None:
    found = assuming(saga, **switched).counterexample
    assert found is not None
    assert (found.law, found.messages) == (law, messages)
    assert found.is_retold


def test_a_pivot_that_is_asked_about_holds_where_assuming_does_not() -> None:
    assert assuming("uP").is_ok
    found = assuming("uP", timeout_means="refused").counterexample
    assert found is not None


def test_the_counterexample_of_forgotten_refusals_is_told_message_by_message() -> None:
    found = assuming("order", participants="forget-refusals").counterexample
    assert found is not None
    assert found.words == (
        "OrderCreated starts the run → create.pending",
        "orders gets CreateOrder: refused, answers OrderRejected",
        "OrderRejected of create reaches the saga → rejected",
        "orders gets CreateOrder: done, answers OrderCreated",
    )
    assert "    saga->>p_orders: CreateOrder\n    Note over p_orders: refused\n" in found.sequence


def test_a_search_that_is_bounded_says_so() -> None:
    report = check(order_saga.definition, depth_max=4)
    assert report.is_ok
    assert not report.is_whole
    assert report.depth == 4


def test_progress_is_told_on_the_way() -> None:
    told: list[tuple[int, int]] = []
    check(COURSES["lanes"](), progress=lambda known, depth: told.append((known, depth)))
    assert told
    assert told == sorted(told)
