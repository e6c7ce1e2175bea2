"""Stories of a transfer: the sender loses nothing that the receiver does not get."""

from examples.money_transfer import messages as m
from examples.money_transfer.saga import Transfer, transfer_saga
from sagas.testing import Scenario

ASKED = m.TransferAsked(transfer_id="t-1", cents=5_000, source="a-1", target="b-1")


def held() -> "Scenario[Transfer]":
    story = Scenario(transfer_saga).start_event(ASKED)
    story.expect(m.HoldMoney(transfer_id="t-1", account="a-1", cents=5_000)).reply(m.MoneyHeld(transfer_id="t-1"))
    return story


def test_a_transfer_that_nothing_speaks_against_is_carried_out() -> None:
    story = held()
    story.expect(m.ScreenTransfer).reply(m.TransferCleared(transfer_id="t-1"))
    story.expect(m.CreditMoney).to(m.RECEIVER).reply(m.MoneyCredited(transfer_id="t-1"))
    story.expect(m.SettleHold).to(m.SENDER).reply(m.HoldSettled(transfer_id="t-1"))
    story.expect_completed()


def test_a_suspicious_transfer_gives_the_money_free_again() -> None:
    story = held()
    story.expect(m.ScreenTransfer).reply(m.TransferSuspicious(transfer_id="t-1", reason="on a list"))
    story.expect(m.ReleaseHold).reply(m.HoldReleased(transfer_id="t-1"))
    story.expect_compensated(cause="on a list")


def test_a_credit_that_is_not_answered_is_asked_about_and_never_assumed() -> None:
    story = held()
    story.expect(m.ScreenTransfer).reply(m.TransferCleared(transfer_id="t-1"))
    asked = story.expect(m.CreditMoney)
    story.after(seconds=40)
    assert story.state == "credit.resolving"
    asked.reply(m.CreditRefused(transfer_id="t-1", reason="no such account"))
    story.expect(m.ReleaseHold).reply(m.HoldReleased(transfer_id="t-1"))
    story.expect_compensated(cause="no such account")


def test_settling_is_tried_for_as_long_as_it_takes() -> None:
    story = held()
    story.expect(m.ScreenTransfer).reply(m.TransferCleared(transfer_id="t-1"))
    story.expect(m.CreditMoney).reply(m.MoneyCredited(transfer_id="t-1"))
    settle = story.expect(m.SettleHold)
    story.after(seconds=86_400)
    settle.reply(m.HoldSettled(transfer_id="t-1"))
    story.expect_completed()


def test_an_empty_account_is_rejected_with_nothing_to_undo() -> None:
    story = Scenario(transfer_saga).start_event(ASKED)
    story.expect(m.HoldMoney).reply(m.HoldRefused(transfer_id="t-1", reason="not enough"))
    story.expect_rejected(cause="not enough")
