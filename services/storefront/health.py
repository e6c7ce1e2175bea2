"""`/health/live` and `/health/ready`: is the process there, and can it do its work?"""

import logging
from http import HTTPStatus

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sagas.errors import SagaError
from services.storefront.parts import Parts
from services.storefront.probe import CHECK_MS_MAX, OK
from services.storefront.shapes import Health

_log = logging.getLogger("storefront")


async def live(parts: Parts, request: Request) -> Response:
    """That the process runs; what it depends on is asked elsewhere, for starting it anew would not mend that."""
    return _answer(Health(status="ok"))


async def ready(parts: Parts, request: Request) -> Response:
    """Whether orders can be taken and go out: 503 while the database or the broker cannot be had."""
    checks = {"database": await parts.probe.ask(), "broker": await _broker(parts)}
    is_ready = set(checks.values()) == {OK} and not parts.stop.is_set()
    return _answer(Health(status="ok" if is_ready else "failing", checks=checks))


async def _broker(parts: Parts) -> str:
    with anyio.move_on_after(CHECK_MS_MAX / 1000):
        try:
            # Nothing to have there but the stream: one short request.
            await parts.broker.ensure([])
        except SagaError as error:
            # Where the broker is, and what it said, is nobody's business who asks here.
            _log.debug("the broker cannot be reached: %s", error)
            return "cannot be reached"
        return OK
    return f"no answer within {CHECK_MS_MAX / 1000} s"


def _answer(health: Health) -> Response:
    status = HTTPStatus.OK if health.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(
        msgspec.json.encode(health), status.value, {"Cache-Control": "no-store"}, media_type="application/json"
    )
