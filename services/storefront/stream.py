"""`GET /orders/{order_id}/events`: what happens to an order, as server-sent events.

Theory of operation. An event's id is the number of its entry in the saga's journal, so it is the same for ever, also
after the read model was rebuilt. A client that comes again says the last id it saw (`Last-Event-ID`) and is told what
came after it, then what comes. Silence is broken by a comment now and then, so that neither side takes the other for
dead. The stream ends once the saga has ended, with an event `end`; a browser that comes again after that is answered
204, which tells it to stop. So many streams are served at once and no more: the rest is asked to come later.
"""

import re
from collections.abc import AsyncGenerator
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.readmodel.reader import Reader
from services.readmodel.steps import steps_of
from services.readmodel.tables import ENDS, EntryRow, OrderRow
from services.storefront.orders_api import too_many
from services.storefront.parts import Parts
from services.storefront.problem import answer, problem
from services.storefront.queries import accepted, moment, step_shown
from services.storefront.shapes import OrderEvent

HEARTBEAT_MS = 15_000
RETRY_MS = 1_000
"""After which a browser comes again when a stream breaks off."""

STREAM_MS_MAX = 3_600_000
"""After which a client has to come again: nobody keeps a place for ever."""

BUSY_RETRY_S = 5

_NUMBER = re.compile(r"\A[0-9]{1,12}\Z")


async def stream_events(parts: Parts, request: Request) -> Response:
    """The events of an order, from behind the last one that the client has seen."""
    refused = too_many(parts.reading, parts)
    if refused is not None:
        return refused
    order_id = request.path_params["order_id"]
    said = request.headers.get("Last-Event-ID", "")
    seen = int(said) if _NUMBER.match(said) else 0
    row, _ = await parts.looking(_look, parts.reader, order_id)
    if row is None and await parts.offload(accepted, parts.store, order_id) is None:
        return answer(problem(HTTPStatus.NOT_FOUND, f"there is no order {order_id[:64]!r}"))
    if row is not None and row.state in ENDS and said and seen >= row.revision:
        return Response(status_code=HTTPStatus.NO_CONTENT.value)
    if parts.streams.is_full or parts.stop.is_set():
        told = "too many streams of events are open; come again, or ask for the order itself"
        return answer(problem(HTTPStatus.SERVICE_UNAVAILABLE, told), {"Retry-After": str(BUSY_RETRY_S)})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        # A stream without its events would keep its connection and its place until the saga has ended.
        only_headers = Response(headers=headers, media_type="text/event-stream")
        del only_headers.headers["Content-Length"]  # how much a stream will say nobody knows
        return only_headers
    return StreamingResponse(_events(parts, order_id, seen), media_type="text/event-stream", headers=headers)


async def _events(parts: Parts, order_id: str, seen: int) -> AsyncGenerator[bytes]:
    parts.streams.count += 1
    try:
        said_ms = parts.clock.now_ms()
        until_ms = said_ms + STREAM_MS_MAX
        yield f"retry: {RETRY_MS}\n\n".encode()
        while not parts.stop.is_set() and parts.clock.now_ms() < until_ms:
            change = parts.watch.next_change()
            row, entries = await parts.looking(_look, parts.reader, order_id)
            for event in _after(entries, seen):
                yield _told(event)
                seen, said_ms = event.event, parts.clock.now_ms()
            if row is not None and row.state in ENDS and seen >= row.revision:
                yield b"event: end\ndata: {}\n\n"
                return
            # Not since the last change: those of other orders break no silence here.
            silent_ms = parts.clock.now_ms() - said_ms
            if silent_ms >= HEARTBEAT_MS:
                yield b": still here\n\n"
                said_ms, silent_ms = parts.clock.now_ms(), 0
            await parts.watch.wait(change, parts.stop, HEARTBEAT_MS - silent_ms)
    finally:
        parts.streams.count -= 1


def _look(reader: Reader, order_id: str) -> tuple[OrderRow | None, list[EntryRow]]:
    # The row first: what is entered in between is told at the next look.
    row = reader.order(order_id)
    return row, [] if row is None else reader.entries(order_id)


def _after(entries: list[EntryRow], seen: int) -> list[OrderEvent]:
    return [
        OrderEvent(
            order_id=entry.order_id,
            event=entry.revision,
            at=moment(entry.at_ms),
            state=entry.state,
            cause=entry.cause,
            words=entry.words,
            steps=tuple(step_shown(step) for step in steps_of(entries[: number + 1])),
        )
        for number, entry in enumerate(entries)
        if entry.revision > seen
    ]


def _told(event: OrderEvent) -> bytes:
    # JSON has no line breaks in it: one line of data is enough.
    return b"id: %d\nevent: order\ndata: %s\n\n" % (event.event, msgspec.json.encode(event))
