"""Bugs of the shells: worker, relay, batch and store."""

from typing import Any

import msgspec

from sagas.errors import BrokerError
from sagas.ports import CaughtUp, Changes, OutboxRow, Outgoing, Position, Reading
from sagas.runtime.worker import positions
from sagas.testing.simulation import Subject
from tests.mutants.mutant import Mutant, always
from tests.simulation.trips import TRIPS

WORKER = "sagas.runtime.worker:Worker"
RELAY = "sagas.runtime.relay:Relay"
BATCH = "sagas.runtime.batch:Batch"
ORCHESTRATOR = "sagas.runtime.orchestrator:Orchestrator"
STORED = "sagas.store.transaction:SqliteTransaction"

_NO_CLEANING = "a simulated system lives for minutes, and nothing is cleaned away before it is days old"


# --------------------------------------------------------------------------- worker


def _all_read(now_ms: int) -> CaughtUp:
    return CaughtUp(ms=now_ms, reading=Reading(partitions=frozenset(), read=frozenset()))


def _ack_before_commit(original: Any) -> Any:
    async def turn(self: Any) -> int:
        batch = await self._subscription.poll(self._batch_max)
        if batch:
            await self._subscription.commit(positions(batch))
            await self._deal_with(batch)
        self._relay.wake()
        now_ms = self._clock.now_ms()
        self._is_busy = await self._offload(self._work.after_poll, _all_read(now_ms) if not batch else None, now_ms)
        return len(batch)

    return turn


def _timers_before_catch_up(original: Any) -> Any:
    async def turn(self: Any) -> int:
        now_ms = self._clock.now_ms()
        if self._work.is_due(now_ms):
            self._is_busy = await self._offload(self._work.after_poll, _all_read(now_ms), now_ms)
            self._relay.wake()
        return int(await original(self))

    return turn


def _full_is_all(original: Any) -> Any:
    def after_poll(self: Any, caught_up: CaughtUp | None, now_ms: int) -> bool:
        return bool(original(self, caught_up or _all_read(now_ms), now_ms))

    return after_poll


def _own_reading_only(original: Any) -> Any:
    def read_by_all_ms(database: Any, caught_up: CaughtUp) -> int:
        return caught_up.ms

    return read_by_all_ms


def _only_what_is_known(original: Any) -> Any:
    def read_ms(database: Any, partitions: Any) -> Any:
        return [ms for ms in original(database, partitions) if ms]

    return read_ms


def _all_that_there_is(original: Any) -> Any:
    async def reading(self: Any) -> Reading:
        reading: Reading = await original(self)
        return msgspec.structs.replace(reading, read=reading.partitions)

    return reading


def _no_rewind(original: Any) -> Any:
    async def deal_with(self: Any, batch: Any) -> None:
        await self._offload(self._work.process, batch, self._clock.now_ms())

    return deal_with


def _one_too_far(original: Any) -> Any:
    def beyond(last: Any) -> list[Position]:
        return [msgspec.structs.replace(p, offset=p.offset + 1) for p in original(last)]

    return beyond


def _by_its_begin(original: Any) -> Any:
    def ended_in(marks: str) -> str:
        return str(original(marks)).replace("updated_ms < ?", "? > 0")

    return ended_in


def _poison_raises(original: Any) -> Any:
    def read(self: Any, incoming: Any) -> Any:
        incoming.payload.decode()
        return original(self, incoming)

    return read


# --------------------------------------------------------------------------- relay


def _outgoing(rows: list[OutboxRow]) -> list[Outgoing]:
    return [Outgoing(id=r.id, topic=r.topic, key=r.key, payload=r.payload, headers=r.headers) for r in rows]


def _mark_before_publish(original: Any) -> Any:
    async def flush(self: Any) -> int:
        rows = self._outbox.unpublished(self._batch_max)
        self._outbox.mark_published([row.seq for row in rows], self._clock.now_ms())
        if rows:
            await self._broker.publish(_outgoing(rows))
        return len(rows)

    return flush


def _mark_what_failed(original: Any) -> Any:
    async def flush(self: Any) -> int:
        rows = self._outbox.unpublished(self._batch_max)
        try:
            if rows:
                await self._broker.publish(_outgoing(rows))
        except BrokerError:
            pass  # it will have arrived
        self._outbox.mark_published([row.seq for row in rows], self._clock.now_ms())
        return len(rows)

    return flush


def _newest_first(original: Any) -> Any:
    async def flush(self: Any) -> int:
        rows = self._outbox.unpublished(self._batch_max)
        if rows:
            await self._broker.publish(_outgoing(rows[::-1]))
            self._outbox.mark_published([row.seq for row in rows], self._clock.now_ms())
        return len(rows)

    return flush


def _only_one_of_a_batch(original: Any) -> Any:
    async def flush(self: Any) -> int:
        rows = self._outbox.unpublished(self._batch_max)
        if rows:
            await self._broker.publish(_outgoing(rows[:1]))
            self._outbox.mark_published([row.seq for row in rows], self._clock.now_ms())
        return len(rows)

    return flush


# --------------------------------------------------------------------------- batch and store


def _outbox_first(original: Any) -> Any:
    """The commands are committed, and so published, before the state that sent them."""

    def commit(self: Any, work: Any, now_ms: int) -> None:
        from sagas.runtime.batch import Batch

        with self._store.transaction() as transaction:
            batch: Any = Batch(self.catalog, transaction, now_ms)
            work(batch)
            transaction.write(Changes(now_ms=now_ms, outbox=list(batch._changes.outbox)))
        with self._store.transaction() as transaction:
            batch = Batch(self.catalog, transaction, now_ms)
            work(batch)
            batch._changes.outbox.clear()
            batch.write()

    return commit


def _outbox_later(original: Any) -> Any:
    """The commands are committed in a transaction of their own, after the state that sent them."""

    def commit(self: Any, work: Any, now_ms: int) -> None:
        from sagas.runtime.batch import Batch

        with self._store.transaction() as transaction:
            batch: Any = Batch(self.catalog, transaction, now_ms)
            work(batch)
            rows = list(batch._changes.outbox)
            batch._changes.outbox.clear()
            batch.write()
        with self._store.transaction() as transaction:
            transaction.write(Changes(now_ms=now_ms, outbox=rows))

    return commit


def _by_offset(original: Any) -> Any:
    def process(self: Any, incoming: Any, now_ms: int) -> None:
        named = [msgspec.structs.replace(m, id=f"{m.topic}/{m.partition}/{m.offset}") for m in incoming]
        original(self, named, now_ms)

    return process


def _nothing_is_known(original: Any) -> Any:
    def load(self: Any, items: Any) -> None:
        original(self, items)
        self._seen = set()

    return load


def _journal_skipped(original: Any) -> Any:
    def adopt(self: Any, definition: Any, before: Any, decision: Any, message: Any, message_id: str) -> None:
        original(self, definition, before, decision, message, message_id)
        if decision.verdict != "advance":
            self._changes.journal.pop()

    return adopt


def _parked_just_now_is_left(original: Any) -> Any:
    def unpark(self: Any, read: Any) -> None:
        changes: Changes = self._changes
        just_now, changes.parked = changes.parked, []
        original(self, read)
        changes.parked += just_now

    return unpark


def _parked_is_not_asked_first(original: Any) -> Any:
    def take_waiting(self: Any, timers: Any, expired: Any, read: Any) -> None:
        original(self, (), expired, read)

    return take_waiting


def _asked_once(original: Any) -> Any:
    def begin(self: Any) -> bool:
        was_asked = self._version != 0
        return bool(original(self)) or was_asked

    return begin


def _rolled_back_is_committed(original: Any) -> Any:
    def has_rolled_back(self: Any) -> None:
        self.has_committed()
        original(self)

    return has_rolled_back


def _early_signal_forgotten(original: Any) -> Any:
    def on_signal(turn: Any, message: Any) -> None:
        kept = turn.instance.signals
        original(turn, message)
        turn.change(signals=kept)

    return on_signal


def _trips(shop: Subject) -> Subject:
    return TRIPS


def _fires_what_was_replaced(original: Any) -> Any:
    def fire(self: Any, timer: Any) -> None:
        self._timers.pop((timer.instance_id, timer.name), None)
        original(self, timer)

    return fire


SHELL_MUTANTS = (
    Mutant(name="ack before commit", replaced={f"{WORKER}.turn": _ack_before_commit}),
    Mutant(name="timer fires before catch-up", replaced={f"{WORKER}.turn": _timers_before_catch_up}),
    Mutant(
        name="a full poll counts as read to the end",
        replaced={"sagas.runtime.roles:OrchestratorWork.after_poll": _full_is_all},
        test="tests/races/test_timers.py",
        why_not_simulated="one seed in 44 fills a poll while a timeout is due",
    ),
    Mutant(
        name="timers wait for nobody else's reading",
        replaced={"sagas.store.reading:read_by_all_ms": _own_reading_only},
    ),
    Mutant(
        name="what nobody has read holds no timer back",
        replaced={"sagas.store.reading:_read_ms": _only_what_is_known},
        test="tests/store/test_reading.py",
        why_not_simulated="every partition is read once before there are timers",
    ),
    Mutant(
        name="a partition that was lost counts as read",
        replaced={"sagas.broker.memory:MemorySubscription.reading": _all_that_there_is},
        test="tests/runtime/test_takeover.py",
        why_not_simulated="one seed in 9,000 times a step out in the moment between",
    ),
    Mutant(name="no rewind after a failed commit", replaced={f"{WORKER}._deal_with": _no_rewind}),
    Mutant(name="offset stored beyond what was done", replaced={"sagas.runtime.worker:positions_of": _one_too_far}),
    Mutant(name="an unreadable message is not kept", replaced={f"{BATCH}._bury": always(None)}),
    Mutant(name="an unreadable message raises", replaced={"sagas.runtime.intake:Intake.read": _poison_raises}),
    Mutant(name="mark before publish", replaced={f"{RELAY}.flush": _mark_before_publish}),
    Mutant(name="mark what failed to be published", replaced={f"{RELAY}.flush": _mark_what_failed}),
    Mutant(name="relay reorders", replaced={f"{RELAY}.flush": _newest_first}),
    Mutant(name="relay publishes one of a batch", replaced={f"{RELAY}.flush": _only_one_of_a_batch}),
    Mutant(name="publish before commit", replaced={f"{ORCHESTRATOR}._commit": _outbox_first}),
    Mutant(name="commit, then outbox", replaced={f"{ORCHESTRATOR}._commit": _outbox_later}),
    Mutant(
        name="what was rolled back is published",
        replaced={"sagas.store.outbox:OutboxTable.has_rolled_back": _rolled_back_is_committed},
    ),
    Mutant(
        name="how things stand is asked once",
        replaced={"sagas.store.known:KnownInstances.begin": _asked_once},
        test="tests/races/test_two_nodes.py",
        why_not_simulated=_NO_CLEANING,
    ),
    Mutant(name="dedupe by offset", replaced={f"{ORCHESTRATOR}.process": _by_offset}),
    Mutant(
        name="no inbox",
        replaced={
            f"{BATCH}.load": _nothing_is_known,
            "sagas.store.transaction:_SEE": lambda sql: sql.replace("INSERT", "INSERT OR IGNORE"),
        },
    ),
    Mutant(name="journal skips what moved nothing", replaced={f"{BATCH}._adopt": _journal_skipped}),
    Mutant(name="business key not looked up", replaced={f"{STORED}.find": always({})}),
    Mutant(
        name="revision check off",
        replaced={"sagas.store.transaction:_UPDATE": lambda sql: sql.replace("AND revision = ?", "AND ? >= 0")},
        test="tests/store/test_sqlite.py",
        why_not_simulated="SQLite has one writer, so nobody comes between reading and writing",
    ),
    Mutant(
        name="a signal read before its start in one batch is forgotten",
        replaced={f"{BATCH}.unpark": _parked_just_now_is_left},
        subject=_trips,
    ),
    Mutant(
        name="a signal that comes before its wait is forgotten",
        replaced={"sagas.core.kernel:on_signal": _early_signal_forgotten},
        subject=_trips,
    ),
    Mutant(
        name="a wait is given up before catch-up",
        replaced={f"{WORKER}.turn": _timers_before_catch_up},
        subject=_trips,
    ),
    Mutant(
        name="a timer fires that one before it has replaced",
        replaced={f"{BATCH}.fire": _fires_what_was_replaced},
        test="tests/races/test_timers.py",
        why_not_simulated="it takes two timers due in one batch and then a lost undo: one seed in 600 has both",
    ),
    Mutant(
        name="a timer fires over an answer that lies parked",
        replaced={"sagas.runtime.parking:Parking.take_waiting": _parked_is_not_asked_first},
        test="tests/races/test_two_nodes.py",
        why_not_simulated="it takes two releases on one database, and all simulated orchestrators are of one",
    ),
    Mutant(
        name="what is not told yet is cleaned away",
        replaced={"sagas.store.feed:waiting_ids": always(frozenset[str]())},
        test="tests/runtime/test_cleaning.py",
        why_not_simulated=_NO_CLEANING,
    ),
    Mutant(
        name="a stuck run's journal is cleaned away",
        replaced={"sagas.store.cleaning:ENDS": lambda ends: (*ends[:-1], "stuck")},
        test="tests/runtime/test_cleaning.py",
        why_not_simulated=_NO_CLEANING,
    ),
    Mutant(
        name="a run goes by when it began",
        replaced={"sagas.store.cleaning:_ended_in": _by_its_begin},
        test="tests/runtime/test_cleaning.py",
        why_not_simulated=_NO_CLEANING,
    ),
    Mutant(
        name="a run that was purged leaves nothing",
        replaced={f"{STORED}.purged": always(frozenset[str]()), f"{STORED}.is_purged": always(False)},
        test="tests/races/test_operators.py",
        why_not_simulated=_NO_CLEANING,
    ),
    Mutant(
        name="parked reply dropped",
        replaced={f"{BATCH}._park": always(None)},
        test="tests/runtime/test_world.py",
        why_not_simulated="commands go out after their instance is stored, so no honest reply is early",
    ),
)
