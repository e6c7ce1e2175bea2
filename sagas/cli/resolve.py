"""`sagas resolve`: say what became of the effect that an instance is stuck over; `operate.py` says how."""

from pathlib import Path

import click
from rich_click import RichCommand

from sagas.cli.operate import act, operator_options, reason_option


@click.command(cls=RichCommand)
@click.option(
    "--as",
    "outcome",
    type=click.Choice(["done", "undone"]),
    required=True,
    help="done: it was carried out, go on. undone: nothing of it remains, turn back past it.",
)
@reason_option("How you know; kept in the audit.")
@operator_options()
def command(
    wanted: str,
    saga: str,
    modules: tuple[str, ...],
    db: Path | None,
    yes: bool,
    as_json: bool,
    outcome: str,
    reason: str,
) -> None:
    """Say what became of the effect that a stuck instance waits for.

    ID is the instance's business key or its own id. Without --yes it only says what it would do.
    """
    act(
        "resolve-done" if outcome == "done" else "resolve-undone",
        wanted=wanted,
        saga=saga,
        modules=modules,
        db=db,
        reason=reason,
        yes=yes,
        as_json=as_json,
    )
