"""The project's own source as the rules read it: parsed, never imported."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("sagas", "services", "examples")


class Module(NamedTuple):
    """One file: its path from the root, its name for imports, its text and its tree."""

    path: str
    name: str
    text: str
    tree: ast.Module

    @property
    def is_public(self) -> bool:
        """Whether no part of its name begins with an underscore."""
        return not any(part.startswith("_") and not part.startswith("__") for part in self.name.split("."))


class Import(NamedTuple):
    """One module that another one imports, wherever in it; `is_typing` inside `if TYPE_CHECKING`."""

    name: str
    line: int
    is_typing: bool


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the project, tests left out."""
    return tuple(_read(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))


def _read(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    relative = path.relative_to(ROOT)
    name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    return Module(str(relative), name, text, ast.parse(text))


def under(*names: str) -> Iterator[Module]:
    """The modules that are one of `names` or inside it."""
    return (module for module in modules() if is_within(module.name, *names))


def is_within(name: str, *rooms: str) -> bool:
    """Whether the module `name` is one of `rooms` or inside one."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def imports(module: Module) -> list[Import]:
    """Everything a module imports; `from sagas.store import sqlite` counts as `sagas.store.sqlite`."""
    typing = {id(node) for block in _typing_blocks(module.tree) for part in block.body for node in ast.walk(part)}
    found: list[Import] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, id(node) in typing) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: write imports from the root"
            assert node.module is not None
            found += [Import(f"{node.module}.{alias.name}", node.lineno, id(node) in typing) for alias in node.names]
    return found


def _typing_blocks(tree: ast.Module) -> Iterator[ast.If]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield node


def dotted(node: ast.AST) -> str:
    """`os.environ` of the expression `os.environ`, "" of anything that is no such chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""
