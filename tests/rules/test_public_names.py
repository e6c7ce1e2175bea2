"""What a user imports: the names are there, and importing them costs little."""

import ast
import subprocess
import sys

import pytest

import sagas
from tests.rules.source import ROOT


def test_the_public_names_are_sorted_and_there() -> None:
    # Constants, then classes, then the rest, each by the alphabet: as ruff's RUF022 sorts them.
    constants = sorted(name for name in sagas.__all__ if name.isupper())
    classes = sorted(name for name in sagas.__all__ if name[0].isupper() and not name.isupper())
    rest = sorted(name for name in sagas.__all__ if not name[0].isupper())

    assert sagas.__all__ == [*constants, *classes, *rest]
    assert [name for name in sagas.__all__ if not hasattr(sagas, name)] == []


def test_the_public_names_are_exactly_what_the_package_imports() -> None:
    tree = ast.parse((ROOT / "sagas" / "__init__.py").read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.ImportFrom))
    imported = {alias.asname or alias.name for node in found for alias in node.names}

    assert set(sagas.__all__) == imported | {"__version__"}


@pytest.mark.parametrize("package", ["sagas", "services.contracts", "services.orders.saga"])
def test_importing_loads_no_adapter_and_no_library_of_one(package: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", f"import sys, {package}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(asked.stdout.split())
    heavy = {"anyio", "apache_iggy", "asyncio", "click", "pysqlite3", "rich", "sqlite_utils"}

    assert loaded & heavy == set()
