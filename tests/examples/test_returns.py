"""Stories of goods that are sent back."""

from examples.returns import messages as m
from examples.returns.refund import Return
from examples.returns.saga import MONTH_S, return_saga
from sagas.testing import Scenario


def labelled() -> "Scenario[Return]":
    story = Scenario(return_saga).start_event(m.ReturnAsked(return_id="r-1", cents=5_000))
    story.expect(m.IssueLabel).reply(m.LabelIssued(return_id="r-1"))
    return story


def test_a_parcel_that_never_comes_makes_the_label_worthless() -> None:
    story = labelled().after(seconds=MONTH_S + 1)
    story.expect(m.VoidLabel).reply(m.LabelVoided(return_id="r-1"))
    story.expect_compensated()


def test_goods_as_new_are_sold_again_and_refunded() -> None:
    story = labelled().signal(m.ParcelArrived(return_id="r-1"))
    story.expect(m.InspectGoods).reply(m.AsNew(return_id="r-1"))
    story.expect(m.RestockGoods).reply(m.GoodsRestocked(return_id="r-1"))
    story.expect(m.ChargeFee).reply(m.FeeCharged(return_id="r-1"))
    story.expect(m.ReturnMoney).reply(m.MoneyReturned(return_id="r-1"))
    story.expect_completed()


def test_damaged_goods_are_refunded_and_not_put_back() -> None:
    story = labelled().signal(m.ParcelArrived(return_id="r-1"))
    story.expect(m.InspectGoods).reply(m.Damaged(return_id="r-1"))
    story.expect(m.ChargeFee).reply(m.FeeCharged(return_id="r-1"))
    story.expect(m.ReturnMoney).reply(m.MoneyReturned(return_id="r-1"))
    story.expect_completed()


def test_money_that_cannot_be_returned_undoes_the_part_and_the_saga_around_it() -> None:
    story = labelled().signal(m.ParcelArrived(return_id="r-1"))
    story.expect(m.InspectGoods).reply(m.AsNew(return_id="r-1"))
    story.expect(m.RestockGoods).reply(m.GoodsRestocked(return_id="r-1"))
    story.expect(m.ChargeFee).reply(m.FeeCharged(return_id="r-1"))
    story.expect(m.ReturnMoney).reply(m.ReturnFailed(return_id="r-1", reason="card closed"))
    story.expect(m.WaiveFee).reply(m.FeeWaived(return_id="r-1"))
    story.expect(m.TakeOutGoods).reply(m.GoodsTakenOut(return_id="r-1"))
    story.expect(m.VoidLabel).reply(m.LabelVoided(return_id="r-1"))
    story.expect_compensated(cause="card closed")
