"""A refund: a fee for the handling, then the money back. A saga of its own, and a part of others."""

import msgspec

from examples.returns import messages as m
from sagas import Saga, unchanged


class Refund(msgspec.Struct, frozen=True):
    """What the saga remembers of a refund."""

    return_id: str
    cents: int


class Return(msgspec.Struct, frozen=True):
    """What the saga around it remembers of a return."""

    return_id: str
    cents: int
    refund: Refund | None = None


refund_saga = Saga("refund", Refund, version=1, key="return_id")


@refund_saga.start(on=m.PAYMENTS)
def begin(event: m.ReturnAsked) -> Refund:
    """Begin with what is asked back."""
    return Refund(event.return_id, event.cents)


@refund_saga.step(to=m.PAYMENTS, timeout=60, unknown="undo")
def fee(refund: Refund) -> m.ChargeFee:
    """Note the fee."""
    return m.ChargeFee(return_id=refund.return_id)


@fee.undo
def _(refund: Refund) -> m.WaiveFee:
    return m.WaiveFee(return_id=refund.return_id)


@refund_saga.pivot(to=m.PAYMENTS, timeout=60, unknown="ask")
def money(refund: Refund) -> m.ReturnMoney:
    """Give the money back."""
    return m.ReturnMoney(return_id=refund.return_id, cents=refund.cents)


fee.reply(unchanged)
money.reply(unchanged)
refund_saga.flow(fee >> money)
