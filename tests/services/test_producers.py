"""An old and a new release at once: orders of both versions, in turn in one topic, each carried out to the cent."""

import msgspec
import pytest

from sagas.broker.memory import MemoryBroker
from sagas.core.ids import timed_id
from sagas.ports import InstanceFilter
from services.producers import TOTALS, message_of, orders_of, problems_of
from tests.runtime.shop import a_shop, rows


@pytest.mark.anyio
async def test_orders_of_both_versions_are_carried_out_side_by_side() -> None:
    old, new = orders_of(1, 5), orders_of(2, 5)
    async with a_shop() as shop:
        broker = MemoryBroker(shop.broker)
        for pair in zip(old, new, strict=True):
            for placed in pair:
                now_ms = shop.clock.now_ms()
                message = message_of(placed, message_id=timed_id(now_ms, placed.order_id), now_ms=now_ms)
                await broker.publish([message])
            await shop.work()
        await broker.close()
        await shop.settle()

        runs = shop.store.instances(InstanceFilter(count_max=99))
        assert problems_of([*old, *new], runs) == []
        cents = [int(total.replace(".", "")) for total in TOTALS]
        assert sorted(rows(shop, "payments", "SELECT cents FROM movements")) == sorted([(c,) for c in cents] * 2)
        assert shop.store.dead_letters(9) == []


def test_each_release_writes_its_own_version() -> None:
    first, second = (
        msgspec.json.decode(message_of(orders_of(version, 1)[0], message_id=timed_id(1, "m"), now_ms=1).payload)["data"]
        for version in (1, 2)
    )
    assert (first["version"], first["total"], "currency" in first) == ("1", 59.98, False)
    assert (second["version"], second["total"], second["currency"]) == ("2", "59.98", "USD")


@pytest.mark.anyio
async def test_an_amount_that_changed_on_the_way_and_an_order_that_is_missing_are_told() -> None:
    (placed,) = orders_of(1, 1)
    async with a_shop() as shop:
        broker = MemoryBroker(shop.broker)
        await broker.publish([message_of(placed, message_id=timed_id(1, "m"), now_ms=shop.clock.now_ms())])
        await shop.settle()
        (run,) = shop.store.instances(InstanceFilter())
    changed = msgspec.structs.replace(run, data=run.data.replace(b"59.98", b"59.99"))
    assert problems_of([placed], [run]) == []
    assert problems_of([placed], [changed]) == ["v1-001: 59.98 USD became 59.99 USD"]
    assert problems_of([placed], []) == ["v1-001 is not there, not completed"]
