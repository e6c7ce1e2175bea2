"""`/health/live` and `/health/ready`: is the process there, and can it do its work?"""

from http import HTTPStatus

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sagas.errors import SagaError
from sagas.ports import ParticipantStore
from services.storefront.parts import Parts
from services.storefront.shapes import Health

CHECK_S_MAX = 1.5
"""For each part to answer: whoever asks usually waits 2 or 3 s, and asks again soon."""

_OK = "ok"


async def live(parts: Parts, request: Request) -> Response:
    """That the process runs; what it depends on is asked elsewhere, for starting it anew would not mend that."""
    return _answer(Health(status="ok"))


async def ready(parts: Parts, request: Request) -> Response:
    """Whether orders can be taken and go out: 503 while the database or the broker cannot be had."""
    checks = {"database": await _database(parts), "broker": await _broker(parts)}
    is_ready = set(checks.values()) == {_OK} and not parts.stop.is_set()
    return _answer(Health(status="ok" if is_ready else "failing", checks=checks))


async def _database(parts: Parts) -> str:
    with anyio.move_on_after(CHECK_S_MAX):
        try:
            await parts.offload(_touch, parts.store)
        except SagaError as error:
            return str(error)
        return _OK
    return f"no answer within {CHECK_S_MAX} s"


async def _broker(parts: Parts) -> str:
    with anyio.move_on_after(CHECK_S_MAX):
        try:
            # Nothing to have there but the stream: one short request.
            await parts.broker.ensure([])
        except SagaError as error:
            return str(error)
        return _OK
    return f"no answer within {CHECK_S_MAX} s"


def _touch(store: ParticipantStore) -> None:
    # A transaction takes the write lock: a file that can only be read is not ready.
    with store.transaction() as transaction:
        transaction.sql.execute("SELECT 1")


def _answer(health: Health) -> Response:
    status = HTTPStatus.OK if health.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(
        msgspec.json.encode(health), status.value, {"Cache-Control": "no-store"}, media_type="application/json"
    )
