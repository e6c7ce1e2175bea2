"""What two banks and their screening say to each other about a transfer."""

from sagas import Command, Event, Key, Participant, Rejection, Text

SENDER = Participant("sender-bank", key="transfer_id")
SCREENING = Participant("screening", key="transfer_id")
RECEIVER = Participant("receiver-bank", key="transfer_id")


class TransferAsked(Event, tag="transfer.asked"):
    """Somebody wants to send money."""

    transfer_id: Key
    cents: int
    source: Key
    target: Key


class MoneyHeld(Event, tag="money.held"):
    """The amount is set aside; nobody else can spend it."""

    transfer_id: Key


class HoldRefused(Rejection, tag="money.hold-refused"):
    """There is not enough on the account."""

    transfer_id: Key
    reason: Text


class HoldMoney(Command[MoneyHeld | HoldRefused], tag="money.hold"):
    """Set the amount aside."""

    transfer_id: Key
    account: Key
    cents: int


class HoldReleased(Event, tag="money.hold-released"):
    """The amount can be spent again."""

    transfer_id: Key


class ReleaseHold(Command[HoldReleased], tag="money.release-hold"):
    """Give the amount back to its owner."""

    transfer_id: Key


class TransferCleared(Event, tag="transfer.cleared"):
    """Nothing speaks against it."""

    transfer_id: Key


class TransferSuspicious(Rejection, tag="transfer.suspicious"):
    """It must not be carried out."""

    transfer_id: Key
    reason: Text


class ScreenTransfer(Command[TransferCleared | TransferSuspicious], tag="transfer.screen"):
    """Look at sender, receiver and amount."""

    transfer_id: Key
    source: Key
    target: Key
    cents: int


class MoneyCredited(Event, tag="money.credited"):
    """The receiver has the money; it cannot be taken back."""

    transfer_id: Key


class CreditRefused(Rejection, tag="money.credit-refused"):
    """There is no such account."""

    transfer_id: Key
    reason: Text


class CreditMoney(Command[MoneyCredited | CreditRefused], tag="money.credit"):
    """Give the receiver the money."""

    transfer_id: Key
    account: Key
    cents: int


class HoldSettled(Event, tag="money.hold-settled"):
    """The amount that was set aside has left the account."""

    transfer_id: Key


class SettleHold(Command[HoldSettled], tag="money.settle-hold"):
    """Take what was set aside off the account."""

    transfer_id: Key
