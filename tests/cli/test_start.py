"""`sagas start`: what it accepts, and the message it makes."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from sagas.cli.start import start_message
from sagas.errors import SettingsError
from sagas.ports import Incoming, Outgoing
from sagas.runtime.intake import Intake, StartItem
from services.orders.saga import order_saga
from tests.cli.conftest import Terminal
from tests.core.past import NOW_MS

ORDER: dict[str, object] = {"order_id": "o-1", "items": [{"product_id": "kettle", "quantity": 1}], "total": "59.98"}


def message(fields: Mapping[str, object]) -> Outgoing:
    """The message that starts an order with these fields."""
    return start_message(order_saga.definition, json.dumps(fields).encode(), NOW_MS)


def test_the_message_is_the_guides_envelope_with_the_key_at_its_top() -> None:
    made = message(ORDER)

    assert (made.topic, made.key, dict(made.headers)) == ("orders", "o-1", {})
    assert json.loads(made.payload) == {
        "id": made.id,
        "order_id": "o-1",
        "event_type": "order.created",
        "timestamp": "2025-10-09T08:53:20Z",
        "data": {"version": "2", "items": [{"product_id": "kettle", "quantity": 1}], "total": "59.98"},
    }


def test_the_orchestrator_reads_it_as_a_start() -> None:
    made = message({**ORDER, "card": "card-declined"})
    incoming = Incoming(id=made.id, topic=made.topic, partition=0, offset=0, timestamp_ms=NOW_MS, payload=made.payload)

    item = Intake([order_saga.definition]).read(incoming)

    assert isinstance(item, StartItem)
    assert item.start.key == "o-1"
    assert order_saga.definition.decode_data(item.start.data).card == "card-declined"


def test_saying_the_same_twice_is_the_same_message_and_other_data_another() -> None:
    assert message(ORDER).id == message(ORDER).id
    assert message(ORDER).id != message({**ORDER, "total": "60.00"}).id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not one JSON object"),
        ("[1]", "not one JSON object"),
        ('{"total": "1.00"}', "needs its business key 'order_id'"),
        ('{"order_id": 7}', "needs its business key 'order_id' as text"),
        ('{"order_id": "o 1", "items": [{"product_id": "k", "quantity": 1}], "total": "1.00"}', "$.order_id"),
        ('{"order_id": "o-1", "itms": []}', "no field 'itms'"),
        ('{"order_id": "o-1", "items": [], "total": "1.00"}', "$.items"),
        ('{"order_id": "o-1", "items": [{"product_id": "k", "quantity": 1}], "total": 1.5}', "$.total"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_with_what_would(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        start_message(order_saga.definition, text.encode(), NOW_MS)

    assert said in str(refused.value)
    assert "its fields: order_id, items, total, currency (optional), card (optional), address (optional)" in str(
        refused.value
    )


def test_an_event_is_refused_before_anything_is_sent(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text('{"order_id": "o-1"}')

    for arguments, given in (
        (("start", "order", '{"order_id": "o-1"}'), ""),
        (("start", "order", str(file)), ""),
        (("start", "order", "-"), '{"order_id": "o-1"}'),
        (("start", "order"), '{"order_id": "o-1"}'),
    ):
        result = terminal.type(*arguments, given=given)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "missing required field `items`" in result.stderr


def test_a_file_that_is_not_there_is_named(terminal: Terminal) -> None:
    result = terminal.type("start", "order", "nowhere.json")

    assert result.exit_code == 1
    assert "nowhere.json: No such file or directory" in result.stderr


def test_without_a_broker_it_says_that_nothing_was_published_and_what_to_look_at(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("IGGY_CONNECTION_STRING", f"iggy://iggy:iggy@127.0.0.1:{taken.getsockname()[1]}")
        result = terminal.type("start", "order", json.dumps(ORDER), "-m", "services.orders.saga")
    assert result.exit_code == 1
    assert "Cannot establish connection; nothing was published" in result.stderr
    assert "`sagas broker` starts the embedded one" in result.stderr
