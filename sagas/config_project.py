"""`[tool.sagas]` in the nearest `pyproject.toml`: what holds for a project unless the environment says otherwise.

[tool.sagas]
definitions = ["services.orders.saga"]
stream = "ecommerce"
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from sagas.errors import SettingsError


def nearest_project(start: Path) -> tuple[Path, Mapping[str, object]]:
    """The nearest `pyproject.toml` at or above `start` with a `[tool.sagas]`, and what it says there.

    {} if there is none. Raises SettingsError when that file cannot be read.
    """
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
        except (OSError, ValueError) as error:  # it cannot be opened, or is no TOML
            raise SettingsError(f"{path}: {error}; mend the file, or run from another folder") from error
        if isinstance(tools, dict) and "sagas" in tools:
            said = cast("dict[str, object]", tools)["sagas"]
            if not isinstance(said, dict):
                raise SettingsError(f"{path}: [tool.sagas] is no table; write a line for each setting below it")
            return path, cast("dict[str, object]", said)
    return start, {}
