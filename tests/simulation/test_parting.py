"""A subject that is not repeatable is told where its runs parted, and what to look for."""

import itertools
import logging
from collections.abc import Iterator

import msgspec
import pytest

from sagas import Command, Event, Participant, Saga, unchanged
from sagas.ports import Sql
from sagas.runtime.participant import Service
from sagas.testing.simulation import Subject
from sagas.testing.simulation.campaign import Tally, run_seed

BANK = Participant("bank", key="bill_id")

_drawn = itertools.count()


class BillCame(Event, tag="bill.came"):
    bill_id: str


class Paid(Event, tag="bill.paid"):
    bill_id: str
    number: int


class Pay(Command[Paid], tag="bill.pay"):
    bill_id: str


class Bill(msgspec.Struct, frozen=True):
    bill_id: str


bill_saga = Saga("bill", Bill, version=1)


@bill_saga.start(on=BANK)
def begin(event: BillCame) -> Bill:
    """Begin."""
    return Bill(event.bill_id)


@bill_saga.pivot(to=BANK, timeout=1, unknown="ask")
def pay(bill: Bill) -> Pay:
    """Pay."""
    return Pay(bill_id=bill.bill_id)


pay.reply(unchanged)
bill_saga.flow(pay)
bank = Service(BANK)


@bank.handles
def pay_out(sql: Sql, command: Pay) -> Paid:
    """What no handler may do: it keeps something in a variable, as one that reads a clock would."""
    return Paid(bill_id=command.bill_id, number=next(_drawn))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_runs_of_one_seed_that_part_are_told_where_and_why() -> None:
    subject = Subject(
        name="bills",
        definitions=[bill_saga.definition],
        services={bank: ()},
        workload=lambda seed: [BillCame(bill_id="b-1")],
    )
    tally = Tally()
    run_seed(subject, 0, tally, modes=[True])
    (failure,) = tally.failures
    (said,) = failure.violations
    assert said.startswith("repeatable: the same seed went another way the second time: at ")
    assert "bank published" in said
    assert '"event_type":"bill.paid"' in said
    assert "reads a clock, draws by chance or keeps something in a variable" in said
