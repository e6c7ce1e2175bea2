"""What is said about an order that goes out in several parcels."""

import msgspec

from sagas import Command, Event, Participant, Rejection

SHOP = Participant("parcel-shop", key="shipment_id")
WAREHOUSE = Participant("packing", key="shipment_id")
PAYMENTS = Participant("charging", key="shipment_id")
CARRIER = Participant("carrier", key="shipment_id")


class Parcel(msgspec.Struct, frozen=True):
    """What goes into one box."""

    parcel_id: str
    articles: tuple[str, ...]


class Shipment(msgspec.Struct, frozen=True):
    """What the saga remembers: `boxes` says into which box each parcel was packed."""

    shipment_id: str
    cents: int
    parcels: tuple[Parcel, ...]
    boxes: dict[str, str] = {}


class ShipmentAsked(Event, tag="shipment.asked"):
    """Somebody wants so many parcels."""

    shipment_id: str
    cents: int
    parcels: tuple[Parcel, ...]


class ParcelPacked(Event, tag="parcel.packed"):
    """It is in this box."""

    shipment_id: str
    box: str


class ArticleMissing(Rejection, tag="parcel.article-missing"):
    """It cannot be packed."""

    shipment_id: str
    reason: str


class ParcelUnpacked(Event, tag="parcel.unpacked"):
    """Its articles are on their shelves again."""

    shipment_id: str


class PackParcel(Command[ParcelPacked | ArticleMissing], tag="parcel.pack"):
    """Put the articles into a box."""

    shipment_id: str
    parcel_id: str
    articles: tuple[str, ...]


class UnpackParcel(Command[ParcelUnpacked], tag="parcel.unpack"):
    """Put them back."""

    shipment_id: str
    parcel_id: str


class ShipmentCharged(Event, tag="shipment.charged"):
    """The order is paid."""

    shipment_id: str


class ChargeFailed(Rejection, tag="shipment.charge-failed"):
    """The order is not paid."""

    shipment_id: str
    reason: str


class ChargeShipment(Command[ShipmentCharged | ChargeFailed], tag="shipment.charge"):
    """Take the money."""

    shipment_id: str
    cents: int


class ParcelHandedOver(Event, tag="parcel.handed-over"):
    """The carrier has the box."""

    shipment_id: str


class HandOverParcel(Command[ParcelHandedOver], tag="parcel.hand-over"):
    """Give the box to the carrier."""

    shipment_id: str
    box: str
