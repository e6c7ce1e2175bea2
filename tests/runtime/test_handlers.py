"""A handler that is written wrong is refused when it is registered, with its line and the remedy."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from sagas import Command, Event, Participant, Rejection
from sagas.core.envelope import Header, encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.core.messages import Fault, InProgress
from sagas.errors import StoreError
from sagas.ports import BarrierRow, Incoming, OutboxRow, Rows, Sql
from sagas.runtime.consumer import Consumer, ConsumerWork, Seen
from sagas.runtime.handlers import HandlerError, Ticket
from sagas.runtime.participant import Service
from sagas.store.database import Database
from sagas.store.participant import SqliteParticipantStore

DESK = Participant("desk", key="desk_id")


class Sat(Event, tag="sat"):
    desk_id: str


class Full(Rejection, tag="full"):
    desk_id: str


class Sit(Command[Sat | Full], tag="sit"):
    desk_id: str


class Left(Event, tag="left"):
    desk_id: str
    hour: int


class Leave(Command[Left], tag="leave"):
    desk_id: str


class Keyless(Command[Sat], tag="keyless"):
    other: str


def three_too_many(sql: Sql, command: Sit, a: int, b: int) -> Sat:
    raise AssertionError


def no_command(sql: Sql, command: str) -> Sat:
    raise AssertionError


def without_the_key(sql: Sql, command: Keyless) -> Sat:
    raise AssertionError


class Tagless(Command[Sat]):
    desk_id: str


def without_a_tag(sql: Sql, command: Tagless) -> Sat:
    raise AssertionError


class Moved(Event, tag="moved", version=2):
    desk_id: str


class Move(Command[Moved], tag="move", version=2):
    desk_id: str


def without_its_upcaster(sql: Sql, command: Move) -> Moved:
    raise AssertionError


def another_reply(sql: Sql, command: Sit) -> Left:
    raise AssertionError


def right(sql: Sql, command: Sit) -> Sat | Full:
    raise AssertionError


async def asynchronous(sql: Sql, command: Sit) -> Sat:
    raise AssertionError


def yielding(sql: Sql, command: Sit) -> Iterator[Sat]:
    yield Sat(desk_id="d")


class SitAt(Command[Sat], tag="sit-at"):
    desk_id: UUID


def by_a_number(sql: Sql, command: SitAt) -> Sat:
    raise AssertionError


class Silent(Command, tag="silent"):  # type: ignore[type-arg]  # that it declares no replies is the mistake
    desk_id: str


def without_replies(sql: Sql, command: Silent) -> Sat:
    raise AssertionError


def nowhere(sql: Sql, command: Sit) -> Sat:
    raise AssertionError


nowhere.__annotations__["sql"] = "Nowhere"


def unsaid(sql: Sql, command: Sit):  # type: ignore[no-untyped-def]
    raise AssertionError


def with_a_limit(sql: Sql, command: Sit, limit: int = 5) -> Sat:
    raise AssertionError


def by_name(sql: Sql, *, command: Sit) -> Sat:
    raise AssertionError


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (with_a_limit, "`limit: int = 5` is given a .*Ticket; annotate it so"),
        (by_name, "write its parameter `command: .*` without stars"),
        (asynchronous, "is an `async def`, .* write `def`"),
        (yielding, "has a `yield` in it"),
        (unsaid, r"does not say what it returns; annotate it `-> Sat \| Full`"),
        (three_too_many, "takes 4 parameters"),
        (no_command, "annotate its second parameter with a command"),
        (without_the_key, "needs a tag and the field 'desk_id'"),
        (without_a_tag, "needs a tag and the field 'desk_id'"),
        (without_its_upcaster, r"command Move .*version"),
        (by_a_number, "command SitAt .* holds its business key 'desk_id' as UUID.*write `desk_id: str`"),
        (without_replies, "command Silent .* declares no replies"),
        (nowhere, "an annotation cannot be read: name 'Nowhere' is not defined; import it"),
        (another_reply, "may return Left, which is no reply of Sit"),
    ],
)
def test_a_handler_that_cannot_be_right_is_refused_with_its_line(function: Callable[..., Event], problem: str) -> None:
    with pytest.raises(HandlerError, match=problem) as caught:
        Service(DESK).handles(function)
    assert f"{__file__}:{function.__code__.co_firstlineno}" in str(caught.value)


class Callee:
    """Something that can be called and is no function."""

    def __call__(self, sql: Sql, command: Sit) -> Sat | Full:
        """Not called."""
        raise AssertionError


class AsyncCallee:
    """The same, to be awaited."""

    async def __call__(self, sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        """Not called."""
        raise AssertionError


@pytest.mark.parametrize("callee", [Callee(), partial(right)])
def test_what_is_no_function_is_refused_as_a_handler(callee: Callable[..., Event]) -> None:
    with pytest.raises(HandlerError, match="is no function: write one with `def`"):
        Service(DESK).handles(callee)


async def read(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
    raise AssertionError


@pytest.mark.parametrize("handler", [read, partial(read), AsyncCallee()])
def test_a_consumer_refuses_a_handler_that_nobody_would_await(handler: Any) -> None:
    with pytest.raises(HandlerError, match=r"consumer 'reader': handler .* is an `async def`"):
        Consumer("reader", (DESK,), handler)


def test_two_handlers_of_one_command_are_refused() -> None:
    service = Service(DESK)
    service.handles(right)
    with pytest.raises(HandlerError, match="two handlers for 'sit'"):
        service.handles(right)
    assert service.command_tags == {"sit"}


def test_an_undo_that_could_not_answer_when_there_is_nothing_to_undo_is_refused() -> None:
    def leave(sql: Sql, command: Leave) -> Left:
        raise AssertionError

    with pytest.raises(HandlerError, match="its reply Left still needs hour"):
        Service(DESK).undoes(leave)
    Service(DESK).undoes(nothing=lambda command: Left(desk_id=command.desk_id, hour=0))(leave)


def sit_down(sql: Sql, command: Sit) -> Sat | Full:
    return Sat(desk_id=command.desk_id)


def leave_it(sql: Sql, command: Leave) -> Left:
    raise AssertionError("there is nothing to undo")


def test_an_undo_that_has_nothing_to_undo_answers_as_its_service_says() -> None:
    service = Service(DESK)
    service.handles(sit_down)
    service.undoes(nothing=lambda command: Left(desk_id=command.desk_id, hour=7))(leave_it)
    store = SqliteParticipantStore(":memory:")
    instance = instance_id("seat", "d-1", 1_700_000_000_000)
    command_id = derived_id(instance, "sit", "undo")
    payload = encode_message(
        Leave(desk_id="d-1"), message_id=command_id, key_field="desk_id", key="d-1", now_ms=1_700_000_000_000
    )
    headers = {Header.INSTANCE: instance, Header.STEP: "sit", Header.OPERATION: "undo", Header.ATTEMPT: "1"}
    incoming = Incoming(
        id=command_id, topic=DESK.commands, partition=0, offset=0, timestamp_ms=0, payload=payload, headers=headers
    )
    service.process([incoming], store, 1_700_000_000_000)
    (answer,) = store.unpublished(9)
    assert b'"data":{"hour":7}' in answer.payload
    store.close()


def in_progress_for_ever(sql: Sql, command: Sit) -> Sat | InProgress:
    return InProgress()


def test_an_undo_that_may_stay_in_progress_is_refused_for_nothing_would_ever_answer_it() -> None:
    Service(DESK).handles(in_progress_for_ever)
    with pytest.raises(HandlerError, match=r"in_progress_for_ever.*may return InProgress, and nothing settles an undo"):
        Service(DESK).undoes(in_progress_for_ever)


# --------------------------------------------------------------------------- replies


def a_command_of(run: str, command: "Tell | TellLater") -> Incoming:
    command_id = derived_id(run, "tell", "do")
    payload = encode_message(command, message_id=command_id, key_field="desk_id", key=command.desk_id, now_ms=1)
    headers = {Header.INSTANCE: run, Header.STEP: "tell", Header.OPERATION: "do", Header.ATTEMPT: "1"}
    return Incoming(
        id=command_id, topic=DESK.commands, partition=0, offset=0, timestamp_ms=1, payload=payload, headers=headers
    )


class Told(Event, tag="told"):
    desk_id: str
    hour: Annotated[int, Meta(le=23)]


class Dumb(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


class Tell(Command[Told], tag="tell"):
    desk_id: str
    hour: int


@pytest.mark.parametrize(
    ("hour", "says"),
    [
        (24, "reply Told could not be read by its saga: ValidationError: Expected `int` <= 23"),
        (7, "reply Told could not be read by its saga: ValueError: a whole number of 61 bits"),
        (5, "Dumb: it cannot say what it is"),
    ],
)
def test_a_reply_that_breaks_its_own_bounds_or_what_is_raised_is_a_fault_and_leaves_nothing(
    hour: int, says: str
) -> None:
    desk = Service(DESK)

    @desk.handles
    def tell(sql: Sql, command: Tell) -> Told:
        sql.execute("CREATE TABLE told (hour INTEGER) STRICT")
        if command.hour == 5:
            raise Dumb
        return Told(desk_id=command.desk_id, hour=-(2**60) if command.hour == 7 else command.hour)

    store = SqliteParticipantStore(":memory:")
    run = instance_id("meeting", "d-1", 1)
    command = Tell(desk_id="d-1", hour=hour)
    desk.process([a_command_of(run, command)], store, 1)

    (answer,) = store.unpublished(9)
    assert answer.event_type == "sagas.fault"
    assert says in answer.payload.decode()
    with store.transaction() as transaction:
        assert transaction.recall(run, "tell", "do") is None, "a mended release may answer it"
        assert transaction.sql.execute("SELECT 1 FROM sqlite_schema WHERE name = 'told'").fetchall() == []
    store.close()


@pytest.mark.parametrize("rows", [1, 1000])
def test_a_disk_that_is_full_is_no_fault_however_many_rows_a_statement_has(rows: int, tmp_path: Path) -> None:
    desk = Service(DESK)

    @desk.handles
    def tell(sql: Sql, command: Tell) -> Told:
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        sql.execute(f"{numbers} INSERT INTO told SELECT randomblob({2_000_000 // rows}) FROM n")
        return Told(desk_id=command.desk_id, hour=command.hour)

    def create(sql: Sql) -> None:
        # With something to check in each row, SQLite takes back the statement alone and not the transaction.
        sql.execute("CREATE TABLE told (what BLOB NOT NULL CHECK (length(what) > 0)) STRICT")

    database = Database(tmp_path / "desk.db")
    store = SqliteParticipantStore(database, [("001", create)])
    run = instance_id("meeting", "d-1", 1)
    (pages,) = database.rows("PRAGMA page_count")[0]
    database.rows(f"PRAGMA max_page_count = {pages + 200}")
    with pytest.raises(StoreError, match=r"the disk is full .*make room"):
        desk.process([a_command_of(run, Tell(desk_id="d-1", hour=5))], store, 1)
    assert store.unpublished(9) == []

    database.rows("PRAGMA max_page_count = 1000000")
    desk.process([a_command_of(run, Tell(desk_id="d-1", hour=5))], store, 1)
    assert [answer.event_type for answer in store.unpublished(9)] == ["told"]
    store.close()


@pytest.mark.parametrize(("answered", "is_taken"), [("d-1", True), ("d-2", False), ("", False)])
def test_a_reply_for_another_business_key_is_a_fault_and_leaves_nothing(answered: str, *, is_taken: bool) -> None:
    desk = Service(DESK)

    @desk.handles
    def tell(sql: Sql, command: Tell) -> Told:
        sql.execute("CREATE TABLE told (hour INTEGER) STRICT")
        return Told(desk_id=answered, hour=command.hour)

    store = SqliteParticipantStore(":memory:")
    run = instance_id("meeting", "d-1", 1)
    desk.process([a_command_of(run, Tell(desk_id="d-1", hour=5))], store, 1)

    (answer,) = store.unpublished(9)
    said = f"tell answered with Told for desk_id {answered!r}, and was asked for 'd-1'"
    assert answer.event_type == ("told" if is_taken else "sagas.fault")
    assert (said in answer.payload.decode()) is not is_taken
    with store.transaction() as transaction:
        tables = transaction.sql.execute("SELECT 1 FROM sqlite_schema WHERE name = 'told'").fetchall()
        assert (transaction.recall(run, "tell", "do") is not None, bool(tables)) == (is_taken, is_taken)
    store.close()


# --------------------------------------------------------------------------- rows that are left unread


def two_shelves(sql: Sql) -> None:
    sql.execute("CREATE TABLE shelves (count INTEGER NOT NULL) STRICT")
    sql.execute("INSERT INTO shelves VALUES (10), (10)")


@pytest.mark.parametrize("raises", [True, False])
def test_a_command_whose_rows_somebody_holds_unread_takes_effect_once_or_not_at_all(*, raises: bool) -> None:
    desk, held = Service(DESK), list[Rows]()

    @desk.handles
    def tell(sql: Sql, command: Tell) -> Told:
        held.append(sql.execute("UPDATE shelves SET count = count - 1 RETURNING count"))
        assert held[-1].fetchone() is not None
        if raises:
            raise Dumb
        return Told(desk_id=command.desk_id, hour=command.hour)

    store = SqliteParticipantStore(":memory:", [("001-shelves", two_shelves)])
    command = a_command_of(instance_id("meeting", "d-1", 1), Tell(desk_id="d-1", hour=4))
    for now_ms in (1, 2):
        desk.process([command], store, now_ms)
    assert {row.event_type for row in store.unpublished(9)} == {"sagas.fault" if raises else "told"}
    with store.transaction() as transaction:
        counts = transaction.sql.execute("SELECT count FROM shelves").fetchall()
    assert counts == [(10,), (10,)] if raises else [(9,), (9,)]
    store.close()


def test_a_consumer_whose_rows_somebody_holds_unread_goes_on() -> None:
    held: list[Rows] = []

    def take(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        held.append(sql.execute("UPDATE shelves SET count = count - 1 RETURNING count"))
        return ()

    store = SqliteParticipantStore(":memory:", [("001-shelves", two_shelves)])
    work = ConsumerWork(Consumer("reader", (DESK,), take), store, kept_ms=1000)
    event = a_command_of(instance_id("meeting", "d-1", 1), Tell(desk_id="d-1", hour=4))
    work.process([msgspec.structs.replace(event, topic=DESK.events)], 1)
    with store.transaction() as transaction:
        assert transaction.sql.execute("SELECT count FROM shelves").fetchall() == [(9,), (9,)]
    store.close()


# --------------------------------------------------------------------------- answers that are given later


class Untold(Rejection, tag="untold"):
    desk_id: str


class TellLater(Command[Told | Untold], tag="tell-later"):
    desk_id: str


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Sat(desk_id="d-1"), "tell_later answered with Sat, expected InProgress | Told | Untold"),
        (Fault(reason="the bank is away"), "tell_later answered with Fault, expected"),
        (InProgress(), "InProgress is no definite answer"),
        (Told(desk_id="d-9", hour=4), "Told is for desk_id 'd-9', and what is in progress for 'd-1'"),
        (Told(desk_id="d-1", hour=24), "could not be read by its saga"),
    ],
)
def test_what_is_no_answer_to_a_command_in_progress_is_refused_and_a_right_one_still_taken(
    reply: Event, says: str
) -> None:
    desk, tickets = Service(DESK), list[Ticket]()

    @desk.handles
    def tell_later(sql: Sql, command: TellLater, ticket: Ticket) -> Told | Untold | InProgress:
        tickets.append(ticket)
        return InProgress()

    store = SqliteParticipantStore(":memory:")
    command = a_command_of(instance_id("meeting", "d-1", 1), TellLater(desk_id="d-1"))
    desk.process([command], store, 1)
    with store.transaction() as transaction, pytest.raises(HandlerError) as refused:
        desk.settle(transaction, tickets[0], reply, 2)
    assert says in str(refused.value)
    with store.transaction() as transaction:
        assert desk.settle(transaction, tickets[0], Untold(desk_id="d-1"), 3)
        row = transaction.recall(tickets[0].instance_id, "tell", "do")
    assert row is not None
    assert (row.answer, row.is_refusal) == ("untold", True)
    assert [row.event_type for row in store.unpublished(9)] == ["sagas.in-progress", "untold"]
    store.close()


def test_what_an_older_release_has_left_in_progress_is_answered_with_what_can_be_read() -> None:
    desk, store = Service(DESK), SqliteParticipantStore(":memory:")
    ticket = Ticket(instance_id("meeting", "d-1", 1), "tell")
    with store.transaction() as transaction:
        row = BarrierRow(instance_id=ticket.instance_id, step="tell", operation="do", command_hash=b"h")
        transaction.remember(row, 1)
        with pytest.raises(HandlerError, match="Fault has no desk_id"):
            desk.settle(transaction, ticket, Fault(), 2)
        assert desk.settle(transaction, ticket, Untold(desk_id="d-1"), 3)
    store.close()
