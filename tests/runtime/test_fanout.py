"""A step for each item of a list in the whole system: each item has its own command, barrier and answer."""

import pytest

from examples.parcel_shipping import messages as m
from examples.parcel_shipping.saga import shipment_saga
from sagas.core.instance import Instance
from sagas.ports import Sql
from sagas.runtime.participant import Service
from sagas.testing.world import World

pytestmark = pytest.mark.anyio

shop, warehouse, payments, carrier = (Service(p) for p in (m.SHOP, m.WAREHOUSE, m.PAYMENTS, m.CARRIER))


@warehouse.handles
def pack(sql: Sql, command: m.PackParcel) -> m.ParcelPacked | m.ArticleMissing:
    """Pack whatever has articles."""
    if not command.articles:
        return m.ArticleMissing(shipment_id=command.shipment_id, reason="nothing in it")
    return m.ParcelPacked(shipment_id=command.shipment_id, box=f"box of {command.parcel_id}")


@warehouse.undoes
def unpack(sql: Sql, command: m.UnpackParcel) -> m.ParcelUnpacked:
    """Put it back."""
    return m.ParcelUnpacked(shipment_id=command.shipment_id)


@payments.handles
def charge(sql: Sql, command: m.ChargeShipment) -> m.ShipmentCharged:
    """Always."""
    return m.ShipmentCharged(shipment_id=command.shipment_id)


@carrier.handles
def hand_over(sql: Sql, command: m.HandOverParcel) -> m.ParcelHandedOver:
    """Always."""
    return m.ParcelHandedOver(shipment_id=command.shipment_id)


async def shipped(*parcels: m.Parcel) -> Instance:
    async with World([shipment_saga.definition], {shop: [], warehouse: [], payments: [], carrier: []}) as world:
        await world.publish_start("shipment", m.ShipmentAsked(shipment_id="s-1", cents=1, parcels=parcels))
        await world.settle()
        assert world.store.dead_letters(9) == []
        return world.instance("shipment", "s-1")


async def test_every_item_is_carried_out_under_its_own_name() -> None:
    run = await shipped(m.Parcel("a", ("kettle",)), m.Parcel("b", ("cup",)))
    assert run.state == "completed"
    assert {record.name: record.effect for record in run.steps} == dict.fromkeys(
        ("pack/a", "pack/b", "charge", "hand_over/a", "hand_over/b"), "done"
    )


async def test_one_item_refused_undoes_the_others() -> None:
    run = await shipped(m.Parcel("a", ("kettle",)), m.Parcel("b", ()))
    assert (run.state, run.cause) == ("compensated", "pack/b: ArticleMissing (nothing in it)")
    assert {record.name: record.effect for record in run.steps} == {"pack/a": "undone", "pack/b": "refused"}


async def test_nothing_listed_is_done() -> None:
    assert (await shipped()).state == "completed"
