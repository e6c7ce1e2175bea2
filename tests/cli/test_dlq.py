"""`sagas dlq`: what could not be dealt with is seen, sent again, or settled with a reason, in any database of ours."""

import sqlite3
from base64 import b64decode
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from sagas.cli.output import plain
from sagas.clock import SystemClock
from sagas.core.envelope import Header
from sagas.core.ids import timed_id
from sagas.ports import Changes, DeadLetter, Incoming, OutboxRow, Sql
from sagas.runtime.cleaning import DAY_MS
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.database import Database
from sagas.store.migrations import migrate
from sagas.store.participant import SqliteParticipantStore
from sagas.store.schema import ORCHESTRATOR, PARTICIPANT
from sagas.store.sqlite import SqliteStore
from services.orders.saga import order_saga
from tests.cli.conftest import Terminal, a_declined_order, write
from tests.core.past import NOW_MS

MESSAGE_ID = "0199cde2-5400-7a51-8d4c-6f1f3f0a8f11"
LETTER = DeadLetter(
    received_ms=SystemClock().now_ms(),
    topic="orders",
    partition=2,
    offset=41,
    message_id=MESSAGE_ID,
    reason="envelope: \x1b[2Jcleared‮",
    payload=b'{"a":"\x1b[31mred"}',
    headers={"note": "\x1b]0;title\x07", Header.RETRY_COUNT: "3"},
    key="o-1",
    size=16,
    attempts=4,
)


def keep(terminal: Terminal, *letters: DeadLetter) -> None:
    with closing(SqliteStore(terminal.database)) as store, store.transaction() as transaction:
        transaction.write(Changes(now_ms=NOW_MS, dead_letters=list(letters)))


def make_own_table(sql: Sql) -> None:
    sql.execute("CREATE TABLE mine (a TEXT) STRICT")


def waiting(path: Path) -> list[OutboxRow]:
    with closing(SqliteStore(path)) as store:
        return store.unpublished(99)


def test_letters_are_listed_newest_first_page_by_page(terminal: Terminal) -> None:
    keep(terminal, *(replace(LETTER, reason=f"reason {n}") for n in range(3)))
    page = terminal.json("dlq", "list", "--limit", "2")
    assert [letter["id"] for letter in page["letters"]] == [3, 2]
    assert page["next"] == 2
    assert [letter["id"] for letter in terminal.json("dlq", "list", "--before", "2")["letters"]] == [1]
    listing = terminal.type("dlq", "list")
    assert "orders/2 at 41" in listing.stdout
    assert "reason 1" in listing.stdout


def test_no_letters_is_an_answer(terminal: Terminal) -> None:
    keep(terminal)
    assert terminal.type("dlq", "list").stdout == "no dead letters\n"
    assert terminal.json("dlq", "list") == {"letters": [], "next": None}


def test_one_is_shown_with_all_that_came_and_nothing_that_steers_a_terminal(terminal: Terminal) -> None:
    keep(terminal, LETTER)
    for arguments in (("dlq", "show", "1"), ("dlq", "list")):
        shown = terminal.type(*arguments).stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    whole = terminal.json("dlq", "show", "1")
    assert b64decode(whole["payload"]) == LETTER.payload
    assert whole["headers"] == dict(LETTER.headers)
    assert {name: whole[name] for name in ("key", "attempts", "size", "is_whole", "settled_as")} == {
        "key": "o-1",
        "attempts": 4,
        "size": 16,
        "is_whole": True,
        "settled_as": "",
    }


def test_why_a_letter_lies_there_is_not_told_as_the_reason_for_what_is_done(terminal: Terminal) -> None:
    keep(terminal, LETTER)
    lines = terminal.type("dlq", "requeue", "1", "--reason", "repaired").stdout.splitlines()
    assert lines[:2] == [
        "dead letter 1 (o-1)   requeue to orders would be done",
        f"  it lies here because: {plain(LETTER.reason)}",
    ]


def test_a_plan_changes_nothing(terminal: Terminal) -> None:
    keep(terminal, LETTER)
    for action in ("requeue", "discard"):
        result = terminal.type("dlq", action, "1", "--reason", "repaired")
        assert result.exit_code == 0
        assert "nothing was done; say it again with --yes" in result.stdout
        assert terminal.json("dlq", action, "1", "--reason", "x")["is_done"] is False
    assert waiting(terminal.database) == []
    assert len(terminal.json("dlq", "list")["letters"]) == 1


def test_a_requeued_letter_goes_out_as_it_came_under_an_id_of_its_own(terminal: Terminal) -> None:
    keep(terminal, LETTER)
    done = terminal.json("dlq", "requeue", "1", "--reason", "repaired", "--yes")
    assert done["is_done"] is True
    (row,) = waiting(terminal.database)
    assert (row.topic, row.key, row.payload) == ("orders", "o-1", LETTER.payload)
    assert row.headers == {"note": LETTER.headers["note"], Header.FIRST_ID: MESSAGE_ID}, "it is tried as a new one"
    assert row.id != MESSAGE_ID
    settled = terminal.json("dlq", "list", "--all")["letters"][0]
    assert (settled["settled_as"], settled["settle_reason"]) == ("requeued", "repaired")
    assert settled["settled_by"]
    assert settled["settled_ms"] > NOW_MS
    assert terminal.json("dlq", "list")["letters"] == []
    assert "requeued by" in terminal.type("dlq", "show", "1").stdout


def test_a_letter_is_settled_once(terminal: Terminal) -> None:
    keep(terminal, LETTER, LETTER)
    assert terminal.type("dlq", "discard", "1", "--reason", "a test", "--yes").exit_code == 0
    for arguments in (("dlq", "requeue", "2", "1"), ("dlq", "discard", "2", "1")):
        for yes in ((), ("--yes",)):
            result = terminal.type(*arguments, "--reason", "again", *yes)
            assert (result.exit_code, "dead letter 1 was discarded by" in result.stderr) == (1, True)
    assert waiting(terminal.database) == [], "all or none"
    assert [letter["id"] for letter in terminal.json("dlq", "list")["letters"]] == [2]


@pytest.mark.parametrize("statement", ["DELETE FROM dead_letters", "UPDATE dead_letters SET settled_by = 'nobody'"])
def test_what_was_done_can_neither_be_changed_nor_taken_away(terminal: Terminal, statement: str) -> None:
    keep(terminal, LETTER)
    assert terminal.type("dlq", "discard", "1", "--reason", "a test", "--yes").exit_code == 0
    with closing(sqlite3.connect(terminal.database)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("letter", "why"),
    [
        (replace(LETTER, is_whole=False, size=64_000_000), "16 of 64000000 bytes"),
        (replace(LETTER, payload=b"", size=0), "no broker takes an empty message"),
    ],
)
def test_what_cannot_be_sent_as_it_came_is_refused_and_can_be_discarded(
    terminal: Terminal, letter: DeadLetter, why: str
) -> None:
    keep(terminal, letter)
    for yes in ((), ("--yes",)):
        result = terminal.type("dlq", "requeue", "1", "--reason", "x", *yes)
        assert (result.exit_code, why in result.stderr) == (1, True)
    assert terminal.type("dlq", "discard", "1", "--reason", "x", "--yes").exit_code == 0


OLD_MS = LETTER.received_ms - 31 * DAY_MS
OLD = replace(LETTER, received_ms=OLD_MS)
OLD_AND_SENT_AGAIN = replace(
    LETTER, message_id=timed_id(OLD_MS, "requeue"), headers={Header.FIRST_ID: MESSAGE_ID}, reason="still not mended"
)


@pytest.mark.parametrize("letter", [OLD, OLD_AND_SENT_AGAIN])
def test_what_others_may_have_forgotten_is_requeued_only_when_that_is_said(
    terminal: Terminal, letter: DeadLetter
) -> None:
    keep(terminal, LETTER, letter)
    for yes in ((), ("--yes",)):
        result = terminal.type("dlq", "requeue", "1", "2", "--reason", "x", *yes)
        assert (result.exit_code, "SAGAS_INBOX_DAYS (30)" in result.stderr) == (1, True)
    assert waiting(terminal.database) == []
    assert terminal.type("dlq", "requeue", "1", "2", "--reason", "x", "--yes", "--even-old").exit_code == 0
    assert len(waiting(terminal.database)) == 2


def test_an_old_letter_is_requeued_where_ids_are_remembered_for_longer(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGAS_INBOX_DAYS", "32")
    monkeypatch.setenv("SAGAS_BARRIER_DAYS", "32")
    keep(terminal, OLD)
    assert terminal.type("dlq", "requeue", "1", "--reason", "x", "--yes").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("dlq", "show", "7"), 1),
        (("dlq", "requeue", "1", "7", "--reason", "x", "--yes"), 1),
        (("dlq", "discard", "1", "--reason", ""), 2),
        (("dlq", "discard", "1", "--reason", "x" * 1_001), 2),
        (("dlq", "show", "1; DROP TABLE dead_letters"), 2),
        (("dlq", "show", "0"), 2),
        (("dlq", "show", "9" * 40), 2),
        (("dlq", "requeue", "--reason", "x"), 2),
        (("dlq", "requeue", "1"), 2),
        (("dlq", "list", "--limit", "1000000000"), 2),
    ],
)
def test_what_is_not_there_or_asked_wrongly_says_so(terminal: Terminal, arguments: tuple[str, ...], code: int) -> None:
    keep(terminal, LETTER)
    result = terminal.type(*arguments)
    assert result.exit_code == code
    assert result.stderr
    assert len(terminal.json("dlq", "list")["letters"]) == 1


def test_a_participants_file_is_read_whatever_tables_of_its_own_it_has(terminal: Terminal) -> None:
    path = terminal.database.parent / "payments.db"
    with closing(SqliteParticipantStore(path, [("001-own", make_own_table)])) as store:
        with store.transaction() as transaction:
            transaction.add_dead_letters([LETTER])
        assert terminal.type("dlq", "requeue", "1", "--reason", "x", "--yes", "--db", str(path)).exit_code == 0
        assert [row.topic for row in store.unpublished(9)] == ["orders"]
    assert terminal.json("dlq", "list", "--all", "--db", str(path))["letters"][0]["settled_as"] == "requeued"


def test_a_file_that_is_not_ours_or_not_there_is_refused_and_left_alone(terminal: Terminal, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE a (b)")
    before = foreign.read_bytes()
    for name in ("foreign.db", "missing.db"):
        for command in (("list",), ("discard", "1", "--reason", "x", "--yes")):
            result = terminal.type("dlq", *command, "--db", str(tmp_path / name))
            assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert foreign.read_bytes() == before
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.parametrize("migrations", [ORCHESTRATOR, PARTICIPANT])
def test_a_file_of_an_older_release_keeps_its_letters_when_its_process_is_started(
    tmp_path: Path, terminal: Terminal, migrations: tuple[object, ...]
) -> None:
    path = tmp_path / "old.db"
    known = ORCHESTRATOR if migrations is ORCHESTRATOR else PARTICIPANT
    database = Database(path)
    migrate(database, known[: next(n for n, (name, _) in enumerate(known) if name.endswith("-dead-letters"))])
    with database.transaction():
        database.change(
            'INSERT INTO dead_letters (received_ms, topic, "partition", "offset", message_id, reason, payload, headers)'
            " VALUES (1, 'orders', 0, 7, ?, 'old', ?, ?)",
            (bytearray(16), bytearray(b"{}"), bytearray(b"\x80")),
        )
    database.close()
    refused = terminal.type("dlq", "list", "--db", str(path))
    assert (refused.exit_code, "start its process once" in refused.stderr) == (1, True)
    opened = SqliteStore(path) if migrations is ORCHESTRATOR else SqliteParticipantStore(path)
    opened.close()
    (letter,) = terminal.json("dlq", "list", "--db", str(path))["letters"]
    assert (letter["size"], letter["is_whole"], letter["attempts"], letter["settled_as"]) == (2, True, 1, "")


def test_a_requeued_message_of_a_saga_that_has_settled_is_harmless(terminal: Terminal) -> None:
    past = a_declined_order("o-1")
    write(terminal, [past])
    instance = past.instance
    reserved = (
        b'{"id":"x","order_id":"o-1","event_type":"inventory.reserved","timestamp":"2025-01-01T00:00:00Z","data":{}}'
    )
    headers = {Header.INSTANCE: instance.id, Header.STEP: "reserve", Header.OPERATION: "do"}
    start = (
        b'{"id":"x","order_id":"o-1","event_type":"order.created","timestamp":"2025-01-01T00:00:00Z",'
        b'"data":{"items":[{"product_id":"kettle","quantity":1}],"total":"59.98"}}'
    )
    reply = replace(LETTER, topic="inventory", payload=reserved, headers=headers, size=len(reserved))
    other_id = timed_id(NOW_MS, "another")
    keep(terminal, reply, replace(LETTER, message_id=other_id, payload=start, headers={}, offset=42, size=len(start)))
    assert terminal.type("dlq", "requeue", "1", "2", "--reason", "after the repair", "--yes").exit_code == 0
    with closing(SqliteStore(terminal.database)) as store:
        sent = [row for row in store.unpublished(99) if row.event_type == "sagas.requeue"]
        assert len({row.id for row in sent} | {MESSAGE_ID, other_id}) == 4
        incoming = [
            Incoming(
                id=r.id, topic=r.topic, partition=0, offset=n, timestamp_ms=NOW_MS, payload=r.payload, headers=r.headers
            )
            for n, r in enumerate(sent)
        ]
        Orchestrator([order_saga.definition], store).process(incoming, NOW_MS + 9_000)
        after = store.instance("order", "o-1")
        assert after is not None
        assert (after.state, [s.effect for s in after.steps]) == ("compensated", [s.effect for s in instance.steps])
        assert store.in_flight() == 0
        assert len(store.unpublished(99)) == len(sent), "nothing was sent because of them"
    verdicts = [entry["verdict"] for entry in terminal.json("show", "o-1")["journal"][-2:]]
    assert verdicts == ["late", "duplicate"]
