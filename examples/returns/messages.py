"""What is said about goods that a customer sends back."""

from sagas import Command, Event, Key, Participant, Rejection, Text

SHOP = Participant("shop", key="return_id")
WAREHOUSE = Participant("warehouse", key="return_id")
PAYMENTS = Participant("payments", key="return_id")


class ReturnAsked(Event, tag="return.asked"):
    """A customer wants to send something back."""

    return_id: Key
    cents: int


class LabelIssued(Event, tag="label.issued"):
    """The customer can send it."""

    return_id: Key


class LabelRefused(Rejection, tag="label.refused"):
    """It is too late to send it back."""

    return_id: Key
    reason: Text


class IssueLabel(Command[LabelIssued | LabelRefused], tag="label.issue"):
    """Let the customer send it."""

    return_id: Key


class LabelVoided(Event, tag="label.voided"):
    """The label is worth nothing."""

    return_id: Key


class VoidLabel(Command[LabelVoided], tag="label.void"):
    """Take the label back."""

    return_id: Key


class ParcelArrived(Event, tag="parcel.arrived"):
    """The goods are here."""

    return_id: Key


class AsNew(Event, tag="goods.as-new"):
    """The goods can be sold again."""

    return_id: Key


class Damaged(Event, tag="goods.damaged"):
    """The goods cannot be sold again."""

    return_id: Key


class NotOurs(Rejection, tag="goods.not-ours"):
    """Something else was sent."""

    return_id: Key
    reason: Text


class InspectGoods(Command[AsNew | Damaged | NotOurs], tag="goods.inspect"):
    """Look at what came."""

    return_id: Key


class GoodsRestocked(Event, tag="goods.restocked"):
    """They are on the shelf."""

    return_id: Key


class RestockGoods(Command[GoodsRestocked], tag="goods.restock"):
    """Put them on the shelf."""

    return_id: Key


class GoodsTakenOut(Event, tag="goods.taken-out"):
    """They are off the shelf."""

    return_id: Key


class TakeOutGoods(Command[GoodsTakenOut], tag="goods.take-out"):
    """Take them off the shelf."""

    return_id: Key


class FeeCharged(Event, tag="fee.charged"):
    """The fee for the handling is noted."""

    return_id: Key


class ChargeFee(Command[FeeCharged], tag="fee.charge"):
    """Note the fee for the handling."""

    return_id: Key


class FeeWaived(Event, tag="fee.waived"):
    """There is no fee."""

    return_id: Key


class WaiveFee(Command[FeeWaived], tag="fee.waive"):
    """Take the fee back."""

    return_id: Key


class MoneyReturned(Event, tag="money.returned"):
    """The customer has the money."""

    return_id: Key


class ReturnFailed(Rejection, tag="money.return-failed"):
    """The card takes no money back."""

    return_id: Key
    reason: Text


class ReturnMoney(Command[MoneyReturned | ReturnFailed], tag="money.return"):
    """Give the money back."""

    return_id: Key
    cents: int
