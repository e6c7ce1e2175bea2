"""How long a file may be, that what is public is explained, and that what is named exists."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.rules.source import ROOT, Module, dotted, modules

MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 60

# A ratchet: name, the most it may have, and why. Numbers only go down.
LONGER_MODULES: Mapping[str, int] = {}
LONGER_FUNCTIONS: Mapping[str, int] = {}

# How many public names may be silent, and why.
SILENT: Mapping[str, int] = {}

_PATH = re.compile(r"(?<![\w/.$-])((?:[\w.-]+/)*[\w.-]+\.(?:py|md|toml|mmd|lock))(?![\w/-])")

_PAGES = (
    "README.md",
    "DESIGN.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/benchmarks.md",
    "docs/cli.md",
    "docs/guide.md",
    "docs/participants.md",
    "docs/read-models.md",
    "docs/settings.md",
    "docs/testing.md",
    "docs/versions.md",
    "docs/writing-sagas.md",
    "Makefile",
)

# A user's own files.
_MADE = {"conftest.py", "pyproject.toml"}


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a module."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.path)
def test_a_module_is_short_enough_to_be_read(module: Module) -> None:
    lines = module.text.count("\n")

    assert lines <= LONGER_MODULES.get(module.path, MODULE_LINES_MAX), f"{lines} lines: split it by meaning"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.path)
def test_a_function_is_short_enough_to_be_seen_at_once(module: Module) -> None:
    long = [
        f"{module.path}:{function.lineno} {function.name} has {lines} lines"
        for function in functions(module)
        for lines in [(function.end_lineno or function.lineno) - function.lineno + 1]
        if lines > LONGER_FUNCTIONS.get(f"{module.path}:{function.name}", FUNCTION_LINES_MAX)
    ]

    assert long == []


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.path)
def test_what_is_public_says_what_it_is_for(module: Module) -> None:
    silent = list(_silent(module)) if module.is_public else []

    assert len(silent) <= SILENT.get(module.path, 0), silent


def _silent(module: Module) -> Iterator[str]:
    # An empty file only makes a folder a package.
    if module.tree.body and ast.get_docstring(module.tree) is None:
        yield f"{module.path} has no docstring"
    yield from _silent_in(module.path, module.tree.body)


def _silent_in(path: str, body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.If):
            continue  # what depends on the interpreter or the type checker is said where it is used
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None and not _is_explained_elsewhere(path, node):
                yield f"{path}:{node.lineno} {node.name} has no docstring"
            if isinstance(node, ast.ClassDef):
                yield from _silent_in(path, node.body)


def _is_explained_elsewhere(path: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    # A step of a saga is explained by its command's class, which its annotation names.
    is_step = path.endswith("saga.py") and path.startswith(("services/", "examples/")) and bool(node.decorator_list)
    # An overload only adds types to the function that stands below it.
    return is_step or any(dotted(decorator) == "overload" for decorator in node.decorator_list)


@pytest.mark.parametrize("page", [*(module.path for module in modules()), *_PAGES])
def test_a_file_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = _named(page, text) - _MADE

    missing = sorted(path for path in named if not _exists(page, path))

    assert missing == [], f"{page} names files that do not exist: {missing}"


def _named(page: str, text: str) -> set[str]:
    if not page.endswith(".py"):
        return set(_PATH.findall(text))
    prose = [line.partition("#")[2] for line in text.splitlines() if "# " in line]
    prose += [
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for node in [node.value]
        if isinstance(node.value, str)
    ]
    return {path for part in prose for path in _PATH.findall(str(part))}


def _exists(page: str, path: str) -> bool:
    """Whether it is there, seen from the root, from the room, from the page's folder or by its name in that room."""
    folder = (ROOT / page).parent
    return any((base / path).exists() for base in (ROOT, folder, *folder.parents, ROOT / "sagas")) or _is_in_room(
        folder, path
    )


def _is_in_room(folder: Path, path: str) -> bool:
    return "/" not in path and any(folder.rglob(path))


def test_no_page_says_where_it_was_written() -> None:
    # No machine's paths: what is written here is read on other machines.
    told = re.compile(r"/(work|tmp|home|root)/\w")
    pages = [*(ROOT / page for page in _PAGES), *(ROOT / module.path for module in modules())]
    pages += [*ROOT.glob("requirements*.lock"), ROOT / "pyproject.toml", ROOT / ".ci" / "run"]

    assert [str(page) for page in pages if told.search(page.read_text(encoding="utf-8"))] == []
