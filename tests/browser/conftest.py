"""A real browser for tests: `make browser` installs what it needs, and nothing else runs them.

Playwright is not among what `make test` and `make check` install, so it is imported by name, and what is used of it
is said here as protocols.
"""

import importlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

ROOT = Path(__file__).parents[2]

SCREENSHOTS = ROOT / ".browser" / "screenshots"
"""Not in git: to be looked at by people."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Locator(Protocol):
    """What a selector found."""

    def screenshot(self, *, path: str) -> bytes:
        """A picture of it."""
        ...


class Page(Protocol):
    """A page of the browser."""

    def goto(self, url: str) -> object:
        """Load an address."""
        ...

    def set_content(self, html: str) -> None:
        """Show this text as the page."""
        ...

    def add_script_tag(self, *, path: str) -> object:
        """Run a script of a file in it."""
        ...

    def evaluate(self, expression: str, arg: object = None) -> Any:
        """What a function in the page returns."""
        ...

    def locator(self, selector: str) -> Locator:
        """What a selector finds."""
        ...

    def set_viewport_size(self, viewport_size: dict[str, int]) -> None:
        """How large the window is."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Browser(Protocol):
    """A running browser."""

    def new_page(self) -> Page:
        """A page of its own."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def chromium_path() -> str:
    """Where Chromium is: $CHROMIUM, or the first of the usual names. Fails the test when there is none."""
    given = os.environ.get("CHROMIUM", "")
    found = given or next((path for name in _NAMES if (path := shutil.which(name))), "")
    if not found:
        pytest.fail("no Chromium here; install it (apt-get install chromium), or say where it is in CHROMIUM")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    try:
        playwright: Any = importlib.import_module("playwright.sync_api")
    except ModuleNotFoundError:
        pytest.fail("playwright is not installed; run these tests with `make browser`")
    with playwright.sync_playwright() as running:
        # No sandbox: in a container there is nothing to build one of, and only our own pages are shown.
        started: Browser = running.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page."""
    opened = browser.new_page()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The folder for pictures."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
