"""What every command says the same way: errors in one line, JSON, tables, and text that is safe to show.

Text that came in a message was written by anybody: before it reaches a terminal its control
characters go, so that it can neither move the cursor nor set a title nor hide a line.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

import click
import msgspec

from sagas.errors import SagaError

P = ParamSpec("P")
T = TypeVar("T")

_CONTROLS = dict.fromkeys((*range(32), 127, *range(128, 160)), "�")
# Marks that reorder or hide what stands around them, in a terminal as in a review (CVE-2021-42574).
_MARKS = dict.fromkeys((*range(8234, 8239), *range(8294, 8298), 8203, 8232, 8233, 65279))

_UNSAFE = re.compile(r"[\x7f-\x9f]")  # what is below is escaped already
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")

WIDTH_PIPED = 160
"""Columns of a table that does not go to a terminal."""


def plain(text: str) -> str:
    """`text` without control characters: C0, DEL, C1 and the marks that change the order of what is shown."""
    return text.translate(_CONTROLS).translate(_MARKS)


def fail(message: str) -> NoReturn:
    """End the command with exit code 1 and one line on stderr."""
    click.echo(f"sagas: {plain(message)}", err=True)
    raise SystemExit(1)


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose expected errors are one line on stderr and exit code 1, never a traceback."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SagaError as error:
            fail(str(error))
        except UnicodeEncodeError as error:
            # An argument may be any bytes; those that are no text of this system arrive as lone surrogates.
            fail(f"{error.object[error.start : error.start + 20]!r} is no text: nothing can be found or shown by it")

    return guarded


def say(text: str = "") -> None:
    """Print lines that are safe already."""
    click.echo(text)


def say_json(value: object) -> None:
    """Print `value` as JSON, indented: control characters escaped, and whatever the encoding of stdout lacks."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo((_UNSAFE if is_unicode else _NOT_ASCII).sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    # Outside of its strings JSON has nothing but ASCII.
    return r"\u007f" if found[0] == "\x7f" else json.dumps(found[0])[1:-1]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns named in `numbers` are set to the right. Cells may be unsafe text."""
    # Imported here: only what draws a table pays for it.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        drawn.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(plain(cell)) for cell in row))  # Text: a cell is never read as markup
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else WIDTH_PIPED)
    console.print(drawn)


def moment(time_ms: int) -> str:
    """A time as `2026-01-31 12:00:00.123Z`, "" for 0."""
    if not time_ms:
        return ""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}.{time_ms % 1000:03}Z"
