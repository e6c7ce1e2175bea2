"""Stories of an order that goes out in several parcels."""

from examples.parcel_shipping import messages as m
from examples.parcel_shipping.messages import Shipment
from examples.parcel_shipping.saga import shipment_saga
from sagas.testing import Scenario


def asked(*parcels: str) -> "Scenario[Shipment]":
    listed = tuple(m.Parcel(parcel, ("kettle",)) for parcel in parcels)
    return Scenario(shipment_saga).start_event(m.ShipmentAsked(shipment_id="s-1", cents=9_900, parcels=listed))


def packed(*parcels: str) -> "Scenario[Shipment]":
    story = asked(*parcels)
    for number, _ in enumerate(parcels):
        story.expect(m.PackParcel).reply(m.ParcelPacked(shipment_id="s-1", box=f"box-{number}"))
    return story


def test_each_parcel_is_packed_the_order_paid_once_and_each_box_handed_over() -> None:
    story = packed("a", "b")
    story.expect(m.ChargeShipment(shipment_id="s-1", cents=9_900)).reply(m.ShipmentCharged(shipment_id="s-1"))
    one = story.expect(m.HandOverParcel(shipment_id="s-1", box="box-0"))
    two = story.expect(m.HandOverParcel(shipment_id="s-1", box="box-1"))
    two.reply(m.ParcelHandedOver(shipment_id="s-1"))
    story.expect_nothing()
    one.reply(m.ParcelHandedOver(shipment_id="s-1"))
    story.expect_completed()


def test_one_article_that_is_missing_unpacks_the_other_parcels_and_nothing_is_paid() -> None:
    story = asked("a", "b", "c")
    story.expect(m.PackParcel).reply(m.ParcelPacked(shipment_id="s-1", box="box-0"))
    story.expect(m.PackParcel).reply(m.ArticleMissing(shipment_id="s-1", reason="no kettle left"))
    story.expect(m.PackParcel)
    for parcel in ("a", "c"):
        story.expect(m.UnpackParcel(shipment_id="s-1", parcel_id=parcel)).reply(m.ParcelUnpacked(shipment_id="s-1"))
    story.expect_compensated(cause="pack/b: ArticleMissing (no kettle left)")


def test_a_charge_that_fails_unpacks_every_parcel() -> None:
    story = packed("a", "b")
    story.expect(m.ChargeShipment).reply(m.ChargeFailed(shipment_id="s-1", reason="declined"))
    for _ in range(2):
        story.expect(m.UnpackParcel).reply(m.ParcelUnpacked(shipment_id="s-1"))
    story.expect_compensated(cause="declined")


def test_an_order_without_parcels_is_paid_and_done() -> None:
    story = asked()
    story.expect(m.ChargeShipment).reply(m.ShipmentCharged(shipment_id="s-1"))
    story.expect_completed()


def test_two_parcels_of_one_name_are_refused_before_anything_is_packed() -> None:
    asked("a", "a").expect_nothing().expect_rejected(cause="two items have the key 'a'")
