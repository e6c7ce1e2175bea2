"""Finding sagas by name: which modules are loaded, and what is in them.

A module is written `package.module`, or `package.module:name` for one of its sagas only; instead of its name it may
be its file, a path that ends in `.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from sagas.config_layers import read_settings
from sagas.core.definition import Definition
from sagas.core.saga import Saga
from sagas.errors import SettingsError
from sagas.importing import imported

VARIABLE = "SAGAS_DEFINITIONS"
"""Modules, separated by commas; wins over `[tool.sagas]`, and `--module` wins over it."""

REMEDY = f"name its module with --module, {VARIABLE} or [tool.sagas] definitions in pyproject.toml"
_REMEDY = f"name one with --module, {VARIABLE} or [tool.sagas] definitions in pyproject.toml, and run from its folder"


def modules_wanted(given: Sequence[str], environ: Mapping[str, str], folder: Path) -> tuple[str, ...]:
    """The modules to load: those given, or those of the environment, or those of the project around `folder`."""
    if given:
        return tuple(given)
    return read_settings(environ, folder=folder).settings.definitions


def load(modules: Iterable[str]) -> list[Definition]:
    """The sagas of these modules, each once, in their order.

    Raises SettingsError for a module that is not there, cannot be imported or has no saga, and DefinitionError for a
    saga that is written wrong.
    """
    found: dict[tuple[str, int], Definition] = {}
    for module in modules:
        for saga in sagas_in(module)[1]:
            definition = saga.definition
            known = found.setdefault((definition.name, definition.version), definition)
            if known.content != definition.content:
                raise SettingsError(
                    f"{module}: saga {definition.name!r} version {definition.version} is defined a second time, with "
                    f"other steps or messages; raise it to version={definition.version + 1}"
                )
    return list(found.values())


def sagas_in(wanted: str) -> tuple[ModuleType, list[Saga[Any]]]:
    """The module of `package.module:name`, and the sagas in it that are meant. Raises as `load` does."""
    module_name, _, name = wanted.partition(":")
    module = imported(module_name, _REMEDY)
    sagas: list[Saga[Any]] = [value for value in vars(module).values() if isinstance(value, Saga)]
    # One that has two names in its module is one.
    sagas = [saga for number, saga in enumerate(sagas) if all(saga is not other for other in sagas[:number])]
    if name:
        sagas = [saga for saga in sagas if name in (saga.name, attribute_of(module, saga))]
    if not sagas:
        raise SettingsError(f"{wanted}: no saga there; expected a module with `name = Saga(…)` at its top level")
    return module, sagas


def attribute_of(module: ModuleType, saga: Saga[Any]) -> str:
    """The name that `saga` has in its module."""
    return next(name for name, value in vars(module).items() if value is saga)


def find(definitions: Sequence[Definition], name: str) -> Definition:
    """The newest version of the saga `name`. Raises SettingsError that lists those known."""
    versions = [definition for definition in definitions if definition.name == name]
    if versions:
        return max(versions, key=lambda definition: definition.version)
    known = sorted({definition.name for definition in definitions})
    if not known:
        raise SettingsError(f"no saga {name!r}: none is loaded; {REMEDY}")
    nearest = get_close_matches(name, known, n=1)
    guess = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise SettingsError(f"no saga {name!r}; known: {', '.join(known)}{guess}")
