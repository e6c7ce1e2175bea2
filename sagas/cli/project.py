"""What the nearest `pyproject.toml` says under `[tool.sagas]`: which sagas there are, and their stream.

[tool.sagas]
definitions = ["services.orders.saga"]
stream = "ecommerce"
event_store = true
"""

import tomllib
from pathlib import Path

import msgspec

from sagas.errors import SettingsError


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The modules that define sagas, and what holds unless the environment says otherwise.

    `stream`: IGGY_STREAM. `event_store`: SAGAS_EVENT_STORE.
    """

    definitions: tuple[str, ...] = ()
    stream: str = "sagas"
    event_store: bool = False


class _Tool(msgspec.Struct, frozen=True):
    sagas: Project = Project()


class _PyProject(msgspec.Struct, frozen=True):
    tool: _Tool = _Tool()


def nearest_project(start: Path) -> Project:
    """The settings of the nearest `pyproject.toml` at or above `start` that has a `[tool.sagas]`, or the defaults.

    Raises SettingsError when that file cannot be read.
    """
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            if "sagas" in content.get("tool", {}):
                return msgspec.convert(content, _PyProject).tool.sagas
        except (OSError, ValueError) as error:  # a broken file, a broken text, or a value of the wrong type
            raise SettingsError(f"{path}: {error}; expected [tool.sagas] definitions = [...] and stream") from error
    return Project()
