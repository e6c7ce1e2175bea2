"""`POST /orders`: place an order, once for each Idempotency-Key."""

import re
from http import HTTPStatus

import anyio
from starlette.requests import Request
from starlette.responses import Response

from services.storefront import desk
from services.storefront.desk import Conflict
from services.storefront.limits import TokenBucket
from services.storefront.parts import Parts
from services.storefront.problem import Problem, answer, problem
from services.storefront.shapes import PlaceOrder, links_of
from services.storefront.tables import Placement
from services.storefront.violations import read_body

KEY_HEADER = "Idempotency-Key"
KEY_LENGTH_MAX = 128

BODY_BYTES_MAX = 64 * 1024
"""Of an order: a hundred items take 8 KiB."""

BODY_S_MAX = 10.0
"""For a body to arrive: whoever sends a byte now and then must not hold a connection for ever."""

_KEY = re.compile(rf"\A[!-~]{{1,{KEY_LENGTH_MAX}}}\Z")


async def place_order(parts: Parts, request: Request) -> Response:
    """Place an order: 202 with its address, the same for the same key and request."""
    refused = too_many(parts.writing, parts)
    if refused is not None:
        return refused
    key = _key_of(request)
    if isinstance(key, Problem):
        return answer(key)
    body = await _body_of(request)
    if isinstance(body, Problem):
        return answer(body)
    wanted = read_body(body, PlaceOrder)
    if isinstance(wanted, str):
        return answer(problem(HTTPStatus.BAD_REQUEST, wanted))
    if isinstance(wanted, tuple):
        return answer(problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the order cannot be taken as it is", wanted))
    outcome = await parts.offload(desk.place, parts.store, key, wanted, parts.clock.now_ms(), parts.topic)
    match outcome:
        case Placement():
            parts.wake()
            headers = {"Location": links_of(outcome.order_id).self}
            return Response(outcome.answer, HTTPStatus.ACCEPTED.value, headers, "application/json")
        case Conflict(order_id=order_id):
            told = f"{KEY_HEADER} {key!r} has placed another order ({order_id}); use a new key for a new order"
            return answer(problem(HTTPStatus.CONFLICT, told))
        case errors:
            return answer(problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the order cannot be taken as it is", errors))


def too_many(bucket: TokenBucket, parts: Parts) -> Response | None:
    """The answer 429 when the bucket is empty, None when the request may go on."""
    wait_s = bucket.take(parts.clock.now_ms())
    if not wait_s:
        return None
    told = f"too many requests; come again in {wait_s} s"
    return answer(problem(HTTPStatus.TOO_MANY_REQUESTS, told), {"Retry-After": str(wait_s)})


def _key_of(request: Request) -> str | Problem:
    # The header's draft standard writes the key as a quoted string; most clients do not.
    key = request.headers.get(KEY_HEADER, "")
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if _KEY.match(key):
        return key
    expected = f"1 to {KEY_LENGTH_MAX} visible ASCII characters, such as a UUID, the same when the request is repeated"
    told = f"the header {KEY_HEADER} is {'not as expected' if key else 'missing'}; expected {expected}"
    return problem(HTTPStatus.BAD_REQUEST, told)


async def _body_of(request: Request) -> bytes | Problem:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        told = f"Content-Type is {media_type[:80]!r}; expected application/json"
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, told)
    body = bytearray()
    with anyio.move_on_after(BODY_S_MAX):
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                told = f"the body is too long; at most {BODY_BYTES_MAX} bytes are read"
                return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, told)
        return bytes(body)
    return problem(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_S_MAX:.0f} s")
