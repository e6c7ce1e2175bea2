"""The renewal of a subscription: priced, approved by a manager if it is dear, charged on the day it ends.

Nobody agreeing in a week means no; nothing has been charged by then.
"""

import msgspec

from examples.subscription_renewal import messages as m
from sagas import Saga, unchanged

DAY_S = 86_400

renewal_saga = Saga("renewal", m.Renewal, version=1, key="subscription_id")


@renewal_saga.start(on=m.ACCOUNTS)
def begin(event: m.RenewalDue) -> m.Renewal:
    return m.Renewal(event.subscription_id, event.cents, event.days_left)


@renewal_saga.step(to=m.BILLING, timeout=60, unknown="undo", leaves_nothing=True)
def price(renewal: m.Renewal) -> m.PriceRenewal:
    return m.PriceRenewal(subscription_id=renewal.subscription_id)


@price.reply
def _(renewal: m.Renewal, reply: m.RenewalPriced | m.RenewalRefused) -> m.Renewal:
    return msgspec.structs.replace(renewal, cents=reply.cents) if isinstance(reply, m.RenewalPriced) else renewal


def is_dear(renewal: m.Renewal) -> bool:
    """Whether a manager has to agree."""
    return renewal.cents > 1_000_00


@renewal_saga.wait(on=m.MANAGERS, timeout=7 * DAY_S, absence="refusal")
def approval(renewal: m.Renewal, said: m.RenewalApproved | m.RenewalDenied) -> m.Renewal:
    return msgspec.structs.replace(renewal, manager=said.manager) if isinstance(said, m.RenewalApproved) else renewal


@renewal_saga.delay
def last_day(renewal: m.Renewal) -> float:
    return renewal.days_left * DAY_S


@renewal_saga.pivot(to=m.BILLING, timeout=300, unknown="ask")
def charge(renewal: m.Renewal) -> m.ChargeRenewal:
    return m.ChargeRenewal(subscription_id=renewal.subscription_id, cents=renewal.cents)


@renewal_saga.retriable(to=m.ACCOUNTS, timeout=60)
def extend(renewal: m.Renewal) -> m.ExtendTerm:
    return m.ExtendTerm(subscription_id=renewal.subscription_id)


charge.reply(unchanged)
extend.reply(unchanged)
renewal_saga.flow(price >> renewal_saga.when(is_dear, approval) >> last_day >> charge >> extend)
