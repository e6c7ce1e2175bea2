"""Finding sagas by name: which modules are loaded, and what is in them.

A module is written `package.module`, or `package.module:name` for one of its sagas only; instead of its name it may
be its file, a path that ends in `.py`.
"""

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from sagas.config_layers import read_settings
from sagas.core.definition import Definition
from sagas.core.saga import Saga
from sagas.errors import SettingsError

VARIABLE = "SAGAS_DEFINITIONS"
"""Modules, separated by commas; wins over `[tool.sagas]`, and `--module` wins over it."""


def modules_wanted(given: Sequence[str], environ: Mapping[str, str], folder: Path) -> tuple[str, ...]:
    """The modules to load: those given, or those of the environment, or those of the project around `folder`."""
    if given:
        return tuple(given)
    return read_settings(environ, folder=folder).settings.definitions


def load(modules: Iterable[str]) -> list[Definition]:
    """The sagas of these modules, each once, in their order.

    Raises SettingsError for a module that is not there or has no saga, and DefinitionError for a saga
    that is written wrong. What else a module raises is its own.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found: dict[tuple[str, int], Definition] = {}
    for module in modules:
        for saga in _sagas_of(module):
            definition = saga.definition
            known = found.setdefault((definition.name, definition.version), definition)
            if known.content != definition.content:
                raise SettingsError(
                    f"{module}: saga {definition.name!r} version {definition.version} is defined a second time, with "
                    f"other steps or messages; raise it to version={definition.version + 1}"
                )
    return list(found.values())


def _sagas_of(wanted: str) -> list[Saga[Any]]:
    module_name, _, name = wanted.partition(":")
    try:
        module = _imported(module_name)
    except ModuleNotFoundError as error:
        # Only a module that was asked for is a wrong setting; one that it imports is its own trouble.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise SettingsError(
            f"there is no module {module_name!r} here; name one with --module, {VARIABLE} or "
            "[tool.sagas] definitions in pyproject.toml, and run from the folder it is in"
        ) from error
    sagas: list[Saga[Any]] = [value for value in vars(module).values() if isinstance(value, Saga)]
    if name:
        sagas = [saga for saga in sagas if name in (saga.name, _attribute_of(module, saga))]
    if not sagas:
        raise SettingsError(f"{wanted}: no saga there; expected a module with `name = Saga(…)` at its top level")
    return sagas


def _imported(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).resolve()
    if not path.is_file():
        raise SettingsError(f"there is no file {name}; name a module of a saga, or its file")
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        root, parts = root.parent, [root.name, *parts]
    return _imported_alone(root, ".".join(parts))


def _imported_alone(root: Path, name: str) -> ModuleType:
    """The module below `root`, with its own package around it even if another release of that is loaded already.

    It is taken out of the loaded modules again: two releases of one package can be compared.
    """
    others = {known: module for known, module in sys.modules.items() if _is_of(known, name.partition(".")[0])}
    for known in others:
        del sys.modules[known]
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(root))
        for known, module in list(sys.modules.items()):
            if root in Path(getattr(module, "__file__", None) or "/").parents and not _is_of(known, "sagas"):
                del sys.modules[known]
        sys.modules.update(others)


def _is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _attribute_of(module: object, saga: Saga[Any]) -> str:
    return next(name for name, value in vars(module).items() if value is saga)


def find(definitions: Sequence[Definition], name: str) -> Definition:
    """The newest version of the saga `name`. Raises SettingsError that lists those known."""
    versions = [definition for definition in definitions if definition.name == name]
    if versions:
        return max(versions, key=lambda definition: definition.version)
    known = sorted({definition.name for definition in definitions})
    if not known:
        raise SettingsError(
            f"no saga {name!r}: none is loaded; name its module with --module, {VARIABLE} or "
            "[tool.sagas] definitions in pyproject.toml"
        )
    nearest = get_close_matches(name, known, n=1)
    guess = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise SettingsError(f"no saga {name!r}; known: {', '.join(known)}{guess}")
