"""`sagas verify` and `sagas show --at`: an instance is what its history says, and any other one is told apart."""

import json
from pathlib import Path

import anyio
import msgspec
import pytest
from click.testing import CliRunner

from sagas.broker.iggy import IggyBroker
from sagas.cli.main import cli
from sagas.clock import SystemClock
from sagas.core.instance import Instance
from sagas.runtime import event_store
from sagas.runtime.event_store import JournalOutbox, feed
from sagas.store.database import Database
from sagas.store.records import pack_instance
from sagas.store.sqlite import SqliteStore
from sagas.testing.world import inline
from tests.cli.conftest import Terminal, a_declined_order, an_order_being_shipped, write
from tests.core.past import NOW_MS
from tests.wire.running import running_broker

MODULES = ("-m", "services.orders.saga", "-m", "tests.core.trip")


def change(terminal: Terminal, sql: str, *parameters: object, rows: int | None = 1) -> None:
    """Change rows behind the engine's back; `rows` of them, any number when it is None."""
    database = Database(terminal.database)
    with database.transaction():
        changed = database.change(sql, parameters)
    database.close()
    assert rows is None or changed == rows


def stored(terminal: Terminal, key: str) -> Instance:
    store = SqliteStore(terminal.database, read_only=True)
    found = store.instance("", key)
    store.close()
    assert found is not None
    return found


def put(terminal: Terminal, instance: Instance) -> None:
    """Store an instance that its journal knows nothing of, its checksum and columns being right."""
    change(
        terminal,
        "UPDATE instances SET record = ?, state = ?, revision = ? WHERE key = ?",
        bytes(pack_instance(instance)),
        instance.state,
        instance.revision,
        instance.key,
    )


def test_instances_that_are_what_their_journals_say_are_equal(full: Terminal) -> None:
    result = full.type("verify", *MODULES)
    assert result.output == "3 instances: 3 equal to what its journal gives, 0 not\n"
    assert result.exit_code == 0
    assert full.json("verify", *MODULES) == {
        "source": "journal",
        "instances": 3,
        "equal": 3,
        "only_in_topic": 0,
        "different": [],
        "cleaned": 0,
        "unchecked": [],
    }


def test_a_flipped_byte_in_a_record_is_found(full: Terminal) -> None:
    change(
        full,
        "UPDATE instances SET record = CAST(substr(record, 1, 60) || x'00' || substr(record, 62) AS BLOB) "
        "WHERE key = 'o-1'",
    )
    result = full.type("verify", *MODULES)
    assert result.exit_code == 1
    assert "its checksum does not fit" in result.output
    assert "3 instances: 2 equal" in result.output


def test_an_instance_that_was_changed_is_told_field_by_field(full: Terminal) -> None:
    before = stored(full, "o-1")
    first = msgspec.structs.replace(before.steps[0], attempts=7)
    data = msgspec.json.encode({**msgspec.json.decode(before.data), "total": "1.00"})
    changed = msgspec.structs.replace(before, state="completed", data=data, steps=(first, *before.steps[1:]))
    put(full, changed)
    result = full.type("verify", *MODULES)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"order o-1   {before.id}",
        "  state: stored 'completed', journal 'compensated'",
        "  data: total: stored '1.00', journal '59.98'",
        "  step 'create': attempts: stored 7, journal 1",
        "3 instances: 2 equal to what its journal gives, 1 not",
    ]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DELETE FROM journal WHERE revision = 3 AND instance_id = ?", "revision 3 is missing in the journal, 4 comes"),
        ("DELETE FROM journal WHERE revision = 6 AND instance_id = ?", "revision: stored 6, journal 5"),
        ("UPDATE journal SET note = 'all is well' WHERE revision = 4 AND instance_id = ?", "revision 4: note"),
        (
            "UPDATE journal SET verdict = 'late' WHERE revision = 2 AND instance_id = ?",
            "verdict: journal 'late'",
        ),
        ("UPDATE journal SET input = x'c1' WHERE revision = 2 AND instance_id = ?", "revision 2: its input cannot be"),
        ("UPDATE journal SET at_ms = at_ms + 5 WHERE revision = 6 AND instance_id = ?", "updated_ms: stored"),
    ],
)
def test_a_journal_that_was_changed_is_found(full: Terminal, sql: str, says: str) -> None:
    change(full, sql, bytes.fromhex(stored(full, "o-1").id.replace("-", "")))
    result = full.type("verify", *MODULES)
    assert result.exit_code == 1
    assert says in result.output
    assert "3 instances: 2 equal" in result.output


def test_a_reply_that_was_changed_in_the_journal_is_found_in_what_followed_from_it(full: Terminal) -> None:
    row = bytes.fromhex(stored(full, "o-1").id.replace("-", ""))
    change(
        full,
        "UPDATE journal SET input = CAST(replace(CAST(input AS TEXT), 'card declined', 'card DECLINED') AS BLOB) "
        "WHERE revision = 4 AND instance_id = ?",
        row,
    )
    assert "card DECLINED" in full.type("verify", *MODULES).output


@pytest.mark.parametrize("column", ["saga", "key", "is_live", "updated_ms"])
def test_a_column_that_says_something_else_than_its_record_is_found(full: Terminal, column: str) -> None:
    value = {"saga": "'trip'", "key": "'o-9'", "is_live": "1 - is_live", "updated_ms": "updated_ms + 1"}[column]
    change(full, f"UPDATE instances SET {column} = {value} WHERE key = 'o-1'")
    result = full.type("verify", *MODULES)
    assert result.exit_code == 1
    assert "its columns do not fit its record" in result.output
    assert "3 instances: 2 equal" in result.output


def test_an_instance_of_which_only_the_journal_is_left_is_found(full: Terminal) -> None:
    lost = stored(full, "o-1").id
    change(full, "DELETE FROM instances WHERE key = 'o-1'")
    result = full.type("verify", *MODULES)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        lost,
        "  the journal tells of it, and it is not among the instances",
        "2 instances: 2 equal to what its journal gives, 1 not",
    ]


def test_a_deadline_that_was_changed_since_is_no_difference(full: Terminal) -> None:
    before = stored(full, "o-1")
    put(full, msgspec.structs.replace(before, deadline_ms=before.deadline_ms + 5))
    assert full.type("verify", *MODULES).exit_code == 0


def test_what_a_version_decided_that_is_not_loaded_is_called_neither_equal_nor_different(full: Terminal) -> None:
    result = full.type("verify", "-m", "tests.core.trip")
    assert result.output.splitlines() == [
        "3 instances: 1 equal to what its journal gives, 0 not",
        "2 not checked: version 1 of 'order' is not loaded; name its module with --module or SAGAS_DEFINITIONS",
    ]
    assert result.exit_code == 0
    found = full.json("verify", "-m", "tests.core.trip")
    assert (found["equal"], found["different"]) == (1, [])
    assert found["unchecked"] == [{"saga": "order", "version": 1, "instances": 2}]


def test_a_difference_ends_with_1_whatever_else_is_not_checked(full: Terminal) -> None:
    put(full, msgspec.structs.replace(stored(full, "t-1"), cause="none"))
    result = full.type("verify", "-m", "tests.core.trip")
    assert result.exit_code == 1
    assert "3 instances: 0 equal to what its journal gives, 1 not" in result.output
    assert "2 not checked" in result.output


def test_a_database_without_instances_is_equal(terminal: Terminal) -> None:
    write(terminal, [])
    assert terminal.type("verify").output == "0 instances: 0 equal to what its journal gives, 0 not\n"


# --------------------------------------------------------------------------- from the topic


async def _tell(connection: str, store: SqliteStore) -> None:
    broker = IggyBroker.from_connection_string(connection, stream="shop")
    await broker.ensure([event_store.topic_spec(3)])
    await feed(JournalOutbox(store), broker, SystemClock(), inline, batch_max=4).drain()
    await broker.close()


@pytest.mark.e2e
def test_the_topic_gives_the_stored_instances_without_their_journal(terminal: Terminal, tmp_path: Path) -> None:
    pasts = [a_declined_order("o-1"), an_order_being_shipped("o-2")]
    with running_broker(tmp_path / "broker") as broker:
        connection = f"iggy://iggy:iggy@{broker.address}"
        write(terminal, pasts)
        store = SqliteStore(terminal.database)
        store.begin_feed()
        anyio.run(_tell, connection, store)
        store.close()

        environ = {"SAGAS_DATA": str(tmp_path), "IGGY_CONNECTION_STRING": connection, "IGGY_STREAM": "shop"}
        runner = CliRunner(env=environ)
        # Without the journal: what is compared comes from the topic alone.
        other = Terminal(tmp_path)
        change(terminal, "DELETE FROM journal", rows=None)
        result = runner.invoke(cli, ["verify", "--from-topic", *MODULES, "--json"])
        assert json.loads(result.stdout) == {
            "source": "topic",
            "instances": 2,
            "equal": 2,
            "only_in_topic": 0,
            "different": [],
            "cleaned": 0,
            "unchecked": [],
        }
        result = runner.invoke(cli, ["verify", "--from-topic", "-m", "tests.core.trip", "--json"])
        told = json.loads(result.stdout)
        assert (result.exit_code, told["equal"], told["different"]) == (0, 0, [])
        assert told["unchecked"] == [{"saga": "order", "version": 1, "instances": 2}]

        put(other, msgspec.structs.replace(stored(other, "o-2"), cause="none"))
        result = runner.invoke(cli, ["verify", "--from-topic", *MODULES])
        assert result.exit_code == 1
        assert "cause: stored 'none', topic ''" in result.output
        change(other, "DELETE FROM instances WHERE key = 'o-2'")
        result = runner.invoke(cli, ["verify", "--from-topic", *MODULES])
        assert "the topic tells of 1 more, which this database does not have" in result.output
        assert result.exit_code == 0


@pytest.mark.e2e
def test_without_the_topic_it_says_how_to_have_one(terminal: Terminal, tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as broker:
        write(terminal, [a_declined_order("o-1")])
        environ = {"SAGAS_DATA": str(tmp_path), "IGGY_CONNECTION_STRING": f"iggy://iggy:iggy@{broker.address}"}
        result = CliRunner(env=environ).invoke(cli, ["verify", "--from-topic", *MODULES])
    assert result.exit_code == 1
    assert "topic 'event-store'" in result.output
    assert "SAGAS_EVENT_STORE=true" in result.output


# --------------------------------------------------------------------------- time travel


def test_an_instance_is_shown_as_it_was_after_so_many_entries(full: Terminal) -> None:
    then = full.json("show", "o-1", "--at", "3")
    assert (then["state"], then["revision"], then["cause"]) == ("pay.pending", 3, "")
    assert [told["name"] for told in then["operations"]] == ["create", "reserve", "pay"]
    assert [entry["revision"] for entry in then["journal"]] == [1, 2, 3]
    assert full.json("show", "o-1", "--at", "6") == full.json("show", "o-1")


def test_an_instance_is_shown_as_it_was_at_a_time(full: Terminal) -> None:
    assert full.json("show", "o-1", "--at", "+0.02")["state"] == "pay.pending"
    assert full.json("show", "o-1", "--at", "2999-01-01T00:00:00Z")["state"] == "compensated"
    for wrong, says in (
        ("2001-01-01T00:00:00Z", "was not there yet"),
        ("0", "was not there yet"),
        ("7", "has 6 journal entries"),
        ("2999-01-01T00:00:00", "a time with its zone"),
        ("yesterday", "a time with its zone"),
    ):
        result = full.type("show", "o-1", "--at", wrong)
        assert (result.exit_code, says in result.stderr) == (1, True), wrong


def test_an_instance_of_which_the_saga_is_not_loaded_cannot_be_shown_as_it_was_and_the_remedy_is_said(
    full: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGAS_DEFINITIONS", "tests.core.trip")
    result = full.type("show", "o-1", "--at", "3")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'order' version 1 is not loaded here; name its module with SAGAS_DEFINITIONS or [tool.sa" in result.stderr


# --------------------------------------------------------------------------- what was cleaned away


@pytest.fixture
def cleaned(full: Terminal) -> Terminal:
    """With the journal of the one that ended cleaned away."""
    store = SqliteStore(full.database)
    store.cleaner.clean_journals(NOW_MS + 1_000_000, 500)
    store.close()
    return full


def test_a_cleaned_journal_is_no_difference_and_is_counted_apart(cleaned: Terminal) -> None:
    result = cleaned.type("verify", *MODULES)
    assert result.output.splitlines() == [
        "3 instances: 2 equal to what its journal gives, 0 not",
        "1 more cannot be compared: their journals were cleaned away (SAGAS_JOURNAL_DAYS), and nothing else is missing",
    ]
    assert result.exit_code == 0
    found = cleaned.json("verify", *MODULES)
    assert (found["equal"], found["cleaned"], found["different"]) == (2, 1, [])


def test_an_instance_whose_journal_was_cleaned_is_shown_and_says_so(cleaned: Terminal) -> None:
    result = cleaned.type("show", "o-1")
    assert "order o-1   compensated" in result.output
    assert "card declined" in result.output, "the steps and their outcomes are kept"
    assert "what happened up to revision 6 was cleaned away after its end (SAGAS_JOURNAL_DAYS)" in result.output
    assert cleaned.json("show", "o-1")["cleaned_until"] == 6
    assert cleaned.json("show", "o-2")["cleaned_until"] == 0


@pytest.mark.parametrize(
    "words", [("show", "o-1", "--at", "2"), ("diagram", "--sequence", "o-1", "-m", "services.orders.saga")]
)
def test_its_past_cannot_be_shown_and_says_why(cleaned: Terminal, words: tuple[str, ...]) -> None:
    result = cleaned.type(*words)
    assert result.exit_code == 1
    assert "cleaned away up to revision 6 (SAGAS_JOURNAL_DAYS)" in " ".join(result.output.split())


def test_its_drawing_says_up_to_where_its_way_is_not_known(cleaned: Terminal) -> None:
    result = cleaned.type("diagram", "--instance", "o-1", "-m", "services.orders.saga")
    assert result.exit_code == 0, result.output
    assert "cleaned up to revision 6" in result.output
