"""The four services withstand every attack that concerns them."""

import pytest

from sagas.testing.conformance import Row, Subject, conformance
from services.inventory.conformance import CONFORMANCE as INVENTORY
from services.orders.conformance import CONFORMANCE as ORDERS
from services.payments.conformance import CONFORMANCE as PAYMENTS
from services.shipping.conformance import CONFORMANCE as SHIPPING


@pytest.mark.parametrize(
    ("subject", "passed"),
    [(ORDERS, 14), (INVENTORY, 14), (PAYMENTS, 23), (SHIPPING, 6)],
    ids=["orders", "inventory", "payments", "shipping"],
)
def test_a_service_withstands_every_attack_that_concerns_it(subject: Subject, passed: int) -> None:
    report = conformance(subject.service, subject.migrations, subject.examples)
    report.assert_passed()
    # A line that silently stopped to concern it would pass as well.
    assert sum(row.outcome == "passed" for row in report.rows) == passed


def test_only_the_deadline_does_not_concern_a_service_whose_steps_can_be_undone() -> None:
    report = conformance(INVENTORY.service, INVENTORY.migrations, INVENTORY.examples)
    assert [row for row in report.rows if row.outcome != "passed"] == [
        Row("ReserveInventory", "expired command", "not applicable", "commands carry no deadline in their headers yet")
    ]
