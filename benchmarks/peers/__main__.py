"""`python -m benchmarks.peers`: this engine and others on the same saga, in turn; `make bench-peers` runs it.

Theory of operation. Machines are noisy and drift, so the engines take turns, and what is quoted is the ratio of the
medians of one run. docs/benchmarks.md says what each of them commits and what its participants do.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import anyio
import click
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Sheet, percentile
from benchmarks.load import MIXED
from benchmarks.system import a_place, running
from services.leaving import end_in_order

ROUNDS = 3
PEER_S_MAX = 300
PEER = Path(__file__).parent / "dbos_order.py"
OURS = "this engine"
PEERS = {"DBOS, SQLite with WAL": ("--wal",), "DBOS, SQLite as shipped": ()}
RATIO_MUST, RATIO_AIM = 15, 29

Figures = dict[str, float]


@click.command()
@click.option("--python", "interpreter", required=True, help="The interpreter of the peers' environment.")
@click.option("--rounds", default=ROUNDS, show_default=True, help="How often each takes its turn.")
@click.option("--quick", is_flag=True, help="One small round: for a look and not for quoting.")
@click.option(
    "--json", "as_json", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there, too."
)
def main(interpreter: str, rounds: int, quick: bool, as_json: Path | None) -> None:
    """Measure this engine and DBOS in turn."""
    end_in_order()
    console, sheet = Console(width=None if sys.stdout.isatty() else 140, highlight=False), Sheet()
    found: dict[str, list[Figures]] = {OURS: [], **{name: [] for name in PEERS}}
    for number in range(1 if quick else rounds):
        click.echo(f"round {number + 1}", err=True)
        sheet.note_python()
        found[OURS].append(anyio.run(_ours, 2_000 if quick else 16_000, 30 if quick else 60))
        for name, options in PEERS.items():
            found[name].append(_peer(interpreter, options, 150 if quick else 1_000))
    console.print(_table(found))
    _compare(sheet, found)
    sheet.show(console)
    if as_json is not None:
        as_json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


async def _ours(count: int, single: int) -> Figures:
    with a_place() as place:
        async with running(place) as system:
            await system.saturate(count // 10, MIXED)
            took = await system.one_at_a_time(single, "delivered")
            load = await system.saturate(count, MIXED)
    return {
        "per_second": load.per_second,
        "cpu_ms": load.cpu_ms,
        "p50_ms": median(took),
        "p99_ms": percentile(took, 0.99),
    }


def _peer(interpreter: str, options: tuple[str, ...], count: int) -> Figures:
    command = [interpreter, str(PEER), *options, "--count", str(count), "--threads", "32"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PEER_S_MAX, check=False)
    if ran.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stderr[-2_000:]}")
    figures: Figures = json.loads(ran.stdout.strip().splitlines()[-1])
    return figures


def _table(found: dict[str, list[Figures]]) -> Table:
    table = Table("engine", "sagas/s", "range", "CPU ms a saga", "one at a time p50 / p99 ms", box=None)
    for name, rounds in found.items():
        rates = [figures["per_second"] for figures in rounds]
        table.add_row(
            name,
            f"{median(rates):,.0f}",
            f"{min(rates):,.0f}–{max(rates):,.0f}",
            f"{_median(rounds, 'cpu_ms'):.2f}",
            f"{_median(rounds, 'p50_ms'):.1f} / {_median(rounds, 'p99_ms'):.1f}",
        )
    return table


def _compare(sheet: Sheet, found: dict[str, list[Figures]]) -> None:
    for name in PEERS:
        rate = _median(found[OURS], "per_second") / _median(found[name], "per_second")
        is_wal = name.endswith("WAL")
        sheet.note(
            f"throughput, times {name}",
            rate,
            better="more",
            must=RATIO_MUST if is_wal else None,
            aim=RATIO_AIM if is_wal else None,
        )
        sheet.note(
            f"CPU a saga, times less than {name}", _median(found[name], "cpu_ms") / _median(found[OURS], "cpu_ms")
        )


def _median(rounds: list[Figures], name: str) -> float:
    return median(figures[name] for figures in rounds)


if __name__ == "__main__":
    main()
