"""Stories of a renewal: who has to agree, when it is charged, and what silence means."""

from examples.subscription_renewal import messages as m
from examples.subscription_renewal.saga import DAY_S, renewal_saga
from sagas.testing import Scenario

DUE = m.RenewalDue(subscription_id="s-1", cents=90_00, days_left=10)


def priced(cents: int) -> "Scenario[m.Renewal]":
    story = Scenario(renewal_saga).start_event(DUE)
    story.expect(m.PriceRenewal).reply(m.RenewalPriced(subscription_id="s-1", cents=cents))
    return story


def test_a_cheap_renewal_needs_nobody_and_is_charged_on_the_last_day() -> None:
    story = priced(100_00)
    story.after(seconds=10 * DAY_S - 1).expect_nothing()
    story.after(seconds=2)
    story.expect(m.ChargeRenewal(subscription_id="s-1", cents=100_00)).reply(m.RenewalCharged(subscription_id="s-1"))
    story.expect(m.ExtendTerm).reply(m.TermExtended(subscription_id="s-1"))
    story.expect_completed()


def test_a_dear_renewal_that_nobody_approves_in_a_week_is_not_charged() -> None:
    story = priced(2_000_00)
    assert story.state == "approval.waiting"
    story.after(seconds=7 * DAY_S + 1).expect_nothing()
    story.expect_rejected()


def test_a_charge_that_fails_extends_nothing() -> None:
    story = priced(100_00).after(seconds=10 * DAY_S + 1)
    story.expect(m.ChargeRenewal).reply(m.RenewalChargeFailed(subscription_id="s-1", reason="declined"))
    story.expect_rejected(cause="declined")


def test_a_dear_renewal_is_charged_once_a_manager_agrees() -> None:
    story = priced(2_000_00).signal(m.RenewalApproved(subscription_id="s-1", manager="bob"))
    assert story.data.manager == "bob"
    story.after(seconds=10 * DAY_S + 1)
    story.expect(m.ChargeRenewal).reply(m.RenewalCharged(subscription_id="s-1"))
    story.expect(m.ExtendTerm).reply(m.TermExtended(subscription_id="s-1"))
    story.expect_completed()


def test_a_manager_who_denies_turns_it_back() -> None:
    story = priced(2_000_00).signal(m.RenewalDenied(subscription_id="s-1", reason="too dear"))
    story.expect_nothing().expect_rejected(cause="too dear")
