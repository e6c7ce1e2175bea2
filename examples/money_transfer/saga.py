"""Money between two banks: hold it, screen the transfer, credit the receiver, settle the hold.

Nothing is taken from the sender before the receiver has it: crediting decides, and what follows cannot be refused.
"""

import msgspec

from examples.money_transfer import messages as m
from sagas import Saga, unchanged


class Transfer(msgspec.Struct, frozen=True):
    """What the saga remembers of a transfer."""

    transfer_id: str
    cents: int
    source: str
    target: str


transfer_saga = Saga("transfer", Transfer, version=1, deadline=120)


@transfer_saga.start(on=m.SENDER)
def begin(event: m.TransferAsked) -> Transfer:
    return Transfer(event.transfer_id, event.cents, event.source, event.target)


@transfer_saga.step(to=m.SENDER, timeout=10, unknown="undo")
def hold(transfer: Transfer) -> m.HoldMoney:
    return m.HoldMoney(transfer_id=transfer.transfer_id, account=transfer.source, cents=transfer.cents)


@hold.undo
def _(transfer: Transfer) -> m.ReleaseHold:
    return m.ReleaseHold(transfer_id=transfer.transfer_id)


@transfer_saga.step(to=m.SCREENING, timeout=60, unknown="undo", leaves_nothing=True)
def screen(t: Transfer) -> m.ScreenTransfer:
    return m.ScreenTransfer(transfer_id=t.transfer_id, source=t.source, target=t.target, cents=t.cents)


@transfer_saga.pivot(to=m.RECEIVER, timeout=30, unknown="ask")
def credit(transfer: Transfer) -> m.CreditMoney:
    return m.CreditMoney(transfer_id=transfer.transfer_id, account=transfer.target, cents=transfer.cents)


@transfer_saga.retriable(to=m.SENDER, timeout=10)
def settle(transfer: Transfer) -> m.SettleHold:
    return m.SettleHold(transfer_id=transfer.transfer_id)


hold.reply(unchanged)
screen.reply(unchanged)
credit.reply(unchanged)
settle.reply(unchanged)
transfer_saga.flow(hold >> screen >> credit >> settle)
