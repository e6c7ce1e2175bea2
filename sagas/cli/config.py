"""`sagas config`: every setting, its value, and where that comes from."""

import click
from rich_click import RichCommand

from sagas.cli.output import explained, say_json, table
from sagas.cli.settings import read_here, settings_options
from sagas.cli.shapes import ConfigShape, SettingShape
from sagas.config_layers import described


@click.command(cls=RichCommand)
@click.option("--origin", "with_origin", is_flag=True, help="Say where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@settings_options()
@explained
def command(with_origin: bool, as_json: bool, **options: str | None) -> None:
    """Show the settings that a process started here would have, secrets masked.

    The default is overridden by [tool.sagas] of the nearest pyproject.toml, that by the environment, and that by the
    options of the command line. docs/settings.md says what each is for.
    """
    rows = described(read_here(options))
    if as_json:
        shapes = [
            SettingShape(
                name=row.variable,
                key=row.key,
                value=value,
                default=row.default_shown,
                layer=origin.layer,
                place=origin.place,
            )
            for row, value, origin in rows
        ]
        say_json(ConfigShape(settings=shapes))
        return
    headings = ("SETTING", "VALUE", "FROM") if with_origin else ("SETTING", "VALUE")
    table(headings, [(row.variable, value, str(origin))[: len(headings)] for row, value, origin in rows])
