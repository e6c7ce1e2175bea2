"""`python -m tests.mutants`: plant every bug, and say what found it. Ends with 1 if one survives."""

import sys
import time
from multiprocessing import get_context

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.mutants.hunt import MUTANTS, hunt

JOBS = 2
WIDTH = 160
WHAT_MAX = 80


def main() -> int:
    console = Console(highlight=False, width=WIDTH)
    began = time.monotonic()
    wanted = sys.argv[1:] or list(MUTANTS)
    table = Table("planted bug", "found by", "seeds", "what it broke", title="planted bugs")
    survivors: list[str] = []
    # A process for each bug, so that none is left from the one before.
    with get_context("spawn").Pool(JOBS, maxtasksperchild=1) as pool:
        for found in track(pool.imap(hunt, wanted), "mutants", len(wanted), console=console, transient=True):
            table.add_row(found.name, found.by or "SURVIVES", str(found.seeds or ""), found.what[:WHAT_MAX])
            if not found.by:
                survivors.append(found.name)
    console.print(table)
    console.print(
        f"mutants: {len(wanted)} planted, {len(wanted) - len(survivors)} found, {len(survivors)} survive, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
