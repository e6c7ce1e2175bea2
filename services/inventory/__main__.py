"""The inventory service as a process: `python -m services.inventory`."""

from sagas.hosting import host_service
from services.contracts import STREAM
from services.inventory.handlers import inventory
from services.inventory.tables import MIGRATIONS

if __name__ == "__main__":
    raise SystemExit(host_service(inventory, MIGRATIONS, stream=STREAM))
