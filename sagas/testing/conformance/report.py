"""What a participant withstood: one row for each command and line of attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Row:
    """One line of attack on one command: how it ended, and what was seen."""

    command: str
    line: str
    outcome: Outcome
    seen: str


@dataclass(frozen=True)
class Report:
    """All rows of one participant."""

    participant: str
    rows: tuple[Row, ...]

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.outcome == "failed")

    @property
    def is_passed(self) -> bool:
        """Whether something was attacked and nothing failed."""
        return not self.failures and any(row.outcome == "passed" for row in self.rows)

    def assert_passed(self) -> None:
        """Raise AssertionError with the rows that failed."""
        __tracebackhide__ = True
        if not self.is_passed:
            lines = _aligned([[row.command, row.line, row.seen] for row in self.failures])
            told = "\n".join(lines) or "nothing was attacked"
            raise AssertionError(f"participant {self.participant!r} does not conform\n{told}")

    @property
    def summary(self) -> str:
        """The count of each outcome, in one line."""
        outcomes: tuple[Outcome, ...] = ("passed", "failed", "not applicable")
        counts = ((sum(row.outcome == outcome for row in self.rows), outcome) for outcome in outcomes)
        return f"{self.participant}: " + ", ".join(f"{count} {outcome}" for count, outcome in counts)

    def __str__(self) -> str:
        cells = [["command", "line", "outcome", "seen"]]
        cells += [[row.command, row.line, row.outcome, row.seen] for row in self.rows]
        return "\n".join([*_aligned(cells), "", self.summary])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
