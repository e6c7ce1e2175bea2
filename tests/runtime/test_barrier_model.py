"""The barrier, under any order of commands, repeats, crashes, later answers and cleaning, against what it promises."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sagas import Command, Event, InProgress, Participant, Rejection
from sagas.core.envelope import Header, encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import Operation
from sagas.ports import Incoming, OutboxRow, ParticipantTransaction, Sql
from sagas.runtime.cleaning import DAY_MS
from sagas.runtime.delivery import CLOCKS_APART_MS
from sagas.runtime.handlers import Ticket
from sagas.runtime.participant import Service
from sagas.store.database import Database
from sagas.store.participant import SqliteParticipantStore

HOTEL = Participant("hotel", key="trip_id")
BEGIN_MS = 1_735_689_600_000
STEPS = ("room", "sauna")
TRIPS = ("t-1",)
HOWS = ("book", "refuse", "later")
DEFINITE = ("room.booked", "room.refused", "room.freed")
KEPT_MS = 8 * DAY_MS
CHANGES = "SELECT change FROM effects WHERE instance_id = ? AND step = ?"
TAKE_BACK = "DELETE FROM effects WHERE instance_id = ? AND step = ?"

Whose = tuple[str, str, str]
"""Instance, step and operation, as headers say them."""


class Booked(Event, tag="room.booked"):
    """Done."""

    trip_id: str
    nonce: int


class Refused(Rejection, tag="room.refused"):
    """Refused."""

    trip_id: str
    nonce: int


class Freed(Event, tag="room.freed"):
    """Undone, or there was nothing."""

    trip_id: str
    nonce: int = 0


class Book(Command[Booked | Refused], tag="room.book"):
    """`how` it is dealt with."""

    trip_id: str
    how: str


class Free(Command[Freed], tag="room.free"):
    """Take it back."""

    trip_id: str


class Killed(BaseException):
    """kill -9."""


class MortalStore(SqliteParticipantStore):
    """A database whose process dies before or behind its next COMMIT."""

    dies = ""

    @contextmanager
    def transaction(self) -> Generator[ParticipantTransaction]:
        with super().transaction() as transaction:
            yield transaction
            if self.dies == "before":
                raise Killed
        if self.dies == "after":
            raise Killed


def _tables(sql: Sql) -> None:
    sql.execute("CREATE TABLE effects (instance_id TEXT NOT NULL, step TEXT NOT NULL, change INTEGER NOT NULL) STRICT")


@dataclass
class Operations:
    """What was asked of one step of one trip, and what came of it."""

    trip: str
    step: str
    how: str = ""
    asked_ms: int = 0
    attempts: int = 0
    undo_asked: bool = False
    answers: dict[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])

    @property
    def instance_id(self) -> str:
        return instance_id("trip", self.trip, BEGIN_MS)


def _whose(message: Incoming | OutboxRow) -> Whose:
    said = message.headers
    return said.get(Header.INSTANCE, ""), said.get(Header.STEP, ""), said.get(Header.OPERATION, "")


class Barrier(RuleBasedStateMachine):
    """Two processes of a participant on one database, and an orchestrator that may say anything it ever said again."""

    def __init__(self) -> None:
        super().__init__()
        # One connection for all: two on a file would only wait for each other, and for the disk.
        self.database = Database(":memory:")
        self.is_ill = False
        self.calls = 0
        self.now_ms = BEGIN_MS
        self.offset = 0
        self.operations = {(trip, step): Operations(trip, step) for trip in TRIPS for step in STEPS}
        self.service = self._a_service()
        self.stores = [self._open(), self._open()]

    def teardown(self) -> None:
        self.database.close()

    # ----------------------------------------------------------------- what may happen

    @rule(
        asked=st.lists(
            st.tuples(st.sampled_from(TRIPS), st.sampled_from(STEPS), st.sampled_from(("do", "undo"))),
            min_size=1,
            max_size=4,
        ),
        how=st.sampled_from(HOWS),
        process=st.integers(0, 1),
        is_ill=st.booleans(),
        dies=st.sampled_from(("", "", "before", "after")),
    )
    def ask(self, asked: list[tuple[str, str, Operation]], how: str, process: int, is_ill: bool, dies: str) -> None:
        """Hand in a batch of commands, new ones and old ones, to one of the processes, which may die of it."""
        self.now_ms += 1_000
        self.is_ill = is_ill
        batch = [self._command(self.operations[trip, step], operation, how) for trip, step, operation in asked]
        store = self.stores[process]
        store.dies = dies
        with suppress(Killed):
            self.service.process(batch, store, self.now_ms)
        answered = self._published(store)
        if dies:
            self.stores[process] = self._open()
        for row in answered:
            self._hold_against_what_was_said(row)
        if not dies:
            self._require_answers(batch, answered)

    @rule(trip=st.sampled_from(TRIPS), step=st.sampled_from(STEPS), is_refused=st.booleans())
    def settle(self, trip: str, step: str, is_refused: bool) -> None:
        """Somebody learns the outcome of what is in progress."""
        operations = self.operations[trip, step]
        self.calls += 1
        reply = (Refused if is_refused else Booked)(trip_id=trip, nonce=self.calls)
        with self.stores[0].transaction() as transaction:
            ticket = Ticket(operations.instance_id, step)
            is_settled = self.service.settle(transaction, ticket, reply, self.now_ms)
            if is_settled and is_refused:
                # Whoever says so takes back what the handler had begun.
                transaction.sql.execute(TAKE_BACK, [ticket.instance_id, ticket.step])
        assert not (is_settled and ("do" in operations.answers or "undo" in operations.answers))
        for row in self._published(self.stores[0]):
            self._hold_against_what_was_said(row)

    @rule(days=st.integers(1, 12))
    def wait(self, days: int) -> None:
        """Time passes."""
        self.now_ms += days * DAY_MS

    @rule(process=st.integers(0, 1), count=st.integers(1, 3), ahead_ms=st.sampled_from((0, 0, 0, 40 * DAY_MS)))
    def clean(self, process: int, count: int, ahead_ms: int) -> None:
        """A step of cleaning, once in a while by clocks that are wrong."""
        self.now_ms += 1_000
        self.stores[process].forget_operations(self.now_ms + ahead_ms - KEPT_MS, count)

    # ----------------------------------------------------------------- what has to hold

    @invariant()
    def each_takes_effect_once(self) -> None:
        for operations in self.operations.values():
            changes = self._changes(operations)
            assert changes.count(1) <= 1, "a do took effect twice"
            assert changes.count(-1) <= 1, "an undo took effect twice"
            if "undo" in operations.answers:
                assert sum(changes) == 0, "what was undone stands"
            if operations.answers.get("do", ("",))[0] == "room.refused":
                assert not changes, "what was refused stands"

    def _hold_against_what_was_said(self, row: OutboxRow) -> None:
        if row.event_type not in DEFINITE:
            return
        instance, step, operation = _whose(row)
        which = self._of(instance, step)
        said = which.answers.setdefault(operation, (row.event_type, row.payload))
        assert said == (row.event_type, row.payload), "another answer than before"

    def _require_answers(self, batch: list[Incoming], answered: list[OutboxRow]) -> None:
        with self.stores[0].transaction() as transaction:
            forgotten_ms = transaction.forgotten_ms
        told = {_whose(row) for row in answered}
        for incoming in batch:
            instance, step, operation = _whose(incoming)
            operations = self._of(instance, step)
            is_old = forgotten_ms and operations.asked_ms < forgotten_ms + CLOCKS_APART_MS
            if operation == "undo" or not (operations.undo_asked or is_old):
                assert (instance, step, operation) in told, f"{operation} of {step} was not answered"

    def _of(self, instance: str, step: str) -> Operations:
        return next(o for o in self.operations.values() if (o.instance_id, o.step) == (instance, step))

    # ----------------------------------------------------------------- how it is done

    def _command(self, operations: Operations, operation: Operation, how: str) -> Incoming:
        command: Command[Event] = Free(trip_id=operations.trip)
        operations.asked_ms = operations.asked_ms or self.now_ms
        headers = {
            Header.INSTANCE: operations.instance_id,
            Header.STEP: operations.step,
            Header.OPERATION: operation,
            Header.SINCE: str(operations.asked_ms),
        }
        if operation == "do":
            operations.how = operations.how or how
            operations.attempts += 1
            command = Book(trip_id=operations.trip, how=operations.how)
        else:
            operations.undo_asked = True
        headers[Header.ATTEMPT] = str(operations.attempts)
        command_id = derived_id(operations.instance_id, operations.step, operation)
        payload = encode_message(
            command, message_id=command_id, key_field="trip_id", key=operations.trip, now_ms=self.now_ms
        )
        self.offset += 1
        return Incoming(
            id=command_id,
            topic=HOTEL.commands,
            partition=0,
            offset=self.offset,
            timestamp_ms=self.now_ms,
            payload=payload,
            headers=headers,
        )

    def _a_service(self) -> Service:
        service = Service(HOTEL)
        service.handles(self.book)
        service.undoes(self.free)
        return service

    def book(self, sql: Sql, command: Book, ticket: Ticket) -> Booked | Refused | InProgress:
        """The handler of the do."""
        nonce = self._change(sql, ticket, 1)
        if command.how == "later":
            return InProgress()
        return (Refused if command.how == "refuse" else Booked)(trip_id=command.trip_id, nonce=nonce)

    def free(self, sql: Sql, command: Free, ticket: Ticket) -> Freed:
        """The handler of the undo."""
        return Freed(trip_id=command.trip_id, nonce=self._change(sql, ticket, -1))

    def _change(self, sql: Sql, ticket: Ticket, by: int) -> int:
        sql.execute("INSERT INTO effects VALUES (?, ?, ?)", [ticket.instance_id, ticket.step, by])
        if self.is_ill:
            raise ConnectionError
        self.calls += 1
        return self.calls

    def _open(self) -> MortalStore:
        return MortalStore(self.database, [("001", _tables)])

    def _published(self, store: MortalStore) -> list[OutboxRow]:
        store.dies = ""
        rows = store.unpublished(1_000)
        store.mark_published([row.seq for row in rows], self.now_ms)
        return rows

    def _changes(self, operations: Operations) -> list[int]:
        with self.stores[0].transaction() as transaction:
            found = transaction.sql.execute(CHANGES, [operations.instance_id, operations.step]).fetchall()
        return [int(str(change)) for (change,) in found]


Barrier.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None, print_blob=True)
TestBarrier = Barrier.TestCase
