"""`sagas list` and `sagas show`: what they print, and the JSON that docs/cli.md promises."""

from pathlib import Path

import pytest

from sagas.ports import InstanceFilter
from sagas.store.sqlite import SqliteStore
from services.orders.saga import order_saga
from tests.cli.conftest import Terminal, a_declined_order, a_stuck_trip, write
from tests.core.past import NOW_MS
from tests.core.trip import TicketIssued

SUMMARY = "create ok · reserve ok · pay refused (card declined) · release ok · compensate ok"


def id_of(terminal: Terminal, key: str) -> str:
    """The id of the instance of `key`."""
    store = SqliteStore(terminal.database, read_only=True)
    try:
        return store.instances(InstanceFilter(key=key))[0].id
    finally:
        store.close()


def test_a_page_of_the_list_as_json_has_the_documented_shape(full: Terminal) -> None:
    assert full.json("list", "--key", "o-1") == {
        "instances": [
            {
                "id": id_of(full, "o-1"),
                "saga": "order",
                "version": 1,
                "key": "o-1",
                "state": "compensated",
                "started_ms": NOW_MS,
                "updated_ms": NOW_MS + 50,
                "cause": "pay: PaymentFailed (card declined)",
                "reason": "",
                "summary": SUMMARY,
                "incident": "",
            }
        ],
        "next": None,
    }


REFUSED_AND_RELEASED: list[dict[str, object]] = [
    {
        "name": "pay",
        "step": "pay",
        "operation": "do",
        "outcome": "refused",
        "why": "card declined",
        "reply": "PaymentFailed",
        "attempts": 1,
        "sent_ms": NOW_MS + 20,
        "answered_ms": NOW_MS + 30,
    },
    {
        "name": "release",
        "step": "reserve",
        "operation": "undo",
        "outcome": "ok",
        "why": "",
        "reply": "InventoryReleased",
        "attempts": 1,
        "sent_ms": NOW_MS + 30,
        "answered_ms": NOW_MS + 40,
    },
]
"""The operations in the middle of the story of an order whose card was declined."""


def test_a_story_as_json_has_the_documented_shape(full: Terminal) -> None:
    story = full.json("show", "o-1")

    journal, operations = story.pop("journal"), story.pop("operations")
    assert story == {
        "id": id_of(full, "o-1"),
        "saga": "order",
        "version": 1,
        "key": "o-1",
        "state": "compensated",
        "started_ms": NOW_MS,
        "updated_ms": NOW_MS + 50,
        "cause": "pay: PaymentFailed (card declined)",
        "reason": "",
        "summary": SUMMARY,
        "incident": "",
        "deadline_ms": NOW_MS + order_saga.definition.deadline_ms,
        "revision": 6,
        "cleaned_until": 0,
        "exits": [],
        "data": {
            "order_id": "o-1",
            "items": [{"product_id": "kettle", "quantity": 1}],
            "total": "59.98",
            "card": "card-ok",
            "address": "1 Harbour Street",
            "currency": "USD",
            "payment_id": "",
            "tracking": "",
        },
    }
    assert operations[2:4] == REFUSED_AND_RELEASED
    assert journal[3] == {
        "revision": 4,
        "at_ms": NOW_MS + 30,
        "verdict": "advance",
        "message_id": "",
        "triggers": ["pay.PaymentFailed"],
        "path": ["pay.pending", "reserve.undoing"],
        "note": "",
        "words": "pay answered payment.failed (card declined) → reserve being undone",
    }


def test_the_list_shows_the_newest_first_and_why_one_is_stuck(full: Terminal) -> None:
    lines = full.type("list").stdout.splitlines()

    assert [line.split()[1] for line in lines[2:]] == ["t-1", "o-2", "o-1"]
    assert lines[2].rstrip().endswith("stuck: ticket: no answer in 9.0 s")


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (("--saga", "order"), ["o-2", "o-1"]),
        (("--state", "stuck"), ["t-1"]),
        (("--state", "ship.pending"), ["o-2"]),
        (("--key", "o-1"), ["o-1"]),
        (("--saga", "trip", "--key", "o-1"), []),
    ],
)
def test_the_list_can_be_narrowed(full: Terminal, filters: tuple[str, ...], keys: list[str]) -> None:
    assert [shape["key"] for shape in full.json("list", *filters)["instances"]] == keys


def test_a_long_list_goes_on_behind_the_id_it_names(full: Terminal) -> None:
    first = full.json("list", "--limit", "2")
    rest = full.json("list", "--limit", "2", "--before", first["next"])

    assert [shape["key"] for shape in first["instances"] + rest["instances"]] == ["t-1", "o-2", "o-1"]
    assert rest["next"] is None


def test_an_empty_list_is_no_failure(terminal: Terminal) -> None:
    write(terminal, [])

    assert terminal.json("list") == {"instances": [], "next": None}
    assert terminal.type("list").stdout == "no instances\n"


def test_a_state_in_which_nobody_is_comes_with_those_there_are(full: Terminal) -> None:
    said = full.type("list", "--state", "complete").stdout
    assert said == "no instances\nstates there are: compensated (1), ship.pending (1), stuck (1)\n"
    assert full.type("list", "--state", "stuck", "--key", "nobody").stdout == "no instances\n"
    assert full.json("list", "--state", "complete") == {"instances": [], "next": None}


def test_a_story_tells_the_steps_their_times_and_why_it_turned_back(full: Terminal) -> None:
    told = full.type("show", "o-1").stdout

    assert "order o-1   compensated   50 ms" in told
    assert "turned back because of pay: PaymentFailed (card declined)" in told
    assert "   +0.030 s  pay answered payment.failed (card declined) → reserve being undone" in told


def test_a_story_says_what_is_stuck_and_why(full: Terminal) -> None:
    assert "stuck: ticket: no answer in 9.0 s" in full.type("show", "t-1").stdout


def test_an_instance_is_found_by_its_id_as_well(full: Terminal) -> None:
    by_id = full.json("show", id_of(full, "o-2"))

    assert by_id["key"] == "o-2"


@pytest.mark.parametrize("wanted", ["o-9", "0199cde2-5400-7a51-8d4c-6f1f3f0a8f11", "f" * 32])
def test_an_instance_that_is_not_there_is_one_line_and_exit_code_1(full: Terminal, wanted: str) -> None:
    result = full.type("show", wanted)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"sagas: no instance has the key or the id '{wanted}'; `sagas list` shows those there are\n"


def test_a_key_of_two_sagas_asks_for_the_saga(terminal: Terminal) -> None:
    write(terminal, [a_declined_order("7"), a_stuck_trip("7")])

    assert "name the one you mean" in terminal.type("show", "7").stderr
    assert terminal.json("show", "7", "--saga", "trip")["saga"] == "trip"


def test_a_database_that_is_not_there_is_one_line_with_the_remedy(terminal: Terminal) -> None:
    result = terminal.type("list")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "--db" in result.stderr


def test_reading_creates_nothing(terminal: Terminal) -> None:
    terminal.type("list")

    assert list(terminal.database.parent.iterdir()) == []


def test_text_from_messages_cannot_steer_the_terminal(terminal: Terminal) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\x9b31m\r\n[bold]gone[/bold]\u202etxt"
    write(terminal, [a_declined_order("o-1", evil)])

    for told in (terminal.type("show", "o-1").stdout, terminal.type("list").stdout):
        assert not set(told) & {chr(c) for c in (*range(0x20), 0x7F, *range(0x80, 0xA0))} - {"\n"}
        assert "\u202e" not in told
        # What looks like markup of the library that draws tables is shown as it is.
        assert "[bold]gone[/bold]" in told.replace("\n", "")
    assert evil in terminal.json("show", "o-1")["operations"][2]["why"]


def test_a_module_that_cannot_be_loaded_is_tried_once_for_a_whole_list(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(terminal, [a_declined_order(key) for key in ("o-1", "o-2", "o-3")])
    (module := tmp_path / "broken_shop.py").write_text(
        "from pathlib import Path\n"
        "with Path(__file__).with_suffix('.tried').open('a') as tried: tried.write('once ')\n"
        "raise RuntimeError('it is broken')\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SAGAS_DEFINITIONS", str(module))
    assert len(terminal.json("list")["instances"]) == 3
    assert module.with_suffix(".tried").read_text(encoding="utf-8") == "once "


def test_the_ways_out_name_the_saga_where_several_have_the_key(terminal: Terminal) -> None:
    write(terminal, [a_declined_order("x-1"), a_stuck_trip("x-1")])
    (trip,) = terminal.json("list", "--saga", "trip")["instances"]
    commands = [way["command"].split() for way in terminal.json("show", trip["id"])["exits"]]
    assert len(commands) == 4
    for _, *typed in commands:
        result = terminal.type(*typed, "-m", "tests.core.trip")
        assert result.exit_code == 0, result.output


def test_the_list_tells_an_incident_of_a_run_that_looks_well(terminal: Terminal) -> None:
    past = a_stuck_trip("t-1").operate("resolve-undone", "asked them").reply("ticket", TicketIssued(trip_id="t-1"))
    write(terminal, [past])
    told = " ".join(terminal.type("list").stdout.split())
    assert "incident: ticket was resolved as undone by hand" in told
