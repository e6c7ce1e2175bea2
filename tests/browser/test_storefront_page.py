"""The storefront's page in a real browser, over the whole running system: placed, completed, turned back."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.processes import free_address
from tests.browser.conftest import Browser

pytestmark = pytest.mark.e2e

WAIT_MS = 20_000

STEPS = ("Order written down", "Items set aside", "Payment", "Handed to the carrier")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the storefront, with everything behind it running."""
    storefront = free_address(0)
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("IGGY_", "SAGAS_"))}
    environ |= {
        "SAGAS_DATA": str(tmp_path_factory.mktemp("shop")),
        "SAGAS_BROKER_ADDRESS": free_address(0),
        "SAGAS_STOREFRONT_ADDRESS": storefront,
    }
    subprocess.run([sys.executable, "-m", "services.up"], env=environ, check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"http://{storefront}/"
    finally:
        subprocess.run([sys.executable, "-m", "services.down"], env=environ, check=True, stdout=subprocess.DEVNULL)


def expect(found: Any) -> Any:
    """Playwright's assertions, which wait for what they assert."""
    return importlib.import_module("playwright.sync_api").expect(found)


def opened(browser: Browser, address: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
    """The page, in which any error fails the test."""
    chromium: Any = browser
    page = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.set_default_timeout(WAIT_MS)

    def fail(error: object) -> None:
        raise AssertionError(f"the page has an error: {error}")

    page.on("pageerror", fail)
    page.goto(address)
    expect(page.get_by_role("button", name="One more: Whistling kettle")).to_be_visible(timeout=WAIT_MS)
    return page


def order(page: Any, story: str) -> None:
    """Choose a story and place its order."""
    page.get_by_role("button", name=story, exact=True).click()
    page.get_by_role("button", name="Place order").click()


def shoot(page: Any, folder: Path, name: str) -> None:
    """Take a picture."""
    page.wait_for_timeout(400)  # for what fades in
    page.screenshot(path=str(folder / f"shop-{name}.png"), full_page=True)


def said(page: Any, step: str, operation: str) -> str:
    """What stands under a step."""
    return str(page.locator(f".station[data-step={step}] .stop.{operation} .said").inner_text())


def test_an_order_is_placed_and_watched_until_it_is_completed(
    browser: Browser, address: str, screenshots: Path
) -> None:
    page = opened(browser, address)
    shoot(page, screenshots, "1-choosing")
    order(page, "All goes well")
    expect(page.locator("#verdict")).to_contain_text("your parcel is on its way", timeout=WAIT_MS)
    expect(page.locator("#verdict")).to_contain_text("track-")
    expect(page.locator("#state")).to_have_text("completed")
    for number, name in enumerate(STEPS):
        expect(page.locator(".station .do .name").nth(number)).to_have_text(name)
    assert said(page, "ship", "do").startswith("done in")
    expect(page.locator("#recent .badge").first).to_have_text("completed", timeout=WAIT_MS)
    shoot(page, screenshots, "3-completed")


@pytest.mark.parametrize(
    ("story", "step", "why", "undone"),
    [
        ("Card is declined", "pay", "card declined", ["create", "reserve"]),
        ("Nobody can deliver", "ship", "address cannot be delivered to", ["create", "reserve", "pay"]),
        ("Sold out", "reserve", "out of stock", ["create"]),
    ],
)
def test_an_order_that_is_refused_halfway_turns_back_before_ones_eyes(
    browser: Browser, address: str, screenshots: Path, story: str, step: str, why: str, undone: list[str]
) -> None:
    page = opened(browser, address)
    order(page, story)
    expect(page.locator("#verdict")).to_contain_text(f"Turned back: {why}", timeout=WAIT_MS)
    assert why in said(page, step, "do")
    assert [name for name in ("create", "reserve", "pay", "ship") if said(page, name, "undo")] == undone
    assert all(said(page, name, "undo").startswith("undone in") for name in undone)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shoot(page, screenshots, f"4-turned-back-{step}")


def test_a_bank_that_stays_silent_is_waited_for_and_then_called_off(
    browser: Browser, address: str, screenshots: Path
) -> None:
    page = opened(browser, address)
    order(page, "Bank stays silent")
    expect(page.locator(".station[data-step=pay][data-do=waiting]")).to_be_visible()
    expect(page.locator("#state")).to_have_text("on its way")
    shoot(page, screenshots, "2-placed")
    expect(page.locator("#state")).to_have_text("turned back", timeout=WAIT_MS)
    assert said(page, "pay", "do") == "no answer in time"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_page_that_is_opened_on_an_order_tells_it_from_the_beginning(
    browser: Browser, address: str, screenshots: Path
) -> None:
    page = opened(browser, address)
    order(page, "All goes well")
    expect(page.locator("#state")).to_have_text("completed", timeout=WAIT_MS)
    again = opened(browser, page.url)
    expect(again.locator("#state")).to_have_text("completed", timeout=WAIT_MS)
    again.get_by_text("Every event, as the saga's journal has it").click()
    expect(again.locator("#log li").first).to_contain_text("started for")


def test_it_works_by_keyboard_alone_and_says_what_is_wrong(browser: Browser, address: str) -> None:
    page = opened(browser, address)
    page.get_by_label("Address").fill("")
    page.get_by_label("Address").press("Enter")
    expect(page.locator("#wrong-address")).to_be_visible()
    assert page.get_by_label("Address").get_attribute("aria-invalid") == "true"
    page.get_by_label("Address").fill("7 Harbour Street")
    page.get_by_label("Address").press("Enter")
    expect(page.locator("#state")).to_have_text("completed", timeout=WAIT_MS)
    # Who does not see the page is told as well.
    expect(page.locator("#spoken")).to_contain_text("ship answered order.shipped")


def test_it_fits_a_phone_and_the_dark(browser: Browser, address: str, screenshots: Path) -> None:
    page = opened(browser, address, width=390, height=844, scheme="dark")
    order(page, "Nobody can deliver")
    expect(page.locator("#verdict")).to_contain_text("Turned back", timeout=WAIT_MS)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shoot(page, screenshots, "5-phone-dark")
