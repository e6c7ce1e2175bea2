"""`sagas abandon`: one way out for an instance; `operate.py` says how."""

from pathlib import Path

import click
from rich_click import RichCommand

from sagas.cli.operate import act, operator_options, reason_option


@click.command(cls=RichCommand)
@reason_option("Why; kept in the audit.")
@operator_options()
def command(
    wanted: str, saga: str, modules: tuple[str, ...], db: Path | None, yes: bool, as_json: bool, reason: str
) -> None:
    """Leave an instance as it is, for ever, whatever effects of it stand.

    ID is the instance's business key or its own id. Without --yes it only says what it would do.
    """
    act("abandon", wanted=wanted, saga=saga, modules=modules, db=db, reason=reason, yes=yes, as_json=as_json)
