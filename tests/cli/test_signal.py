"""`sagas signal`: what it accepts, and the message it makes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sagas import Event
from sagas.broker.memory import MemoryBroker
from sagas.cli.main import cli
from sagas.cli.signal import signal_message
from sagas.cli.typed_event import key_and_data
from sagas.core.envelope import decode_data
from sagas.core.upcasting import upcast
from sagas.errors import SettingsError
from sagas.testing.world import World
from services.orders.saga import order_saga
from tests.cli.conftest import Terminal
from tests.core.past import NOW_MS
from tests.runtime.test_wait_topics import a_saga
from tests.runtime.trips import DESK, TripAsked, TripDenied, bank, desk, flight, hotel, trip_saga
from tests.wire.running import running_broker

VERSIONS = [trip_saga.definition]
DENIED = b'{"trip_id": "t-1", "reason": "too dear"}'


@pytest.mark.parametrize("event", ["TripDenied", "trip.denied"])
def test_the_message_is_the_guides_envelope_on_the_topic_of_the_wait(event: str) -> None:
    made, event_type = signal_message(VERSIONS, event, DENIED, NOW_MS)

    assert event_type is TripDenied
    assert (made.topic, made.key, dict(made.headers)) == (DESK.events, "t-1", {})
    assert json.loads(made.payload) == {
        "id": made.id,
        "trip_id": "t-1",
        "event_type": "trip.denied",
        "timestamp": "2025-10-09T08:53:20Z",
        "data": {"reason": "too dear"},
    }


def test_saying_the_same_twice_is_one_signal_unless_its_id_is_another() -> None:
    first, again, other = (
        signal_message(VERSIONS, "TripDenied", DENIED, NOW_MS, given)[0].id for given in ("", "", "once-more")
    )

    assert first == again
    assert other == "once-more"


@pytest.mark.anyio
async def test_a_run_that_waits_takes_it() -> None:
    async with World([trip_saga.definition], {hotel: (), flight: (), bank: (), desk: ()}) as world:
        await world.publish_start("trip", TripAsked(trip_id="t-1"))
        await world.work()
        broker = MemoryBroker(world.broker)
        await broker.publish([signal_message(VERSIONS, "TripDenied", DENIED, world.clock.now_ms())[0]])
        await broker.close()
        await world.settle()

        assert world.instance("trip", "t-1").cause == "approval: TripDenied (too dear)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not one JSON object"),
        ('{"reason": "too dear"}', "needs its business key 'trip_id' as text"),
        ('{"trip_id": "t 1", "reason": "x"}', "$.trip_id"),
        ('{"trip_id": "t-1", "raeson": "x"}', "no field 'raeson'"),
        ('{"trip_id": "t-1", "reason": 7}', "$.reason"),
        ('{"trip_id": "t-1"}', "missing required field `reason`"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_with_what_would(terminal: Terminal, text: str, said: str) -> None:
    result = terminal.type("signal", "trip", "TripDenied", text, "-m", "tests.runtime.trips")

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert "its fields: trip_id, reason" in result.stderr


def test_an_event_that_nobody_waits_for_is_refused_with_those_that_are(terminal: Terminal) -> None:
    result = terminal.type("signal", "trip", "TripAsked", "{}", "-m", "tests.runtime.trips")

    assert result.exit_code == 1
    assert result.stderr == (
        "sagas: saga 'trip' does not wait for 'TripAsked'; it waits for: TripApproved (trip.approved) on desk, "
        "TripDenied (trip.denied) on desk\n"
    )


def test_an_event_that_is_waited_for_on_two_topics_needs_the_one_that_is_meant() -> None:
    versions, text = [a_saga(is_side_by_side=True).definition], b'{"k": "k-1", "by": "ann"}'

    with pytest.raises(SettingsError, match="on managers, security; name one with --on"):
        signal_message(versions, "Approved", text, NOW_MS)
    first, second = (signal_message(versions, "Approved", text, NOW_MS, on=on)[0] for on in ("managers", "security"))
    assert (first.topic, second.topic) == ("managers", "security")
    assert first.id != second.id
    with pytest.raises(SettingsError, match="does not wait for 'Approved' on 'desk'"):
        signal_message(versions, "Approved", text, NOW_MS, on="desk")


def test_a_saga_without_a_wait_says_so() -> None:
    with pytest.raises(SettingsError, match="saga 'order' has no wait"):
        signal_message([order_saga.definition], "OrderCreated", b"{}", NOW_MS)


class Asked(Event, tag="trip.asked-for", version=2):
    """An event that has had another shape before."""

    trip_id: str
    seats: int


@upcast(Asked, from_version=1)
def _(data: dict[str, object]) -> dict[str, object]:
    return {"seats": data["places"]}


def test_what_is_typed_is_of_the_version_that_its_class_is() -> None:
    key, data = key_and_data(Asked, "trip_id", b'{"trip_id": "t-1", "seats": 2}')

    assert decode_data(Asked, "trip_id", key, data) == Asked(trip_id="t-1", seats=2)


@pytest.mark.e2e
def test_it_is_published_to_the_broker_and_told(tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as broker:
        environ = {"IGGY_CONNECTION_STRING": f"iggy://iggy:iggy@{broker.address}", "SAGAS_DATA": str(tmp_path)}
        result = CliRunner(env=environ).invoke(
            cli, ["signal", "trip", "TripDenied", DENIED.decode(), "-m", "tests.runtime.trips"]
        )

    assert result.exit_code == 0, result.output
    assert result.stdout == "published trip.denied for trip t-1 to desk\nnext: sagas show t-1\n"
