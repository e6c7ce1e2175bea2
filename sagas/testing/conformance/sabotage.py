"""A participant's database that dies or fails at a chosen moment.

A death is a `Crashed`, which is no `Exception`: no handler and no participant is to catch it. A failure
is a `Broken`, which is one: it stands for whatever a handler of its own accord may raise.
"""

from collections.abc import Collection, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from sagas.core.instance import Operation
from sagas.ports import BarrierRow, DeadLetter, Migration, OperationKey, OutboxRow, ParticipantTransaction, Rows, Sql
from sagas.store.participant import SqliteParticipantStore


class Crashed(BaseException):
    """The process died here."""


class Broken(Exception):
    """The handler raised here."""


@dataclass
class Plan:
    """Where it happens, counted from 1; 0 means nowhere."""

    crash_before_commit: int = 0
    crash_after_commit: int = 0
    raise_after_statement: int = 0


class SabotagedStore(SqliteParticipantStore):
    """The real store, in memory, with a `plan`. `is_hit` says whether the planned moment has come."""

    def __init__(self, migrations: Sequence[Migration]) -> None:
        super().__init__(":memory:", migrations)
        self._plan = Plan()
        self._commits = 0
        self._statements = 0
        self.is_hit = False

    def sabotage(self, plan: Plan) -> None:
        """Follow `plan` from now on; `Plan()` lets everything work again."""
        self._plan, self._commits, self._statements, self.is_hit = plan, 0, 0, False

    @contextmanager
    def transaction(self) -> Generator[ParticipantTransaction, None, None]:
        """One write transaction, unless the plan says that the process dies around its commit."""
        with super().transaction() as transaction:
            yield _Sabotaged(transaction, self)
            self._commits += 1
            if self._commits == self._plan.crash_before_commit:
                self.is_hit = True
                raise Crashed
        if self._commits == self._plan.crash_after_commit:
            self.is_hit = True
            raise Crashed

    def count_statement(self) -> None:
        """A statement of the participant's own was executed. Raises Broken where the plan says so."""
        self._statements += 1
        if self._statements == self._plan.raise_after_statement:
            self.is_hit = True
            raise Broken("a planted failure")


class _CountedSql:
    def __init__(self, sql: Sql, store: SabotagedStore) -> None:
        self._sql = sql
        self._store = store

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        # Executed first: what the statement wrote has to be taken back again.
        rows = self._sql.execute(sql, parameters)
        self._store.count_statement()
        return rows


class _Sabotaged:
    """A transaction whose `sql` counts; everything else is the real one's."""

    def __init__(self, transaction: ParticipantTransaction, store: SabotagedStore) -> None:
        self._transaction = transaction
        self._sql = _CountedSql(transaction.sql, store)

    @property
    def sql(self) -> Sql:
        return self._sql

    def savepoint(self) -> AbstractContextManager[None]:
        return self._transaction.savepoint()

    @property
    def forgotten_ms(self) -> int:
        return self._transaction.forgotten_ms

    def correct_forgotten(self, before_ms: int) -> None:
        self._transaction.correct_forgotten(before_ms)

    def prefetch(self, operations: Collection[OperationKey]) -> None:
        self._transaction.prefetch(operations)

    def recall(self, instance_id: str, step: str, operation: Operation) -> BarrierRow | None:
        return self._transaction.recall(instance_id, step, operation)

    def remember(self, row: BarrierRow, now_ms: int) -> bool:
        return self._transaction.remember(row, now_ms)

    def amend(self, row: BarrierRow, now_ms: int) -> None:
        self._transaction.amend(row, now_ms)

    def processed(self, event_id: str, event_type: str, now_ms: int) -> bool:
        return self._transaction.processed(event_id, event_type, now_ms)

    def note(self, event_id: str, event_type: str, now_ms: int) -> None:
        self._transaction.note(event_id, event_type, now_ms)

    def add_outbox(self, rows: Sequence[OutboxRow]) -> None:
        self._transaction.add_outbox(rows)

    def add_dead_letters(self, rows: Sequence[DeadLetter]) -> None:
        self._transaction.add_dead_letters(rows)
