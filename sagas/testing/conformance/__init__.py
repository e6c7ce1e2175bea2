"""Attacks a participant the way brokers, crashes and turning sagas do, and says what it withstood.

    report = conformance(inventory, MIGRATIONS, [
        Example(ReserveInventory(order_id="o-1", items=…), undo=ReleaseInventory(order_id="o-1")),
    ])
    report.assert_passed()

Each attack gets a fresh database, a command delivered as the broker would, and a look at all of the
participant's own tables before and after; the kit's tables are left out, and no schema is assumed. So
anything that has `participant`, `command_tags` and `process` can be attacked, whether it is built on
the kit's `Service` or not.

A module that declares its examples as `CONFORMANCE = Subject(service, migrations, examples)` can be
attacked from the command line: `python -m sagas.testing.conformance package.module`.
"""

from sagas.testing.conformance.examples import Attackable, Example, Subject
from sagas.testing.conformance.loading import load_subject
from sagas.testing.conformance.report import Outcome, Report, Row
from sagas.testing.conformance.run import conformance

__all__ = ["Attackable", "Example", "Outcome", "Report", "Row", "Subject", "conformance", "load_subject"]
