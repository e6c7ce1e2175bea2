"""The shipping service as a process: `python -m services.shipping`."""

from sagas.hosting import host_service
from services.contracts import STREAM
from services.shipping.handlers import shipping
from services.shipping.tables import MIGRATIONS

if __name__ == "__main__":
    raise SystemExit(host_service(shipping, MIGRATIONS, stream=STREAM))
