"""docs/guide.md, made from the table. `python -m tests.guide` writes it."""

from tests.guide.rows import ROWS
from tests.guide.table import HEADINGS, Row

HEAD = (
    "# The event-driven guide, heading by heading\n\n"
    "Where each pattern of *Event-Driven Architecture with Apache Iggy* lives here, the command that shows it and the\n"
    "test that holds it. Made by `make guide` from `tests/guide/rows.py`; a test sees to it that every file, command\n"
    "and test named here exists.\n"
)


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(title, parts) for title, parts in HEADINGS)])


def _section(title: str, parts: tuple[str, ...]) -> str:
    lines = [f"## {title}", "", "| heading | here | shown by | held by |", "|---|---|---|---|"]
    lines += [_line(part, ROWS[part]) for part in parts or (title,)]
    return "\n".join([*lines, ""])


def _line(heading: str, row: Row) -> str:
    note = f"{row.note} **Not here yet:** {row.missing}." if row.missing else row.note
    here = f"{note}<br>{', '.join(f'`{file}`' for file in row.files)}"
    commands = "<br>".join(f"`{command}`" for command in row.commands)
    tests = "<br>".join(f"`{_short(test)}`" for test in row.tests)
    return f"| {heading} | {here} | {commands} | {tests} |"


def _short(test: str) -> str:
    # The class of a contract's run says nothing to a reader; its file and name do.
    file, _, name = test.partition("::")
    return f"{file}::{name.rpartition('::')[2]}" if name else file
