"""The orders service as a process: `python -m services.orders`."""

from sagas.hosting import host_service
from services.contracts import STREAM
from services.orders.handlers import orders
from services.orders.tables import MIGRATIONS

if __name__ == "__main__":
    raise SystemExit(host_service(orders, MIGRATIONS, stream=STREAM))
