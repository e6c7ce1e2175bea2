"""`python -m benchmarks`: measure everything, or the rows that are named; `make bench` runs it."""

import sys
from pathlib import Path

import anyio
import click
from rich.console import Console
from rich.progress import Progress

from benchmarks.alone import alone_rows
from benchmarks.disk import disk_rows
from benchmarks.figures import Sheet
from benchmarks.growth import MANY, QUICK_MANY, growth_rows
from benchmarks.inflight import MANY as IN_FLIGHT
from benchmarks.inflight import QUICK_MANY as QUICK_IN_FLIGHT
from benchmarks.inflight import inflight_rows
from benchmarks.limits import client_rows, limit_rows
from benchmarks.load import FULL, QUICK, system_rows
from services.leaving import end_in_order

ROWS = ("system", "limits", "alone", "disk", "inflight", "growth")
ROUNDS = 3


@click.command()
@click.argument("rows", nargs=-1, type=click.Choice(ROWS))
@click.option(
    "--quick", is_flag=True, help="One round of everything, small: a minute or two, for a look and not for quoting."
)
@click.option(
    "--json", "as_json", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there, too."
)
def main(rows: tuple[str, ...], quick: bool, as_json: Path | None) -> None:
    """Measure what is quoted in the README and in docs/benchmarks.md."""
    end_in_order()
    console, sheet = Console(width=None if sys.stdout.isatty() else 140, highlight=False), Sheet()
    wanted = rows or ROWS
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)
        for number in range(1 if quick else ROUNDS):
            for row in (row for row in ROWS if row in wanted):
                progress.update(bar, description=f"{row}, round {number + 1}")
                sheet.note_python()
                anyio.run(_measure, sheet, row, quick)
    sheet.show(console)
    if as_json is not None:
        as_json.write_bytes(sheet.json() + b"\n")


async def _measure(sheet: Sheet, row: str, quick: bool) -> None:
    match row:
        case "system":
            await system_rows(sheet, QUICK if quick else FULL)
        case "limits":
            limit_rows(sheet)
            await client_rows(sheet)
        case "alone":
            await alone_rows(sheet, single=60 if quick else 300)
        case "disk":
            await disk_rows(sheet, orders=1_000 if quick else 5_000)
        case "inflight":
            await inflight_rows(sheet, many=QUICK_IN_FLIGHT if quick else IN_FLIGHT)
        case _:
            many = QUICK_MANY if quick else MANY
            await growth_rows(sheet, many=many, orders=1_000 if quick else 6_000)


if __name__ == "__main__":
    main()
