"""Goods sent back: a label, the parcel, a look at it; what is as new goes on the shelf; then the refund, a saga too.

Nothing arriving in a month means no: the label is void. Goods that are not ours turn the run back as well.
"""

from examples.returns import messages as m
from examples.returns.refund import Refund, Return, refund_saga
from sagas import Saga, unchanged

MONTH_S = 30 * 86_400

return_saga = Saga("return", Return, version=1, key="return_id")


@return_saga.start(on=m.SHOP)
def begin(event: m.ReturnAsked) -> Return:
    return Return(event.return_id, event.cents)


@return_saga.step(to=m.SHOP, timeout=60, unknown="undo")
def label(goods: Return) -> m.IssueLabel:
    return m.IssueLabel(return_id=goods.return_id)


@label.undo
def _(goods: Return) -> m.VoidLabel:
    return m.VoidLabel(return_id=goods.return_id)


@return_saga.wait(on=m.WAREHOUSE, timeout=MONTH_S, absence="refusal")
def parcel(goods: Return, signal: m.ParcelArrived) -> Return:
    return goods


@return_saga.step(to=m.WAREHOUSE, timeout=86_400, unknown="undo", leaves_nothing=True)
def inspect(goods: Return) -> m.InspectGoods:
    return m.InspectGoods(return_id=goods.return_id)


@return_saga.step(to=m.WAREHOUSE, timeout=3_600, unknown="undo")
def restock(goods: Return) -> m.RestockGoods:
    return m.RestockGoods(return_id=goods.return_id)


@restock.undo
def _(goods: Return) -> m.TakeOutGoods:
    return m.TakeOutGoods(return_id=goods.return_id)


@return_saga.part(refund_saga)
def refund(goods: Return) -> Refund:
    return Refund(goods.return_id, goods.cents)


label.reply(unchanged)
inspect.reply(unchanged)
restock.reply(unchanged)
return_saga.flow(label >> parcel >> inspect.on(m.AsNew, restock) >> refund)
