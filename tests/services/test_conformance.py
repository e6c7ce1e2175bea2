"""The four services withstand every attack that concerns them."""

import pytest

from sagas.testing.conformance import Subject, conformance
from services.inventory.conformance import CONFORMANCE as INVENTORY
from services.orders.conformance import CONFORMANCE as ORDERS
from services.payments.conformance import CONFORMANCE as PAYMENTS
from services.shipping.conformance import CONFORMANCE as SHIPPING


@pytest.mark.parametrize(
    ("subject", "passed"),
    [(ORDERS, 15), (INVENTORY, 15), (PAYMENTS, 25), (SHIPPING, 7)],
    ids=["orders", "inventory", "payments", "shipping"],
)
def test_a_service_withstands_every_attack_that_concerns_it(subject: Subject, passed: int) -> None:
    report = conformance(subject.service, subject.migrations, subject.examples)
    report.assert_passed()
    # A line that silently stopped to concern it would pass as well.
    assert sum(row.outcome == "passed" for row in report.rows) == passed


def test_every_line_concerns_a_service_whose_steps_can_be_undone() -> None:
    report = conformance(INVENTORY.service, INVENTORY.migrations, INVENTORY.examples)
    assert [row for row in report.rows if row.outcome != "passed"] == []
