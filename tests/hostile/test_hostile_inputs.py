"""Hostile inputs, numbered: each is handled as written here, creates and loses nothing, and the next message goes on.

`BYTES` are payloads, each tried as a start and as a command. What is no payload has a test of its own, named by
its number. `NOT_APPLICABLE` says why a number has none; `test_every_number_is_accounted_for` counts them all.
"""

import gzip
import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from types import CodeType, FunctionType
from typing import NamedTuple

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from sagas import DefinitionError, Saga, unchanged
from sagas.cli.main import cli
from sagas.config import Settings
from sagas.config_layers import read_settings
from sagas.core.diagram import mermaid
from sagas.core.envelope import PAYLOAD_BYTES_MAX, Header, Undecodable, decode_data, encode_message
from sagas.core.messages import Command, Event
from sagas.errors import SchemaMismatch, SettingsError, StoreError
from sagas.ports import Incoming
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.database import Database
from sagas.store.migrations import migrate
from sagas.store.schema import ORCHESTRATOR
from sagas.store.sqlite import SqliteStore
from sagas.testing.world import World
from services.contracts import PaymentProcessed
from services.orders.saga import order_saga
from tests.core.trip import HOTELS, RoomBooked, Trip, TripAsked
from tests.hostile.rig import NOW_MS, START, VALID, Outcome, Rig, Way, a_rig, headers_for
from tests.runtime.shop import SERVICES, a_shop, an_order, order

NOT_APPLICABLE: Mapping[int, str] = {
    33: "messages carry no HMAC: who may publish is the broker's business (its permissions)",
    37: "there is no dashboard",
}

SECONDS_MAX = 1.0
"""For one message of any kind: a partition behind it must not stand still."""

MEMORY_MAX = 4 * PAYLOAD_BYTES_MAX
"""Taken while one message is dealt with, beside the message itself."""

Mutation = Callable[[bytes], bytes]


class Case(NamedTuple):
    """A payload made of a valid one; `start` and `command` are what it comes to each way."""

    number: int
    name: str
    mutate: Mutation
    start: Outcome = "dead"
    command: Outcome = "dead"


def swap(old: bytes, new: bytes, *, is_there: bool = True) -> Mutation:
    def mutate(payload: bytes) -> bytes:
        assert old in payload or not is_there
        return payload.replace(old, new)

    return mutate


def framed(before: bytes = b"", after: bytes = b"") -> Mutation:
    def mutate(payload: bytes) -> bytes:
        return before + payload + after

    return mutate


def padded(length: int) -> Mutation:
    def mutate(payload: bytes) -> bytes:
        return payload.ljust(length)

    return mutate


def instead(payload: bytes) -> Mutation:
    return lambda _: payload


def amount(number: int, name: str, value: bytes) -> Case:
    return Case(number, f"{name} as quantity", swap(b'"quantity":2', b'"quantity":' + value))


def key(name: str, text: str) -> Case:
    return Case(26, f"key {name}", swap(b'"o-1"', msgspec.json.encode(text)))


def inside(number: int, name: str, member: bytes) -> Case:
    """A member more in `data`: passed over, for a newer release may write one."""
    return Case(number, name, swap(b'"data":{', b'"data":{' + member + b","), "taken", "taken")


def total(number: int, name: str, value: bytes, outcome: Outcome = "dead") -> Case:
    """The amount of money in a start; a reservation has none."""
    return Case(number, name, swap(b'"59.98"', value, is_there=False), outcome, "taken")


DEEP = (500, 5_000, 100_000)

BYTES = [
    Case(1, "a byte after the end", framed(after=b"x")),
    Case(1, "a second object after the end", framed(after=START)),
    Case(2, "a key twice: the last one counts", swap(b'"quantity":2', b'"quantity":7,"quantity":2'), "taken", "taken"),
    Case(
        3,
        "a tag twice: the last one counts",
        swap(b'"event_type":', b'"event_type":"x","event_type":'),
        "taken",
        "taken",
    ),
    Case(
        3,
        "a tag twice, the last one wrong",
        swap(b'","timestamp', b'","event_type":"x.y","timestamp'),
        "foreign",
        "dead",
    ),
    inside(4, "an unknown field is passed over", b'"grade":"A"'),
    Case(4, "an unknown field beside data", swap(b'"data":', b'"grade":1,"data":'), "taken", "taken"),
    amount(5, "text", b'"5"'),
    amount(6, "5.0e-1", b"5.0e-1"),
    amount(6, "5.5", b"5.5"),
    amount(7, "true", b"true"),
    amount(8, "2**63", b"9223372036854775808"),
    amount(8, "2**64", b"18446744073709551616"),
    amount(9, "4,300 digits", b"9" * 4_300),
    amount(9, "5,000 digits", b"9" * 5_000),
    amount(10, "-5", b"-5"),
    total(10, "a negative total", b'"-1.00"'),
    amount(11, "0", b"0"),
    total(11, "a total of nothing is one: things may be free", b'"0.00"', "taken"),
    amount(12, "NaN", b"NaN"),
    amount(12, "1e999", b"1e999"),
    total(12, "NaN in words as total", b'"NaN"'),
    total(13, "1e1000000000 as total", b'"1e1000000000"'),
    Case(14, "no UTF-8", swap(b"kettle", b"\xff\xfe")),
    Case(15, "a lone surrogate", swap(b"kettle", b"\\ud800")),
    Case(16, "NUL in a name", swap(b"kettle", b"ket\\u0000tle")),
    Case(16, "NUL in the key", swap(b"o-1", b"o\\u00001")),
    Case(16, "a raw NUL", swap(b"kettle", b"ket\0tle")),
    Case(17, "a key that ends in a line break", swap(b"o-1", b"o-1\\n")),
    Case(18, "a byte order mark", framed(before=b"\xef\xbb\xbf")),
    *(Case(19, repr(p), instead(p)) for p in (b"", b"null", b"[]", b"0", b"{}", b'""', b" ")),
    *(Case(20, f"nested {n} deep", instead(b'{"a":' * n)) for n in DEEP),
    *(Case(20, f"nested {n} deep and closed", instead(b"[" * n + b"]" * n)) for n in DEEP),
    inside(20, "nested 500 deep in an unknown field", b'"x":' + b"[" * 500 + b"]" * 500),
    Case(
        20,
        "nested 50,000 deep in an unknown field",
        swap(b'"data":{', b'"data":{"x":' + b"[" * 50_000 + b"]" * 50_000 + b","),
    ),
    Case(21, "MessagePack that claims 4 G elements", instead(b"\xdd\xff\xff\xff\xff")),
    Case(21, "MessagePack that claims 4 G pairs", instead(b"\xdf\xff\xff\xff\xff\xa1a")),
    Case(22, "a text of 64 MB", swap(b"kettle", b"k" * 64_000_000)),
    Case(22, "just too long", padded(PAYLOAD_BYTES_MAX + 1)),
    Case(22, "just not too long", padded(PAYLOAD_BYTES_MAX), "taken", "taken"),
    Case(23, "two million keys", instead(b"{" + b'"a":1,' * 2_000_000 + b'"b":1}')),
    inside(23, "twenty thousand keys in an unknown field", b'"x":{' + b'"a":1,' * 20_000 + b'"b":1}'),
    Case(24, "no tag", swap(b'"event_type":', b'"event":')),
    Case(24, "an unknown tag", swap(b'"event_type":"', b'"event_type":"x'), "foreign", "dead"),
    Case(24, "a tag that is a number", swap(b'"event_type":"', b'"event_type":1,"y":"')),
    Case(25, "a time without a zone", swap(b"00:00Z", b"00:00")),
    Case(25, "the year 9999 at -14:00", swap(b"2025-01-01T00:00:00Z", b"9999-12-31T23:59:59-14:00"), "taken", "taken"),
    Case(25, "the year 1 at +14:00", swap(b"2025-01-01T00:00:00Z", b"0001-01-01T00:00:00+14:00"), "taken", "taken"),
    Case(25, "a time that is a number", swap(b'"2025-01-01T00:00:00Z"', b"1e400")),
    *(
        key(name, text)
        for name, text in {
            "path": "../../etc/passwd",
            "encoded path": "%2e%2e",
            "10 kB": "k" * 10_000,
            "emoji": "😀",
            "right to left": "a\u202eb",
            "homoglyph": "о-1",
            "SQL": "'; drop table instances;--",
            "attribute": '" onmouseover=',
            "script": "<script>",
            "template": "{{7*7}}",
            "shell": "$(reboot)",
            "escape": "\x1b[2J",
            "line break": "a\r\nINFO fine",
            "empty": "",
        }.items()
    ),
    inside(27, "a member named like SQL", b'"x; drop table instances--":1'),
    *(inside(28, name, b'"%s":{"a":1}' % name.encode()) for name in ("__class__", "__proto__", "constructor")),
    Case(41, "a gzip body", gzip.compress),
    Case(41, "a gzip bomb", instead(gzip.compress(b" " * 10_000_000))),
    Case(42, "a key in NFC", swap(b"o-1", "ordré".encode())),
    Case(42, "a key in NFD", swap(b"o-1", "ordre\u0301".encode())),
]


@pytest.mark.parametrize("way", ["start", "command"])
@pytest.mark.parametrize("case", BYTES, ids=[f"{c.number}-{c.name}" for c in BYTES])
def test_a_payload_is_handled_as_written(case: Case, way: Way) -> None:
    payload = case.mutate(VALID[way])
    with a_rig() as rig:
        tables = rig.store.counts()
        tracemalloc.start()
        before_s = perf_counter()
        rig.feed(way, payload)
        taken_s = perf_counter() - before_s
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert rig.outcome(way) == (case.start if way == "start" else case.command)
        assert taken_s < SECONDS_MAX
        assert peak < MEMORY_MAX
        if rig.letters(way):
            assert rig.letters(way)[0].size == len(payload)
            assert rig.store.counts() == tables


# --------------------------------------------------------------------------- types that say too little


class Loose(Command[RoomBooked], tag="loose.command"):
    trip_id: str
    number: int = 0
    text: str = ""
    anything: object = None


class Fussy(Command[RoomBooked], tag="fussy.command"):
    trip_id: str
    number: int

    def __post_init__(self) -> None:
        if self.number > 3:
            raise KeyError("more than three")


@pytest.mark.parametrize(
    "data",
    [
        b'{"number":9223372036854775808}',
        b'{"number":-9007199254740992}',
        b'{"number":' + b"9" * 4_300 + b"}",
        b'{"text":"a\\u0000b"}',
        b'{"anything":{"deep":[1,{"a":18446744073709551616}]}}',
        b'{"anything":{"a\\u0000b":1}}',
    ],
)
def test_8_9_16_what_a_type_forgets_to_bound_is_refused_all_the_same(data: bytes) -> None:
    assert isinstance(decode_data(Loose, "trip_id", "t-1", data), Undecodable)


@pytest.mark.parametrize(
    "data", [b'{"number":9007199254740991}', b'{"text":"a\\\\u0000b"}', b'{"anything":[true,null,1.5]}']
)
def test_8_16_what_is_just_inside_the_bounds_is_read(data: bytes) -> None:
    assert isinstance(decode_data(Loose, "trip_id", "t-1", data), Loose)


def test_4_a_message_that_refuses_its_own_fields_is_undecodable_whatever_it_raises() -> None:
    refused = decode_data(Fussy, "trip_id", "t-1", b'{"number":4}')
    assert isinstance(refused, Undecodable)
    assert "more than three" in refused.reason


# --------------------------------------------------------------------------- in the wrong place or time


def reply(event: Event, key: str = "o-1") -> bytes:
    return encode_message(event, message_id="m", key_field="order_id", key=key, now_ms=NOW_MS)


def a_started(rig: Rig) -> dict[str, str]:
    """Start an order; the headers of an answer to its first step."""
    rig.feed("start", START)
    (instance,) = rig.instances()
    return {Header.INSTANCE: instance.id, Header.STEP: "create", Header.OPERATION: "do"}


GOOD_REPLY = START
"""`create` is answered with the event that also starts a saga."""


@pytest.mark.parametrize(
    ("changed", "topic", "letters", "note"),
    [
        (
            {Header.INSTANCE: headers_for("nobody")[Header.INSTANCE]},
            "orders",
            0,
            "for no saga: parked",
        ),
        ({Header.STEP: "pay"}, "payments", 0, "for a step not reached: parked"),
        ({}, "payments", 1, "from the wrong service"),
        ({Header.OPERATION: "undo"}, "orders", 1, "an undo's answer that is none of its replies"),
        ({Header.STEP: "pool"}, "orders", 1, "for a step that is not there"),
        ({Header.OPERATION: "redo"}, "orders", 1, "of no operation"),
        ({Header.STEP: ""}, "orders", 1, "for no step"),
        ({Header.INSTANCE: "o-1"}, "orders", 1, "for what can be no instance"),
    ],
)
def test_29_a_reply_in_the_wrong_place_moves_nothing(
    changed: dict[str, str], topic: str, letters: int, note: str
) -> None:
    with a_rig() as rig:
        headers = a_started(rig)
        payload = reply(PaymentProcessed(order_id="o-1", payment_id="p")) if topic == "payments" else GOOD_REPLY
        rig.feed("start", payload, {**headers, **changed}, topic=topic)
        assert (rig.instances()[0].state, len(rig.letters("start"))) == ("create.pending", letters), note


def test_29_a_compensation_that_nobody_asked_for_is_parked_and_moves_nothing() -> None:
    with a_rig() as rig:
        headers = {**a_started(rig), Header.OPERATION: "undo"}
        rig.feed("start", START.replace(b"order.created", b"order.compensated"), headers)
        assert rig.instances()[0].state == "create.pending"
        assert rig.letters("start") == []


def test_30_a_second_body_under_an_id_or_a_key_that_is_known_changes_nothing() -> None:
    with a_rig() as rig:
        first = rig.feed("start", START)
        rig.feed("start", START.replace(b"59.98", b"0.01"), id=first.id)
        rig.feed("start", START.replace(b"59.98", b"0.01"))
        assert [letter.reason for letter in rig.letters("start")] == ["started before with other data"]
        assert b"59.98" in rig.instances()[0].data
        rig.feed("command", VALID["command"])
        rig.feed("command", VALID["command"].replace(b'"quantity":2', b'"quantity":9'))
        assert rig.reserved() == 2
        assert rig.letters("command")[0].reason.endswith("same id as before, another body")


@pytest.mark.anyio
async def test_31_yesterdays_answers_replayed_under_new_ids_have_no_effect() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        before = order(shop, "o-1")
        paid = reply(PaymentProcessed(order_id="o-1", payment_id="p-1"))
        headers = {Header.INSTANCE: before.id, Header.STEP: "pay", Header.OPERATION: "do"}
        message = Incoming(
            id=before.id, topic="payments", partition=0, offset=99, timestamp_ms=1, payload=paid, headers=headers
        )
        Orchestrator([order_saga.definition], shop.store).process([message], shop.clock.now_ms())
        after = order(shop, "o-1")
        assert (after.state, after.steps) == (before.state, before.steps)


def test_32_a_thousand_starts_of_one_key_at_once_are_one_saga() -> None:
    with a_rig() as rig:
        one = rig.feed("start", START)
        batch = [replace(one, id=f"{one.id[:-4]}{number:04x}", offset=number) for number in range(1_000)]
        rig.deliver("start", *batch)
        assert len(rig.instances()) == 1
        assert len(rig.sent("start")) == 1


# --------------------------------------------------------------------------- headers and places


@pytest.mark.parametrize(
    ("headers", "defect"),
    [
        ({}, ""),
        ({}, "headers: no UTF-8"),
        ({**headers_for("o-1"), Header.INSTANCE: "x" * 255}, ""),
        ({**headers_for("o-1"), Header.STEP: "s" * 255}, ""),
        ({**headers_for("o-1"), Header.STEP: "a\0b"}, ""),
        ({**headers_for("o-1"), Header.OPERATION: "true"}, ""),
        ({str(number): "v" * 255 for number in range(390)}, ""),
        ({**headers_for("o-1"), Header.STEP: "\ud800"}, ""),
    ],
    ids=["missing", "unreadable", "long id", "long step", "NUL", "wrong kind", "100 kB", "lone surrogate"],
)
def test_15_34_headers_that_say_nothing_are_a_dead_letter_and_no_answer(headers: dict[str, str], defect: str) -> None:
    with a_rig() as rig:
        rig.feed("command", VALID["command"], headers, defect=defect)
        assert rig.outcome("command") == "dead"
        assert rig.sent("command") == []


@pytest.mark.parametrize("attempt", ["", "-1", "1e9", "٣", "9" * 255, "x"])
def test_34_an_attempt_that_is_no_number_is_passed_over(attempt: str) -> None:
    with a_rig() as rig:
        headers = {**a_started(rig), Header.ATTEMPT: attempt}
        rig.feed("start", GOOD_REPLY, headers)
        assert rig.instances()[0].state == "reserve.pending"
        rig.feed("command", VALID["command"], {**headers_for("o-1"), Header.ATTEMPT: attempt})
        assert rig.reserved() == 2


@pytest.mark.parametrize("traceparent", ["", "00-zz-zz-01", "x" * 255, "00-" + "0" * 200, "\x1b[2J"])
def test_35_a_traceparent_that_is_none_changes_nothing(traceparent: str) -> None:
    with a_rig() as rig:
        rig.feed("start", START, {"traceparent": traceparent})
        assert rig.outcome("start") == "taken"


@pytest.mark.parametrize("way", ["start", "command"])
@pytest.mark.parametrize(
    "place", [{"timestamp_ms": 2**63}, {"timestamp_ms": -1}, {"offset": -1}, {"offset": 2**64 - 1}]
)
def test_36_a_time_or_an_offset_that_cannot_be_is_no_obstacle(place: dict[str, int], way: Way) -> None:
    with a_rig() as rig:
        rig.feed(way, b"\xff", None, **place)
        assert rig.outcome(way) == "dead"


def test_36_a_reply_from_the_far_future_is_parked() -> None:
    with a_rig() as rig:
        rig.feed("start", START, headers_for("nobody"), timestamp_ms=2**63, offset=2**63)
        assert rig.letters("start") == []


# --------------------------------------------------------------------------- the command line and its files


def run(*arguments: str, **environ: str | None) -> subprocess.CompletedProcess[bytes]:
    """`sagas` as a process; a variable that is None is not set."""
    wanted = {**os.environ, **environ}
    clean = {name: value for name, value in wanted.items() if value is not None}
    return subprocess.run([sys.executable, "-m", "sagas", *arguments], env=clean, capture_output=True, cwd="/proc")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An orchestrator's database with an order and a letter in it."""
    path = tmp_path_factory.mktemp("hostile") / "orchestrator.db"
    rig = Rig()
    rig.store.close()
    rig.store = SqliteStore(path)
    rig.orchestrator = type(rig.orchestrator)(list(rig.orchestrator.catalog.definitions), rig.store)
    rig.feed("start", START)
    rig.feed("start", b'{"id":"\x1b[2J\xff')
    rig.close()
    return path


def test_38_text_is_printed_on_a_terminal_that_knows_no_utf_8(database: Path) -> None:
    for arguments in (("list",), ("list", "--json"), ("show", "o-1"), ("dlq", "list"), ("dlq", "show", "1")):
        ran = run(*arguments, "--db", str(database), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert (ran.returncode, b"Traceback" in ran.stderr) == (0, False), ran.stderr
        assert b"\x1b" not in ran.stdout


def test_38_without_a_home_and_from_a_folder_that_cannot_be_written_it_works(database: Path) -> None:
    ran = run("list", "--db", str(database), HOME=None, USER=None, LOGNAME=None)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize("wanted", ["a\0b", "' OR 1=1 --", "x" * 100_000, "\udcff", "%", ""])
def test_38_an_id_that_is_none_is_not_there(database: Path, wanted: str) -> None:
    for arguments in (("show", wanted), ("list", "--key", wanted or "-"), ("list", "--before", wanted or "-")):
        result = CliRunner().invoke(cli, [*arguments, "--db", str(database)])
        assert result.exit_code in ((2,) if "--before" in arguments else (0, 1)), result.output
        assert isinstance(result.exception, SystemExit | None)


def test_38_an_event_with_nul_from_a_file_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "event").write_bytes(b'{"order_id":"o\\u00001","items":[],"total":"1.00"}')
    result = CliRunner().invoke(cli, ["start", "order", str(tmp_path / "event"), "-m", "services.orders.saga"])
    assert (result.exit_code, "does not fit" in result.stderr) == (1, True)


def test_39_a_database_that_is_no_file_of_ours_is_refused_at_once_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database\n" * 1_000)
    (tmp_path / "empty").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/null", str(tmp_path), *(str(tmp_path / n) for n in ("text", "empty", "pipe", "a/b", "x" * 300))):
        for arguments in (("list",), ("dlq", "list"), ("dlq", "discard", "1", "--reason", "x", "--yes")):
            result = CliRunner().invoke(cli, [*arguments, "--db", name])
            assert (result.exit_code, result.stderr.count("\n")) == (1, 1), (name, result.output)
    assert (tmp_path / "empty").read_bytes() == b""
    for name in ("/dev/null", str(tmp_path / "pipe")):
        with pytest.raises(StoreError, match="name a file"):
            SqliteStore(name)


@pytest.mark.parametrize("name", ["IGGY_CONNECTION_STRING", "IGGY_STREAM", "SAGAS_DATA", "IGGY_PARTITIONS"])
def test_39_a_setting_with_a_line_break_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environ({name: "iggy://a:b@c:1\nX: y"})


@pytest.mark.parametrize("count", ["9" * 5_000, "٣", "-1", "1.5", " 3", "0x3"])
def test_39_a_number_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(SettingsError, match="IGGY_PARTITIONS"):
        Settings.from_environ({"IGGY_PARTITIONS": count})


def test_39_an_unknown_key_of_the_project_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.sagas]\ndefinitons = ["a.b"]\n')
    with pytest.raises(SettingsError, match="definitons"):
        read_settings({}, folder=tmp_path)


# --------------------------------------------------------------------------- definitions


def build(trip: Trip) -> "Book":
    return Book(trip_id=trip.trip_id)


class Book(Command[RoomBooked], tag="hostile.book"):
    trip_id: str


def named(name: str) -> FunctionType:
    """`build` under another name."""
    code: CodeType = build.__code__
    copy = FunctionType(code, build.__globals__, name)
    copy.__annotations__ = build.__annotations__
    return copy


@pytest.mark.parametrize("name", ["a-->b", 'state "x" as end', "%%{init}%%", "a;b", 'a"b', "", "x" * 49, "é"])
def test_40_a_name_that_a_drawing_or_a_header_could_misread_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="name"):
        Saga("trip", Trip, version=1, key="trip_id").step(to=HOTELS, timeout=1, unknown="undo")(named(name))
    with pytest.raises(DefinitionError, match="is no name"):
        Saga(name, Trip, version=1, key="trip_id")


def test_40_a_flow_that_goes_in_a_circle_is_refused() -> None:
    saga = Saga("trip", Trip, version=1, key="trip_id")
    saga.start(on=HOTELS)(begin)
    first = saga.step(to=HOTELS, timeout=1, unknown="undo", leaves_nothing=True)(named("first"))
    first.reply(unchanged)
    with pytest.raises(DefinitionError, match="twice"):
        saga.flow(first >> first)


def test_40_a_saga_of_five_hundred_states_is_made_and_drawn_in_time() -> None:
    before_s = perf_counter()
    saga = Saga("long", Trip, version=1, key="trip_id")
    _close(saga, 250)
    assert len(saga.definition.machine.states) > 500
    assert mermaid(saga.definition).count("\n") > 500
    assert perf_counter() - before_s < 20


def begin(event: TripAsked) -> Trip:
    return Trip(event.trip_id, event.nights)


def _close(saga: Saga[Trip], count: int) -> None:
    saga.start(on=HOTELS)(begin)
    steps = [
        saga.step(to=HOTELS, timeout=1, unknown="ask", leaves_nothing=True)(named(f"s{number}"))
        for number in range(count)
    ]
    for step in steps:
        step.reply(unchanged)
    flow = steps[0] >> steps[1]
    for step in steps[2:]:
        flow = flow >> step
    saga.flow(flow)


# --------------------------------------------------------------------------- clocks and foreign files


@pytest.mark.anyio
async def test_43_a_clock_in_1970_changes_nothing() -> None:
    async with World([order_saga.definition], SERVICES, start_ms=1_000) as shop:
        await shop.publish_start("order", an_order("good"))
        await shop.publish_start("order", an_order("declined", card="card-declined"))
        await shop.settle()
        assert (order(shop, "good").state, order(shop, "declined").state) == ("completed", "compensated")


def test_44_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    database = Database(path)
    migrate(database, (*ORCHESTRATOR, ("orchestrator:999-from-the-future", lambda sql: None)))
    database.close()
    with pytest.raises(SchemaMismatch, match="newer release"):
        SqliteStore(path)
    result = CliRunner().invoke(cli, ["dlq", "list", "--db", str(path)])
    assert (result.exit_code, "newer release" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW instances AS SELECT 1 AS id",
        "CREATE TABLE schema_migrations (name BLOB)",
        "CREATE VIEW schema_migrations AS SELECT 'orchestrator:001-instances' AS name",
        "CREATE TABLE outbox (x)",
    ],
)
def test_44_a_file_with_something_else_under_our_names_is_refused_and_left_alone(
    tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "orchestrator.db"
    database = Database(path)
    with database.transaction():
        database.change(statement)
    with pytest.raises(StoreError):
        SqliteStore(path)
    for arguments in (("list",), ("dlq", "list")):
        result = CliRunner().invoke(cli, [*arguments, "--db", str(path)])
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
    database.close()


def test_44_what_a_files_schema_says_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    SqliteStore(path).close()
    for read_only in (False, True):
        database = Database(path, read_only=read_only)
        assert database.value("PRAGMA trusted_schema") == 0
        assert database.value("PRAGMA cell_size_check") == 1
        database.close()


def test_every_number_is_accounted_for() -> None:
    # A test's numbers stand at the beginning of its name: test_15_34_headers…
    named_tests = [re.match(r"test_((?:\d+_)+)", name) for name in globals()]
    numbers = {int(number) for found in named_tests if found for number in found[1].split("_") if number}
    covered = {case.number for case in BYTES} | numbers
    assert covered | set(NOT_APPLICABLE) == set(range(1, 45))
    assert not covered & set(NOT_APPLICABLE)
