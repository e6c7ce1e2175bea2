"""What is attacked: an operation of an example, and what it does when nothing goes wrong."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sagas.core.instance import Operation
from sagas.core.messages import Command, InProgress, tag_of
from sagas.ports import Incoming, Migration, OutboxRow
from sagas.testing.conformance.bench import Bench, Tables, is_done, is_readable, require, the_answer
from sagas.testing.conformance.examples import Attackable, Example


class NotApplicable(Exception):
    """This line does not concern this command; the text says why."""


@dataclass(frozen=True)
class Reference:
    """What a command does when nothing goes wrong. `is_repeatable`: twice alike, down to the last value."""

    answer: OutboxRow
    before: Tables
    after: Tables
    is_repeatable: bool

    def is_like(self, found: Tables) -> bool:
        """Whether `found` shows the same effect: the same values, or as many rows where values are drawn."""
        return is_like(self.after, found, self.is_repeatable)


@dataclass(frozen=True)
class Target:
    """One operation of an example: its do, or its undo after its do."""

    service: Attackable
    migrations: tuple[Migration, ...]
    example: Example
    operation: Operation

    @property
    def command(self) -> Command[Any]:
        """The command that is attacked."""
        return self.example.do if self.operation == "do" else self.undo

    @property
    def undo(self) -> Command[Any]:
        """The example's undo. Raises NotApplicable when it has none."""
        if self.example.undo is None:
            raise NotApplicable("nothing undoes it")
        return self.example.undo

    @contextmanager
    def bench(self, *, is_prepared: bool = True) -> Generator[Bench, None, None]:
        """A fresh database; `is_prepared`: with all done that comes before the command."""
        bench = Bench(self.service, self.migrations, self.example.given)
        try:
            if is_prepared and self.operation == "undo":
                bench.deliver(bench.incoming(self.example.do, "do"))
            yield bench
        finally:
            bench.close()

    def incoming(self, bench: Bench, attempt: int = 1) -> Incoming:
        """The command as it is delivered."""
        return bench.incoming(self.command, self.operation, attempt=attempt)

    def reference(self) -> Reference:
        """What it does when nothing goes wrong. Raises Failed when the example is not carried out."""
        first, second = self._undisturbed(), self._undisturbed()
        return Reference(first.answer, first.before, first.after, first.after == second.after)

    def _undisturbed(self) -> Reference:
        with self.bench() as bench:
            before = bench.tables()
            answer = the_answer(bench.deliver(self.incoming(bench)), "the example")
            is_carried_out = is_done(self.command, answer) or answer.event_type == tag_of(InProgress)
            require(is_carried_out, f"the example was answered {answer.event_type}: give one that is carried out")
            require(is_readable(answer, self.service.participant.key), f"{answer.event_type} cannot be read by a saga")
            return Reference(answer, before, bench.tables(), True)


def is_like(wanted: Tables, found: Tables, is_repeatable: bool) -> bool:
    """Whether two databases show the same effect: down to the values where no values are drawn, else by their rows."""
    if is_repeatable:
        return found == wanted
    return {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in wanted.items()}
