"""The settings of a command: options made from the table, read together with the other layers."""

import os
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import click

from sagas.config import Settings
from sagas.config_layers import Reading, from_text, read_settings
from sagas.config_table import Setting, table
from sagas.errors import SettingsError
from sagas.folders import working_folder

Decorated = TypeVar("Decorated", bound=Callable[..., object])


def settings_options(*, without: Collection[str] = ()) -> Callable[[Decorated], Decorated]:
    """Give a command an option for each setting but those named by key; it takes them as keywords, by key."""

    def decorate(command: Decorated) -> Decorated:
        for row in reversed(table()):
            if row.key not in without:
                metavar = "FILE" if row.is_secret else row.key.rpartition("_")[2].upper()
                text = f"{row.purpose} {row.variable}; {row.expected}."
                option = click.option(
                    row.option, row.key, metavar=metavar, default=None, callback=_checked(row), help=text
                )
                command = option(command)
        return command

    return decorate


def _checked(row: Setting) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Refuses a value that cannot be as click refuses its own: it was asked wrongly. A secret's file is read later."""

    def check(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
        if value is not None and not row.is_secret:
            try:
                from_text(row, row.option, value)
            except SettingsError as error:
                raise click.UsageError(str(error)) from error
        return value

    return check


def read_here(options: Mapping[str, object] | None = None) -> Reading:
    """The settings of this environment, this folder's project and the command's `options`. Raises SettingsError."""
    return read_settings(os.environ, folder=working_folder(), options=options)


def settings_here(options: Mapping[str, object] | None = None) -> Settings:
    """The same without their origins."""
    return read_here(options).settings
