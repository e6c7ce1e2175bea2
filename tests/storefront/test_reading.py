"""Reading orders: one, a page of them, and what happens to one as it happens."""

from pathlib import Path
from urllib.parse import urlencode

import anyio
import msgspec
import pytest

from sagas.core.ids import timed_id
from sagas.ports import Incoming
from services.contracts import ORDERS
from services.storefront.stream import HEARTBEAT_MS
from services.storefront.watch import INTERVAL_MS
from tests.storefront.rig import NOW_MS, ORDER, Rig, opened
from tests.storefront.view import View, corpus, listening, of_order, turns

pytestmark = pytest.mark.anyio


async def test_an_order_is_found_at_once_though_the_projector_has_not_seen_it(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        placed = (await rig.post()).json()
        shown = (await rig.http.get(placed["links"]["self"])).json()

        assert (shown["order_id"], shown["state"], shown["total"]) == (placed["order_id"], "accepted", "59.98")
        assert (await rig.http.get("/orders")).json() == {"orders": [], "next": None}


async def test_an_order_is_shown_with_its_steps_its_items_and_why_it_turned_back(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(corpus())
        shown = (await rig.http.get("/orders/o-nowhere")).json()

        assert (shown["state"], shown["cause"]) == ("compensated", "address cannot be delivered to")
        assert shown["items"] == [{"product_id": "mug", "quantity": 2, "name": "Stoneware mug"}]
        assert [(step["step"], step["operation"]) for step in shown["steps"]][3:] == [
            ("ship", "do"),
            ("pay", "undo"),
            ("reserve", "undo"),
            ("create", "undo"),
        ]
        assert (await rig.http.get("/orders/o-none")).status_code == 404


async def test_pages_list_every_order_once_newest_first_and_by_state(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(corpus())
        seen: list[str] = []
        address: str | None = "/orders?limit=2"
        while address is not None:
            page = (await rig.http.get(address)).json()
            seen += [order["order_id"] for order in page["orders"]]
            address = page["next"]
        completed = (await rig.http.get("/orders?state=completed&limit=2")).json()
        rest = (await rig.http.get(completed["next"])).json()

        assert len(seen) == len(set(seen)) == 8
        assert [order["order_id"] for order in (*completed["orders"], *rest["orders"])] == [
            "o-fine-too",
            "o-fine",
            "o-again",
        ]
        assert rest["next"] is None


@pytest.mark.parametrize(
    ("name", "value"), [("state", "gone"), ("limit", "0"), ("limit", "101"), ("limit", "x"), ("after", "'; --")]
)
async def test_a_list_that_cannot_be_asked_for_is_refused_with_the_parameter(
    tmp_path: Path, name: str, value: str
) -> None:
    async with opened(Rig(tmp_path)) as rig:
        answer = await rig.http.get(f"/orders?{urlencode({name: value})}")

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, name)


async def test_a_rebuilt_read_model_is_read_as_soon_as_it_is_current(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        view = View(rig)
        view.fold(corpus())
        assert (await rig.http.get("/orders/o-fine")).json()["state"] == "completed"
        view.begin()
        assert (await rig.http.get("/orders/o-fine")).status_code == 404
        view.fold(corpus())
        assert (await rig.http.get("/orders/o-fine")).json()["state"] == "completed"


# --------------------------------------------------------------------------- the stream


async def test_a_stream_tells_what_happened_and_then_what_happens_until_the_saga_has_ended(tmp_path: Path) -> None:
    entries = of_order("o-declined", "event-store")
    async with opened(Rig(tmp_path)) as rig:
        view = View(rig)
        view.fold(entries[:2])
        async with listening(rig, "o-declined") as stream:
            assert [number for number, _ in stream.events] == ["1", "2"]
            for entry in entries[2:]:
                view.fold([entry])
                await turns(rig, INTERVAL_MS)
                assert stream.events[-2 if stream.has_ended else -1][1]["event"] >= 3

            assert [number for number, _ in stream.events] == [str(n) for n in range(1, len(entries) + 1)] + ["end"]
            assert stream.has_ended
            assert [event["state"] for _, event in stream.events[:-1]][-3:] == [
                "compensating",
                "compensating",
                "compensated",
            ]
        assert rig.parts.streams.count == 0


async def test_a_client_that_comes_again_is_told_what_it_has_not_seen(tmp_path: Path) -> None:
    entries = of_order("o-fine", "event-store")
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(entries)
        async with listening(rig, "o-fine", last="3") as stream:
            assert [number for number, _ in stream.events] == ["4", "5", "6", "end"]
        async with listening(rig, "o-fine", last="6") as stream:
            # 204 tells a browser not to come again.
            assert (stream.status, stream.text) == (204, "")
        async with listening(rig, "o-fine", last="what?") as stream:
            assert len(stream.events) == 7


async def test_silence_is_broken_now_and_then(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(of_order("o-fine", "event-store")[:1])
        async with listening(rig, "o-fine") as stream:
            before = stream.text
            await turns(rig, HEARTBEAT_MS)

            assert stream.text == before + ": still here\n\n"


async def test_a_stream_of_an_order_that_was_only_accepted_waits_for_its_saga(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        order_id = (await rig.post()).json()["order_id"]
        async with listening(rig, order_id) as stream:
            assert (stream.status, stream.events, stream.has_ended) == (200, [], False)
        async with listening(rig, "o-none") as stream:
            assert stream.status == 404


async def test_only_so_many_streams_are_open_and_one_that_is_left_makes_room(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(of_order("o-fine", "event-store")[:1])
        async with listening(rig, "o-fine") as first, listening(rig, "o-fine"):
            async with listening(rig, "o-fine") as third:
                assert third.status == 503
            first.leave()
            await turns(rig, 0)
            async with listening(rig, "o-fine") as fourth:
                assert fourth.status == 200


async def test_who_asks_for_a_streams_headers_alone_is_answered_and_holds_no_place(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(of_order("o-fine", "event-store")[:1])
        with anyio.fail_after(5):
            answer = await rig.http.head("/orders/o-fine/events")
            absent = await rig.http.head("/orders/o-none/events")

        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (answer.content, "content-length" in answer.headers) == (b"", False)
        assert (rig.parts.streams.count, absent.status_code) == (0, 404)


# What a client may say of the time, and what comes of it.
TIMES = {
    "2025-01-01T00:00:00Z": "2025-01-01T00:00:00Z",
    "1960-01-01T00:00:00Z": "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59.9995Z": "1970-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00": "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00": "9999-12-31T23:59:59Z",
}


async def test_a_time_that_a_client_made_up_keeps_no_order_and_no_page_from_being_read(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        view = View(rig)
        for number, said in enumerate(TIMES):
            view.fold([placed_at(said, number)])
        shown = [(await rig.http.get(f"/orders/o-{number}")).json()["placed_at"] for number in range(len(TIMES))]
        seen: list[str] = []
        address: str | None = "/orders?limit=1"
        while address is not None:
            page = (await rig.http.get(address)).json()
            seen += [order["order_id"] for order in page["orders"]]
            address = page["next"]

        assert [time.partition(".")[0].removesuffix("Z") + "Z" for time in shown] == list(TIMES.values())
        assert sorted(seen) == [f"o-{number}" for number in range(len(TIMES))]


def placed_at(timestamp: str, number: int) -> Incoming:
    """An order as a client wrote it to the topic."""
    payload = {
        "id": f"e-{number}",
        "order_id": f"o-{number}",
        "event_type": "order.created",
        "timestamp": timestamp,
        "data": {**ORDER, "total": "59.98"},
    }
    return Incoming(
        id=timed_id(NOW_MS, "placed", str(number)),
        topic=ORDERS.events,
        partition=0,
        offset=number,
        timestamp_ms=NOW_MS,
        payload=msgspec.json.encode(payload),
    )


async def test_streams_end_when_the_process_is_told_to_end(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(of_order("o-fine", "event-store")[:1])
        async with listening(rig, "o-fine") as stream:
            rig.parts.stop.set()
            await turns(rig, 0)

            assert stream.has_ended
            assert "end" not in [number for number, _ in stream.events]
