"""`POST /orders`: an order is taken once for each key, whatever happens around it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import anyio
import httpx
import pytest

from sagas.ports import Incoming
from services.contracts import Item
from services.storefront.app import storefront
from services.storefront.probe import CHECK_MS_MAX, Probe
from tests.storefront.rig import ORDER, Rig, event_in, opened
from tests.storefront.view import turns

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

pytestmark = pytest.mark.anyio


def pointers(answer: httpx.Response) -> list[str]:
    """The fields that a problem names."""
    return [error["pointer"] for error in answer.json()["errors"]]


async def test_an_order_is_accepted_with_its_address_and_published_as_the_event_that_starts_its_saga(
    tmp_path: Path,
) -> None:
    async with opened(Rig(tmp_path)) as rig:
        answer = await rig.post()
        await rig.publish()

        order_id = answer.json()["order_id"]
        assert (answer.status_code, answer.headers["location"]) == (202, f"/orders/{order_id}")
        assert answer.json() == {
            "order_id": order_id,
            "state": "accepted",
            "total": "59.98",
            "accepted_at": "2025-01-01T00:00:00Z",
            "links": {"self": f"/orders/{order_id}", "events": f"/orders/{order_id}/events"},
        }
        (incoming,) = await rig.published()
        event = event_in(incoming)
        assert (event.order_id, event.items, event.total) == (order_id, (Item("kettle", 1),), "59.98")
        assert (event.card, event.address) == ("card-ok", "1 Harbour Street")


async def test_the_same_request_under_the_same_key_is_given_the_same_answer_and_places_one_order(
    tmp_path: Path,
) -> None:
    async with opened(Rig(tmp_path)) as rig:
        first = await rig.post()
        rig.clock.advance(60_000)
        # Other white space and another order of the fields are the same request.
        second = await rig.post(b' { "address":"1 Harbour Street", "card":"card-ok",\n "items":%s}' % items_of(ORDER))
        quoted = await rig.post(key='"k-1"')
        await rig.publish()

        assert first.content == second.content == quoted.content
        assert first.headers["location"] == second.headers["location"]
        assert len(await rig.published()) == 1


def items_of(order: dict[str, Any]) -> bytes:
    return str(order["items"]).replace("'", '"').encode()


async def test_another_request_under_the_same_key_is_a_conflict_and_places_nothing(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        await rig.post()
        answer = await rig.post({**ORDER, "address": "2 Harbour Street"})
        await rig.publish()

        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
        assert "use a new key" in answer.json()["detail"]
        assert len(await rig.published()) == 1


async def test_the_price_is_the_shops_and_a_client_that_expects_another_is_told(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        right = await rig.post({**ORDER, "total": "59.98"}, key="k-1")
        wrong = await rig.post({**ORDER, "total": "5.00"}, key="k-2")

        assert right.status_code == 202
        assert (wrong.status_code, pointers(wrong)) == (422, ["#/total"])
        assert "cost 59.98, not 5.00" in wrong.json()["errors"][0]["detail"]


async def test_every_field_that_is_wrong_is_named(tmp_path: Path) -> None:
    order = {
        "items": [{"product_id": "kettle", "quantity": 0}, {"quantity": 1, "colour": "red"}, 7],
        "address": "   ",
        "total": 5,
        "gift": True,
    }
    async with opened(Rig(tmp_path)) as rig:
        answer = await rig.post(order)

        assert answer.status_code == 422
        assert sorted(pointers(answer)) == [
            "#/address",
            "#/card",
            "#/gift",
            "#/items/0/quantity",
            "#/items/1/colour",
            "#/items/1/product_id",
            "#/items/2",
            "#/total",
        ]
        assert all("$" not in error["detail"] for error in answer.json()["errors"])


@pytest.mark.parametrize(
    ("items", "pointer"),
    [
        ([], "#/items"),
        ([{"product_id": "mug", "quantity": 1}] * 101, "#/items"),
        ([{"product_id": "nothing", "quantity": 1}], "#/items/0/product_id"),
        ([{"product_id": "m\0g", "quantity": 1}], "#/items/0/product_id"),
        ([{"product_id": "mug", "quantity": 10**30}], "#/items/0/quantity"),
        ({"product_id": "mug", "quantity": 1}, "#/items"),
        (None, "#/items"),
    ],
)
async def test_items_that_cannot_be_are_refused(tmp_path: Path, items: object, pointer: str) -> None:
    async with opened(Rig(tmp_path)) as rig:
        answer = await rig.post({**ORDER, "items": items})

        assert (answer.status_code, pointers(answer)) == (422, [pointer])


@pytest.mark.parametrize("address", ["\0", "a\0", "\0a", "a\0b", " \0 "])
async def test_an_address_with_a_nul_is_refused_for_no_saga_could_read_it(tmp_path: Path, address: str) -> None:
    async with opened(Rig(tmp_path)) as rig:
        answer = await rig.post({**ORDER, "address": address})
        await rig.publish()

        assert (answer.status_code, pointers(answer)) == (422, ["#/address"])
        assert await rig.published() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"items":' + b"[" * 20_000, b"\xff\xfe", b'"\xff"'])
async def test_what_is_no_json_object_is_refused(tmp_path: Path, body: bytes) -> None:
    async with opened(Rig(tmp_path)) as rig:
        answer = await rig.post(body)

        assert answer.status_code == 400
        assert answer.json()["title"] == "Bad Request"


@pytest.mark.parametrize("key", ["", "x" * 129, "two words", "caf\u00e9".encode("latin-1").decode("latin-1")])
async def test_a_key_that_is_missing_or_cannot_be_is_refused(tmp_path: Path, key: str) -> None:
    async with opened(Rig(tmp_path)) as rig:
        headers = [(b"content-type", b"application/json"), (b"idempotency-key", key.encode("latin-1"))]
        answer = await rig.http.post("/orders", content=b"{}", headers=headers if key else headers[:1])

        assert answer.status_code == 400
        assert "Idempotency-Key" in answer.json()["detail"]


async def test_a_body_that_is_too_long_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        long = await rig.post(b'{"address": "%s"}' % (b"x" * 70_000))
        other = await rig.post(**{"Content-Type": "text/plain"})

        assert (long.status_code, other.status_code) == (413, 415)
        assert long.headers["content-type"] == other.headers["content-type"] == "application/problem+json"


async def test_who_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path, rps=100, burst=50)) as rig:
        answers = [await rig.post(key=f"k-{number}") for number in range(60)]
        refused = answers[-1]
        rig.clock.advance(10)
        later = await rig.post(key="k-59")
        at_once = await rig.post(key="k-59")

        assert [answer.status_code for answer in answers] == [202] * 50 + [429] * 10
        assert (refused.headers["retry-after"], refused.json()["title"]) == ("1", "Too Many Requests")
        # A hundredth of a second is one more, and only one.
        assert (later.status_code, at_once.status_code) == (202, 429)


async def test_orders_are_accepted_while_the_broker_is_away_and_go_out_once_when_it_is_back(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        await rig.publish()
        rig.world.stop()
        accepted = [(await rig.post(key=f"k-{number}")).json()["order_id"] for number in range(5)]
        unready = await rig.ready()
        alive = await rig.http.get("/health/live")
        rig.world.start()
        await rig.publish()

        assert (unready.status_code, alive.status_code) == (503, 200)
        assert unready.json()["checks"]["database"] == "ok"
        assert sorted(orders_in(await rig.published())) == sorted(accepted)
        assert (await rig.ready()).json()["status"] == "ok"


async def test_a_database_that_does_not_answer_keeps_nobody_waiting_who_asks_for_its_health(tmp_path: Path) -> None:
    released = anyio.Event()
    calls: list[object] = []

    async def stuck(function: Callable[[*Ts], T], *args: *Ts) -> T:
        # As a thread that waits for a lock: it is not abandoned.
        calls.append(function)
        with anyio.CancelScope(shield=True):
            await released.wait()
        return function(*args)

    async with opened(Rig(tmp_path)) as rig:
        probe = Probe(rig.store, stuck, rig.clock)
        said: list[str] = []

        async def ask() -> None:
            said.append(await probe.ask())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(probe.run)
            async with anyio.create_task_group() as asking:
                for _ in range(5):
                    asking.start_soon(ask)
                await turns(rig, 0)
                assert said == []
                rig.clock.advance(CHECK_MS_MAX)
            assert said == ["no answer within 1.5 s"] * 5
            released.set()
            await turns(rig, 0)
            assert await probe.ask() == "ok"
            assert len(calls) == 2, "those who ask at once share an answer"
            tasks.cancel_scope.cancel()


async def test_what_is_wrong_is_told_without_paths_and_addresses(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        rig.world.stop()
        (tmp_path / "storefront.db").unlink()
        answer = await rig.ready()

        assert answer.json()["checks"] == {"database": "cannot be written", "broker": "cannot be reached"}


def orders_in(found: list[Incoming]) -> list[str]:
    return [event_in(incoming).order_id for incoming in found]


async def test_an_order_that_was_accepted_before_a_crash_is_published_after_it_and_answered_the_same(
    tmp_path: Path,
) -> None:
    async with opened(Rig(tmp_path)) as rig:
        first = await rig.post()
        await rig.restart()
        again = await rig.post()
        await rig.publish()

        assert again.content == first.content
        assert orders_in(await rig.published()) == [first.json()["order_id"]]


async def test_what_is_not_there_and_what_cannot_be_done_are_problems_too(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        absent = await rig.http.get("/nowhere")
        wrong = await rig.http.delete("/orders")

        assert (absent.status_code, absent.json()["title"]) == (404, "Not Found")
        assert (wrong.status_code, wrong.json()["title"]) == (405, "Method Not Allowed")
        assert "POST" in wrong.headers["allow"]


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_fault_of_ours(tmp_path: Path) -> None:
    said: list[Any] = []
    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    headers = [(b"idempotency-key", b"k-1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/orders", "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    async with opened(Rig(tmp_path)) as rig:
        await storefront(rig.parts)(scope, receive, send)

        assert said[0]["status"] == 400
        assert await rig.published() == []


async def test_what_cannot_be_read_is_told_to_those_who_ask_in_other_words_than_an_order(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        (tmp_path / "orders-view.current").write_text("no number", encoding="ascii")
        answer = await rig.http.get("/orders")

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"] == "what is asked for cannot be read just now; ask again soon"


async def test_a_database_that_cannot_be_written_takes_no_order_and_says_come_again(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        rig.store.close()
        (tmp_path / "storefront.db").unlink()
        await rig.restart()
        (tmp_path / "storefront.db").unlink()
        answer = await rig.post()

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert str(tmp_path) not in answer.text
