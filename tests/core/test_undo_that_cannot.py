"""An undo may say that it cannot be: the run is stuck, with its ways out."""

import msgspec

from sagas import CannotUndo, Command, Event, Participant, Rejection, Retry, Saga, unchanged
from sagas.testing import Scenario

SHOP = Participant("shop", key="order_id")


class Ordered(Event, tag="ordered"):
    order_id: str


class VoucherSold(Event, tag="voucher.sold"):
    order_id: str


class SellVoucher(Command[VoucherSold], tag="voucher.sell"):
    order_id: str


class VoucherVoided(Event, tag="voucher.voided"):
    order_id: str


class VoidVoucher(Command[VoucherVoided | CannotUndo], tag="voucher.void"):
    order_id: str


class Paid(Event, tag="paid"):
    order_id: str


class Declined(Rejection, tag="declined"):
    order_id: str


class Pay(Command[Paid | Declined], tag="pay"):
    order_id: str


class Order(msgspec.Struct, frozen=True):
    order_id: str


order_saga = Saga("order", Order, version=1)


@order_saga.start(on=SHOP)
def begin(event: Ordered) -> Order:
    return Order(event.order_id)


@order_saga.step(to=SHOP, timeout=30, unknown="undo", undo_retry=Retry(attempts_max=3))
def voucher(order: Order) -> SellVoucher:
    return SellVoucher(order_id=order.order_id)


@voucher.undo
def _(order: Order) -> VoidVoucher:
    return VoidVoucher(order_id=order.order_id)


@order_saga.pivot(to=SHOP, timeout=30, unknown="ask")
def pay(order: Order) -> Pay:
    return Pay(order_id=order.order_id)


voucher.reply(unchanged)
pay.reply(unchanged)
order_saga.flow(voucher >> pay)


def turning_back() -> Scenario[Order]:
    story = Scenario(order_saga).start_event(Ordered(order_id="o-1"))
    story.expect(SellVoucher).reply(VoucherSold(order_id="o-1"))
    story.expect(Pay).reply(Declined(order_id="o-1"))
    return story


def test_an_undo_that_says_it_cannot_be_leaves_the_run_stuck_with_the_reason() -> None:
    story = turning_back()
    story.expect(VoidVoucher).reply(CannotUndo(reason="the voucher is spent"))
    story.expect_stuck("its undo was refused: CannotUndo (the voucher is spent)")


def test_an_undo_that_fails_as_often_as_its_policy_allows_leaves_the_run_stuck() -> None:
    story = turning_back()
    for _ in range(2):
        story.expect(VoidVoucher).fault("down")
        story.after(seconds=10)
    story.expect(VoidVoucher).fault("down")
    story.expect_stuck("its undo failed 3 times: down")


def test_an_undo_that_is_answered_after_all_frees_the_run_and_says_so() -> None:
    story = turning_back()
    undo = story.expect(VoidVoucher)
    undo.reply(CannotUndo(reason="the voucher is spent"))
    undo.reply(VoucherVoided(order_id="o-1"))
    story.expect_compensated(cause="Declined")
    assert story.journal[-1].note == "voucher: VoucherVoided came after all, and the run goes on"
    assert story.undrawn == []


def test_an_undo_that_is_refused_once_more_leaves_the_run_stuck() -> None:
    story = turning_back()
    undo = story.expect(VoidVoucher)
    undo.reply(CannotUndo(reason="the voucher is spent"))
    undo.reply(CannotUndo(reason="the voucher is spent"))
    story.expect_stuck("the voucher is spent")


def test_the_answer_to_an_undo_frees_no_run_that_was_abandoned_over_it() -> None:
    story = turning_back()
    undo = story.expect(VoidVoucher)
    undo.reply(CannotUndo(reason="the voucher is spent"))
    story.operate("abandon")
    undo.reply(VoucherVoided(order_id="o-1"))
    assert story.state == "abandoned"
