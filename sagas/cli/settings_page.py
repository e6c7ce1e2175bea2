"""docs/settings.md, made from the table of settings: `python -m sagas.cli.settings_page > docs/settings.md`."""

import sys
from textwrap import fill

from sagas.cli.run import ARGUMENTS, NOT_OURS
from sagas.config_layers import OURS, SHARED
from sagas.config_table import Setting, table

_HEAD = f"""\
# Settings

Made from the table in `sagas/config.py` by `make pages`; a test holds that it is up to date.

A value comes from, each winning over what stands before it: the default, `[tool.sagas]` of the nearest
`pyproject.toml`, the environment, the command line of `sagas run`. `sagas config --origin` shows what holds here and
where it comes from, with `--json` for programs. A variable that is empty counts as not set. Every value is checked,
also one that another wins over.

A variable that begins with `{OURS}` and is none of these is refused, with the name that was probably meant. Those that
begin with {", ".join(f"`{prefix}`" for prefix in SHARED)} are shared with others, such as Iggy's own
server: there only what is nearly one of these names is refused.

A secret can be in a file that the variable with `_FILE` at its end names, as Docker and Kubernetes mount them: its
content in one line, with or without a line break behind it. It is accepted neither in `pyproject.toml` nor as an
argument, and shown nowhere: output, errors and logs have `***` in its place.

| variable | `pyproject.toml` | default | what may be written |
|---|---|---|---|
"""

_WIDTH = 118


def page() -> str:
    """The page as it has to be."""
    return _HEAD + "".join(map(_line, table())) + "".join(map(_section, table()))


def _line(row: Setting) -> str:
    key = "" if row.is_secret else f"`{row.key}`"
    return f"| `{row.variable}` | {key} | {_code(row.default_shown)} | {row.expected} |\n"


def _section(row: Setting) -> str:
    file = f" Or `{row.file_variable}`: a file that holds it." if row.is_secret else ""
    text = fill(f"{row.purpose}{file}{_typed(row)}", _WIDTH, break_on_hyphens=False)
    return f"\n## `{row.variable}`\n\n{text}\n"


def _typed(row: Setting) -> str:
    if row.key == ARGUMENTS:
        return " On the command line of `sagas run` its arguments."
    return "" if row.key in NOT_OURS else f" On the command line `{row.option}`."


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    sys.stdout.write(page())
