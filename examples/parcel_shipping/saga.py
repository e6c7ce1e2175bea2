"""An order that goes out in several parcels: all are packed or none, then it is paid, then each is handed over."""

import msgspec

from examples.parcel_shipping import messages as m
from examples.parcel_shipping.messages import Shipment
from sagas import Saga, unchanged

shipment_saga = Saga("shipment", Shipment, version=1)


@shipment_saga.start(on=m.SHOP)
def begin(event: m.ShipmentAsked) -> Shipment:
    return Shipment(event.shipment_id, event.cents, event.parcels)


def parcels(shipment: Shipment) -> tuple[m.Parcel, ...]:
    """What is packed, and what is handed over."""
    return shipment.parcels


each_parcel = shipment_saga.for_each(parcels, key=lambda parcel: parcel.parcel_id, at_most=50)


@each_parcel.step(to=m.WAREHOUSE, timeout=3_600, unknown="undo")
def pack(shipment: Shipment, parcel: m.Parcel) -> m.PackParcel:
    return m.PackParcel(shipment_id=shipment.shipment_id, parcel_id=parcel.parcel_id, articles=parcel.articles)


@pack.undo
def _(shipment: Shipment, parcel: m.Parcel) -> m.UnpackParcel:
    return m.UnpackParcel(shipment_id=shipment.shipment_id, parcel_id=parcel.parcel_id)


@pack.reply
def _(shipment: Shipment, parcel: m.Parcel, reply: m.ParcelPacked | m.ArticleMissing) -> Shipment:
    box = {parcel.parcel_id: reply.box} if isinstance(reply, m.ParcelPacked) else {}
    return msgspec.structs.replace(shipment, boxes=shipment.boxes | box)


@shipment_saga.pivot(to=m.PAYMENTS, timeout=60, unknown="ask")
def charge(shipment: Shipment) -> m.ChargeShipment:
    return m.ChargeShipment(shipment_id=shipment.shipment_id, cents=shipment.cents)


@each_parcel.retriable(to=m.CARRIER, timeout=600)
def hand_over(shipment: Shipment, parcel: m.Parcel) -> m.HandOverParcel:
    return m.HandOverParcel(shipment_id=shipment.shipment_id, box=shipment.boxes.get(parcel.parcel_id, ""))


charge.reply(unchanged)
hand_over.reply(unchanged)
shipment_saga.flow(pack >> charge >> hand_over)
