"""What is said about the renewal of a subscription."""

import msgspec

from sagas import Command, Event, Key, Participant, Rejection, Text

ACCOUNTS = Participant("accounts", key="subscription_id")
MANAGERS = Participant("managers", key="subscription_id")
BILLING = Participant("billing", key="subscription_id")


class RenewalDue(Event, tag="renewal.due"):
    """A subscription ends in so many days."""

    subscription_id: Key
    cents: int
    days_left: int


class RenewalPriced(Event, tag="renewal.priced"):
    """The price that holds for the next term."""

    subscription_id: Key
    cents: int


class RenewalRefused(Rejection, tag="renewal.refused"):
    """It is not sold any more."""

    subscription_id: Key
    reason: Text


class PriceRenewal(Command[RenewalPriced | RenewalRefused], tag="renewal.price"):
    """Ask for the price of the next term."""

    subscription_id: Key


class RenewalApproved(Event, tag="renewal.approved"):
    """A manager agrees."""

    subscription_id: Key
    manager: Key


class RenewalDenied(Rejection, tag="renewal.denied"):
    """A manager does not agree."""

    subscription_id: Key
    reason: Text


class RenewalCharged(Event, tag="renewal.charged"):
    """The next term is paid."""

    subscription_id: Key


class RenewalChargeFailed(Rejection, tag="renewal.charge-failed"):
    """It cannot be charged."""

    subscription_id: Key
    reason: Text


class ChargeRenewal(Command[RenewalCharged | RenewalChargeFailed], tag="renewal.charge"):
    """Charge the next term."""

    subscription_id: Key
    cents: int


class TermExtended(Event, tag="term.extended"):
    """The next term has begun."""

    subscription_id: Key


class ExtendTerm(Command[TermExtended], tag="term.extend"):
    """Begin the next term."""

    subscription_id: Key


class Renewal(msgspec.Struct, frozen=True):
    """What the saga remembers of a renewal."""

    subscription_id: str
    cents: int
    days_left: int
    manager: str = ""
