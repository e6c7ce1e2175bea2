"""Importing what a person names: a module, or its file, a path that ends in `.py`.

Theory of operation. Whatever is wrong with the module is one SettingsError that says where: its code is anybody's,
and may raise anything, or end the process. A file is imported with its own package around it even if another release
of that is loaded, and is taken out of the loaded modules again: two releases of one package can be compared. So
that both stay what they are, the annotations of its classes are resolved while its modules are there. A class
that was written with `from __future__ import annotations` would otherwise look its types up when it is first read or
described, by the names of modules that are another release's by then.
"""

import importlib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from inspect import get_annotations, isclass
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

from sagas.errors import SagaError, SettingsError, told

_MODULE_NAME = re.compile(r"\A[^.]+(\.[^.]+)*\Z")
_OURS = Path(__file__).parent


class NoSuchModule(SettingsError):
    """There is no module of this name, as seen from the working folder."""


def imported(name: str, remedy: str) -> ModuleType:
    """The module `name`, or that of the file `name`, as seen from the working folder; `remedy` says what to name.

    Raises NoSuchModule when a module is not there, another SettingsError when it cannot be imported or is no file, and
    what the library itself raises of a saga or a message that is written wrong.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    if name.endswith(".py"):
        path = Path(name).resolve()
        if not path.is_file():
            raise SettingsError(f"there is no file {name}; {remedy}")
        root, parts = path.parent, [path.stem]
        while (root / "__init__.py").is_file():
            root, parts = root.parent, [root.name, *parts]
        return _imported_alone(root, ".".join(parts))
    if not _MODULE_NAME.match(name):
        raise SettingsError(f"{name!r} is no name of a module; {remedy}")
    try:
        return _import(name)
    except ModuleNotFoundError as error:
        raise NoSuchModule(f"there is no module {name!r} here; {remedy}") from error


def _import(name: str) -> ModuleType:
    """Raises ModuleNotFoundError only for the module that was asked for: one that it imports is its own trouble."""
    try:
        return importlib.import_module(name)
    except SagaError:
        raise
    except (Exception, SystemExit) as error:  # anybody's code may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise
        raise SettingsError(f"{name} cannot be imported: {told(error)}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where the author's own code raised it, "" where the error says so itself."""
    if isinstance(error, SyntaxError):
        return ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    own = [f for f in frames if _OURS not in Path(f.filename).parents and "site-packages" not in f.filename]
    found = next(reversed(own or frames), None)
    return "" if found is None else f" ({found.filename}:{found.lineno})"


def _imported_alone(root: Path, name: str) -> ModuleType:
    """The module below `root`, with its own package around it, and taken out of the loaded modules again."""
    package = name.partition(".")[0]
    others = {known: module for known, module in sys.modules.items() if _is_of(known, package)}
    for known in others:
        del sys.modules[known]
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    try:
        module = _import(name)
        for known in _new_of(root, before):
            _resolve_annotations(sys.modules[known])
        return module
    finally:
        sys.path.remove(str(root))
        for known in _new_of(root, before):
            del sys.modules[known]
        sys.modules.update(others)


def _new_of(root: Path, before: set[str]) -> list[str]:
    """The modules that were loaded since, and stand below `root` by their own names.

    What is only installed there, as in a virtual environment inside the project, is nobody's release and stays.
    """
    return [known for known, module in sys.modules.items() if known not in before and _stands_in(root, known, module)]


def _stands_in(root: Path, known: str, module: ModuleType) -> bool:
    place = root.joinpath(*known.split("."))
    file: str | None = getattr(module, "__file__", None)
    if file is None:
        paths: Iterable[str] = getattr(module, "__path__", ())
        return str(place) in list(paths)
    return Path(file) in (place.with_suffix(".py"), place / "__init__.py") and not _is_of(known, "sagas")


def _is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _resolve_annotations(module: ModuleType) -> None:
    """Have the classes of a module name types where they have text."""
    for found in _classes(module, module.__name__):
        own = get_annotations(found)
        try:
            hints = get_type_hints(found, include_extras=True)
        except (NameError, TypeError, AttributeError):
            continue  # a type that is not there at run time, either: whoever reads the class is told so
        found.__annotations__ = {field: hints.get(field, said) for field, said in own.items()}


def _classes(around: ModuleType | type, module: str) -> Iterator[type]:
    for found in list(vars(around).values()):
        if isclass(found) and found.__module__ == module and found is not around:
            yield found
            yield from _classes(found, module)
