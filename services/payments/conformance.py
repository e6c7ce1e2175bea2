"""What the payments service is attacked with: `sagas conformance services.payments`."""

from sagas.testing.conformance import Example, Subject
from services.contracts import ProcessPayment, RefundPayment
from services.payments.handlers import payments
from services.payments.rules import DECLINED, SILENT
from services.payments.tables import MIGRATIONS

_UNDO = RefundPayment(order_id="o-1")
_REFUSED = ProcessPayment(order_id="o-1", amount="59.98", card=DECLINED)

CONFORMANCE = Subject(
    payments,
    MIGRATIONS,
    [
        Example(ProcessPayment(order_id="o-1", amount="59.98", card="card-ok"), undo=_UNDO, refused=_REFUSED),
        Example(
            ProcessPayment(order_id="o-1", amount="59.98", card=SILENT),
            undo=_UNDO,
            refused=_REFUSED,
            name="the bank is silent",
        ),
    ],
)
