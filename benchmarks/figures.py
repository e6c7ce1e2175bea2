"""Figures: one name, one value a round, and what it must reach; as a table, as JSON, and as a line of ratios."""

import sys
from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.interpreter import loops_ms

Better = Literal["more", "less"]


class Wanted(msgspec.Struct, frozen=True):
    """What a figure must reach, and should."""

    better: Better
    must: float | None = None
    aim: float | None = None


class Figure(msgspec.Struct, kw_only=True):
    """A figure with its value in each round. `unit` is "" for a ratio."""

    name: str
    unit: str
    values: list[float]
    wanted: Wanted
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        """How it stands to what is wanted, "" where nothing is."""
        if self.wanted.must is None:
            return ""
        sign = 1 if self.wanted.better == "more" else -1
        if sign * self.value < sign * self.wanted.must:
            return "short"
        is_aim = self.wanted.aim is not None and sign * self.value >= sign * self.wanted.aim
        return "aim" if is_aim else "ok"


class Sheet:
    """The figures of a run, in the order in which they were measured."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def note(
        self,
        name: str,
        value: float,
        unit: str = "",
        *,
        better: Better = "less",
        must: float | None = None,
        aim: float | None = None,
        note: str = "",
    ) -> None:
        """Enter a value; one more round of a figure that is known."""
        known = self._figures.get(name)
        if known is not None:
            known.values.append(value)
            return
        self._figures[name] = Figure(name=name, unit=unit, values=[value], wanted=Wanted(better, must, aim), note=note)

    def note_python(self) -> None:
        """Enter what this process runs on, and how fast that is just now, where it can be measured."""
        took_ms = loops_ms(sys.executable)
        if took_ms:
            version = ".".join(map(str, sys.version_info[:3]))
            self.note("a loop of plain Python, on the best core", min(took_ms), "ms", note=f"Python {version}")
            self.note("a loop of plain Python, on the worst core", max(took_ms), "ms")

    def latest(self, name: str) -> float | None:
        """The figure of the round that was measured last, None when it was not: a share is of one round."""
        known = self._figures.get(name)
        return known.values[-1] if known is not None else None

    @property
    def figures(self) -> Sequence[Figure]:
        """All of them."""
        return list(self._figures.values())

    def table(self) -> Table:
        """For a terminal."""
        table = Table("figure", "median", "range", "must", "aim", "", box=None)
        for figure in self.figures:
            wanted = figure.wanted
            table.add_row(
                figure.name,
                f"{_shown(figure.value)} {figure.unit}".rstrip(),
                f"{_shown(min(figure.values))}–{_shown(max(figure.values))}" if len(figure.values) > 1 else "",
                _bound(wanted.must, wanted.better),
                _bound(wanted.aim, wanted.better),
                " ".join(filter(None, (figure.verdict, figure.note))),
            )
        return table

    def json(self) -> bytes:
        """The same for programs: name, unit, value (the median), values, must, aim."""
        rows = [
            {
                "name": f.name,
                "unit": f.unit,
                "value": f.value,
                "values": f.values,
                "better": f.wanted.better,
                "must": f.wanted.must,
                "aim": f.wanted.aim,
                "verdict": f.verdict,
            }
            for f in self.figures
        ]
        return msgspec.json.format(msgspec.json.encode(rows), indent=1)

    def show(self, console: Console) -> None:
        """Print the table and the closing line."""
        console.print(self.table())
        judged = [figure for figure in self.figures if figure.verdict]
        short = [figure.name for figure in judged if figure.verdict == "short"]
        reached = f"{len(judged) - len(short)} of {len(judged)} reached"
        console.print(f"{reached}; short: {', '.join(short)}" if short else reached, soft_wrap=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of `values` lie. Raises IndexError for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _bound(value: float | None, better: Better) -> str:
    return "" if value is None else f"{'≥' if better == 'more' else '≤'} {_shown(value)}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"
