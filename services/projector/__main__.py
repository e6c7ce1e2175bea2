"""The projector as a process: `python -m services.projector`."""

from sagas.hosting import host_projection
from services.contracts import STREAM
from services.projector.projection import orders_view

if __name__ == "__main__":
    raise SystemExit(host_projection(orders_view, stream=STREAM))
