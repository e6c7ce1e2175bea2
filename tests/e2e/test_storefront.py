"""The storefront as a real process beside all the others, killed with -9 while customers place orders."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.processes import STOREFRONT, free_address, front_programs
from tests.e2e.running import Shop, running_shop, wait_until

pytestmark = pytest.mark.e2e

ORDERS = 40
KILL_AFTER = 12
ANSWER_S_MAX = 30.0


def place(address: str, key: str, order: dict[str, Any]) -> str:
    """Place an order as a client that does not give up: the same request under the same key, until it is answered."""
    until = time.monotonic() + ANSWER_S_MAX
    while time.monotonic() < until:
        try:
            answer = httpx.post(f"{address}/orders", json=order, headers={"Idempotency-Key": key}, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        assert answer.status_code == 202, answer.text
        return str(answer.json()["order_id"])
    pytest.fail(f"{key} was not answered within {ANSWER_S_MAX} s")


def launch(shop: Shop, address: str) -> None:
    """Start the storefront, and wait until it is up."""
    (program,) = (program for program in front_programs() if program.name == STOREFRONT)
    child = shop.launch(program, {**shop.environ, "SAGAS_STOREFRONT_ADDRESS": address})
    wait_until(child.is_ready, "the storefront to be up")


def test_a_storefront_that_is_killed_loses_no_order_it_accepted_and_places_none_twice(tmp_path: Path) -> None:
    address = free_address(0)
    with running_shop(tmp_path) as shop:
        shop.start()
        launch(shop, address)
        placed: dict[str, str] = {}

        def customers() -> None:
            for number in range(ORDERS):
                product = "mug" if number % 5 else "unicorn"
                order = {
                    "items": [{"product_id": product, "quantity": 1}],
                    "card": "card-ok",
                    "address": f"{number} Harbour Street",
                }
                placed[f"k-{number}"] = place(f"http://{address}", f"k-{number}", order)

        ordering = threading.Thread(target=customers)
        ordering.start()
        wait_until(lambda: len(placed) >= KILL_AFTER, "some orders to be placed")
        shop.signal(STOREFRONT, signal.SIGKILL)
        shop.wait_for_end(STOREFRONT)
        launch(shop, address)
        ordering.join()

        wait_until(lambda: all(order in shop.runs() for order in placed.values()), "every order to have its saga")
        wait_until(lambda: all(run.is_ended for run in shop.runs().values()), "every saga to end")
        runs = shop.runs()
        assert sorted(runs) == sorted(placed.values())
        assert [run.state for run in runs.values()].count("completed") == ORDERS - ORDERS // 5

        shop.signal(STOREFRONT, signal.SIGTERM)
        shop.wait_for_end(STOREFRONT)
