"""What is installed beside a user's own code: the library, and nothing that would hide a folder of theirs."""

import tomllib
from importlib.util import find_spec

from setuptools import find_packages  # type: ignore[import-untyped]  # it brings no types

from tests.rules.source import ROOT


def test_only_the_library_is_installed() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]

    found = find_packages(str(ROOT), include=said["packages"]["find"]["include"])

    assert {name.partition(".")[0] for name in found} == {"sagas"}
    assert {name for name in found if name.count(".") == 1} >= {"sagas.core", "sagas.cli", "sagas.store"}


def test_the_image_has_the_demo_application_on_the_path() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    behind = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]

    assert "COPY services /opt/demo/services" in behind
    assert any("PYTHONPATH=/opt/demo" in line for line in behind)
    assert find_spec("services.storefront.__main__") is not None
