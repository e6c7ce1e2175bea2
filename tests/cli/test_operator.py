"""`retry`, `resolve`, `cancel`, `abandon`: a plan first, then the deed, with its place in the audit."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from sagas.runtime.admission import admit
from sagas.store.database import Database
from sagas.store.sqlite import SqliteStore
from tests.cli.conftest import Terminal, a_stuck_trip, write
from tests.core import trip
from tests.core.past import NOW_MS, Past
from tests.core.trip import RoomBooked, Trip, trip_saga

HERE = ("-m", "tests.core.trip", "-m", "services.orders.saga")


def state(terminal: Terminal, key: str) -> str:
    return str(terminal.json("show", key)["state"])


def test_a_plan_says_what_would_be_done_and_does_nothing(full: Terminal) -> None:
    result = full.type("retry", "t-1", *HERE)
    assert result.exit_code == 0, result.output
    assert "trip t-1   retry would be done: stuck → ticket.pending" in result.stdout
    assert "sends ticket.issue to flights-commands" in result.stdout
    assert "nothing was done; say it again with --yes" in result.stdout
    assert state(full, "t-1") == "stuck"


def test_a_deed_is_done_sent_and_written_down_with_who_and_why(full: Terminal) -> None:
    result = full.type("resolve", "t-1", "--as", "undone", "--reason", "asked the airline", "--yes", *HERE)
    assert result.exit_code == 0, result.output
    assert state(full, "t-1") == "seat.undoing"
    store = SqliteStore(full.database)
    instance = store.instance("trip", "t-1")
    assert instance is not None
    (row,) = store.audit(instance.id)
    assert (row.action, row.reason, row.path) == ("resolve-undone", "asked the airline", ("stuck", "seat.undoing"))
    assert row.who
    assert [r.event_type for r in store.unpublished(99)][-1] == "seat.release"
    store.close()
    assert "asked the airline" in full.type("show", "t-1").stdout


def test_all_that_are_stuck_are_counted_first_and_then_retried(full: Terminal) -> None:
    result = full.type("retry", "--all", *HERE)
    assert result.exit_code == 0, result.output
    assert "1  stuck over trip ticket" in result.stdout
    assert "1 would be retried, 10 a second, in 1 s\nnothing was done" in result.stdout
    assert state(full, "t-1") == "stuck"
    assert full.json("retry", "--all", "--step", "ticket", "--yes", *HERE) == {
        "count": 1,
        "over": {"trip ticket": 1},
        "retried": 1,
        "problems": [],
        "is_done": True,
        "overdue": 0,
    }
    assert state(full, "t-1") == "ticket.pending"
    assert full.type("retry", "--all", "--yes", *HERE).stdout == "nothing is stuck\n"


def test_those_that_cannot_be_retried_are_told_and_fail_the_command(full: Terminal) -> None:
    result = full.type("retry", "--all", "--yes", "-m", "services.orders.saga")
    assert result.exit_code == 1
    assert "not retried: trip t-1: saga 'trip' version 1 is not loaded here" in result.stdout
    assert "0 of 1 retried" in result.stdout


def test_a_plan_for_all_tells_those_that_cannot_be_retried_and_fails_the_command(full: Terminal) -> None:
    result = full.type("retry", "--all", "-m", "services.orders.saga")
    assert result.exit_code == 1
    assert "cannot be retried: trip t-1: saga 'trip' version 1 is not loaded here" in result.stdout
    assert "0 would be retried" in result.stdout


def damage(terminal: Terminal, key: str) -> str:
    """Have the record of one unreadable; its id."""
    with closing(SqliteStore(terminal.database)) as store:
        found = store.instance("", key)
        assert found is not None
    with closing(Database(terminal.database)) as disk, disk.transaction():
        disk.change("UPDATE instances SET record = zeroblob(length(record)) WHERE key = ?", (key,))
    return found.id


@pytest.mark.parametrize("arguments", [("retry",), ("abandon", "--reason", "x"), ("abandon", "--reason", "x", "--yes")])
def test_a_damaged_one_says_so_in_place_of_a_way_out_that_is_none(
    terminal: Terminal, arguments: tuple[str, ...]
) -> None:
    write(terminal, [a_stuck_trip("t-1")])
    instance_id = damage(terminal, "t-1")
    shown = terminal.type("show", instance_id)
    assert shown.exit_code == 0
    assert "restore a backup" in shown.stdout
    assert "what can be done about it" not in shown.stdout
    assert "+-" not in shown.stdout
    result = terminal.type(arguments[0], instance_id, *arguments[1:], *HERE)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be read" in result.stderr
    assert "restore a backup" in result.stderr


def test_a_damaged_one_is_told_and_the_others_are_retried(terminal: Terminal) -> None:
    write(terminal, [a_stuck_trip(key) for key in ("t-1", "t-2", "t-3")])
    damage(terminal, "t-2")
    plan = terminal.type("retry", "--all", *HERE)
    assert plan.exit_code == 1
    assert "cannot be retried: trip t-2: the stored instance cannot be read" in plan.stdout
    assert "1  stuck over trip (damaged)" in plan.stdout
    assert "2 would be retried" in plan.stdout
    result = terminal.type("retry", "--all", "--yes", "--json", *HERE)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["count"], told["retried"]) == (3, 2)
    (problem,) = told["problems"]
    assert problem.startswith("trip t-2: the stored instance cannot be read")
    assert (state(terminal, "t-1"), state(terminal, "t-3")) == ("ticket.pending", "ticket.pending")


def test_one_of_an_older_version_is_retried_with_all_as_it_is_alone(full: Terminal, tmp_path: Path) -> None:
    with closing(SqliteStore(full.database)) as store:
        admit([trip_saga.definition], store, NOW_MS)
    source = Path(trip.__file__).read_text(encoding="utf-8")
    (module := tmp_path / "trip_v2.py").write_text(source.replace("version=1", "version=2"), encoding="utf-8")
    told = full.json("retry", "--all", "--yes", "-m", str(module))
    assert (told["retried"], told["problems"]) == (1, [])
    assert state(full, "t-1") == "ticket.pending"


@pytest.mark.parametrize("action", [("retry",), ("abandon", "--reason", "x")])
@pytest.mark.parametrize(
    ("version", "why"),
    [(1, "version 1 has other steps or messages than when it began"), (2, "step 'ticket' no longer exists")],
)
def test_a_plan_says_why_a_run_cannot_go_on_under_what_is_loaded_of_its_saga(
    full: Terminal, tmp_path: Path, action: tuple[str, ...], version: int, why: str
) -> None:
    with closing(SqliteStore(full.database)) as store:
        admit([trip_saga.definition], store, NOW_MS)
    source = Path(trip.__file__).read_text(encoding="utf-8").replace("version=1", f"version={version}")
    for before in ("def ticket", "\nticket", ">> ticket"):
        source = source.replace(before, before.replace("ticket", "pass_ticket"))
    (module := tmp_path / "other_trip.py").write_text(source, encoding="utf-8")
    result = full.type(action[0], "t-1", *action[1:], "-m", str(module))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"saga 'trip' version 1 as it began is not loaded here ({why}" in result.stderr
    assert "name its module, of that release, with --module" in result.stderr


def a_late_run(key: str) -> Past:
    """A run that is stuck before its pivot, and whose deadline passed long ago."""
    return Past(trip_saga.definition, key, Trip(key, 2)).reply("room", RoomBooked(trip_id=key, room=13))


def test_a_plan_says_that_a_deadline_which_passed_turns_the_run_back_at_once(terminal: Terminal) -> None:
    write(terminal, [a_late_run("t-1"), a_stuck_trip("t-2")])
    told = terminal.type("retry", "t-1", *HERE).stdout
    assert re.search(
        r"sends room.book to hotels-commands\n  its deadline passed \d+ d \d+ h ago: it will be turned back", told
    )
    assert terminal.json("retry", "t-1", *HERE)["deadline_passed_ms"] > 0
    assert "deadline" not in terminal.type("abandon", "t-1", "--reason", "x", *HERE).stdout
    assert "deadline" not in terminal.type("retry", "t-2", *HERE).stdout
    assert terminal.json("retry", "t-2", *HERE)["deadline_passed_ms"] == 0


def test_all_whose_deadline_passed_are_counted_before_they_are_retried_and_after(terminal: Terminal) -> None:
    write(terminal, [a_late_run("t-1"), a_late_run("t-3"), a_stuck_trip("t-2")])
    told = terminal.type("retry", "--all", *HERE).stdout
    assert "the deadlines of 2 have passed: they will be turned back at once\n3 would be retried" in told
    result = terminal.json("retry", "--all", "--yes", *HERE)
    assert (result["retried"], result["overdue"]) == (3, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("retry",), "say which instance, or --all"),
        (("retry", "t-1", "--all"), "say which instance, or --all"),
        (("retry", "t-1", "--step", "ticket"), "--step goes with --all"),
        (("resolve", "t-1", "--as", "done", "--reason", ""), "it is empty; say why"),
        (("abandon", "t-1", "--reason", " "), "it is empty; say why"),
        (("cancel", "o-2", "--reason", ""), "it is empty; say why"),
        (("cancel", "o-2", "--reason", "x" * 1001), "it has 1001 characters"),
        (("retry", "t-1", "--reason", "x" * 1001), "it has 1001 characters"),
        (("dlq", "discard", "1", "--reason", ""), "it is empty; say why"),
    ],
)
def test_what_is_asked_wrongly_ends_with_2(full: Terminal, arguments: tuple[str, ...], said: str) -> None:
    result = full.type(*arguments, *(HERE if arguments[0] != "dlq" else ()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_step_that_nothing_is_stuck_over_is_answered_with_what_is(full: Terminal) -> None:
    result = full.type("retry", "--all", "--step", "typo", *HERE)
    assert (result.exit_code, result.stdout) == (
        0,
        "nothing of that is stuck; what is:\n       1  stuck over trip ticket\n",
    )


def test_json_says_the_same_in_a_stable_shape(full: Terminal) -> None:
    plan = full.json("abandon", "t-1", "--reason", "sold by hand", *HERE)
    assert {name: plan[name] for name in ("saga", "key", "action", "path", "sends", "open_effects", "is_done")} == {
        "saga": "trip",
        "key": "t-1",
        "action": "abandon",
        "path": ["stuck", "abandoned"],
        "sends": [],
        "open_effects": ["room (done)", "seat (done)", "ticket (unknown)"],
        "is_done": False,
    }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("cancel", "o-1", "--reason", "x"), "it has ended already: compensated"),
        (("cancel", "o-2", "--reason", "x"), "past the point of no return"),
        (("cancel", "t-1", "--reason", "x"), "retry, resolve or abandon it"),
        (("retry", "o-2"), "it is not stuck but ship.pending"),
        (("retry", "nobody"), "no instance has the key or the id 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_state_it_is_in(
    full: Terminal, arguments: tuple[str, ...], why: str
) -> None:
    result = full.type(*arguments, "--yes", *HERE)
    assert result.exit_code == 1
    assert why in result.stderr


def test_a_saga_that_is_not_loaded_is_named(full: Terminal) -> None:
    result = full.type("retry", "t-1", "-m", "services.orders.saga")
    assert result.exit_code == 1
    assert "saga 'trip' version 1 is not loaded here; name its module with --module or SAGAS_DEF" in result.stderr


def test_the_audit_can_neither_be_changed_nor_shortened(full: Terminal) -> None:
    assert full.type("abandon", "t-1", "--reason", "x", "--yes", *HERE).exit_code == 0
    import sqlite3

    connection = sqlite3.connect(full.database)
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'nobody'"):
        with pytest.raises(sqlite3.IntegrityError, match="the audit is"):
            connection.execute(statement)
    connection.close()


def test_showing_what_is_stuck_lists_the_commands_that_would_be_taken_and_where_each_leads(
    full: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGAS_DEFINITIONS", "tests.core.trip,services.orders.saga")
    told = full.type("show", "t-1").stdout
    assert "sagas retry t-1   → ticket.pending, sends ticket.issue" in told
    assert "sagas resolve t-1 --as undone --reason TEXT   → seat.undoing, sends seat.release" in told
    assert "sagas abandon t-1 --reason TEXT   → abandoned" in told
    assert full.json("show", "t-1")["exits"][0]["leads_to"] == "ticket.pending"


def test_showing_what_is_stuck_says_which_ways_out_its_deadline_turns_back(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(terminal, [a_late_run("t-1")])
    monkeypatch.setenv("SAGAS_DEFINITIONS", "tests.core.trip")
    lines = [line for line in terminal.type("show", "t-1").stdout.splitlines() if line.startswith("  sagas ")]
    warned = [bool(re.search(r" ago: it will be turned back at once$", line)) for line in lines]
    assert [line.split()[1] for line in lines] == ["retry", "resolve", "resolve", "abandon"]
    assert warned == [True, True, False, False]
    ways = terminal.json("show", "t-1")["exits"]
    assert [way["deadline_passed_ms"] > 0 for way in ways] == warned


def test_without_the_saga_at_hand_showing_still_says_which_commands_there_are(
    full: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGAS_DEFINITIONS", "services.orders.saga")
    told = full.type("show", "t-1").stdout
    assert "  sagas retry t-1\n" in told
