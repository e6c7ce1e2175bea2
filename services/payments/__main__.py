"""The payments service as a process: `python -m services.payments`."""

from sagas.hosting import host_service
from services.contracts import STREAM
from services.payments.handlers import payments
from services.payments.tables import MIGRATIONS

if __name__ == "__main__":
    raise SystemExit(host_service(payments, MIGRATIONS, stream=STREAM))
