"""The storefront as a real process beside all the others, killed with -9 while customers place orders."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.processes import PROJECTOR, STOREFRONT, free_address, front_programs
from tests.e2e.running import Shop, running_shop, wait_until
from tests.rules.source import ROOT

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


def launch(shop: Shop, address: str, name: str = STOREFRONT) -> None:
    """Start the storefront, or what stands behind it, and wait until it is up."""
    (program,) = (program for program in front_programs() if program.name == name)
    child = shop.launch(program, {**shop.environ, "SAGAS_STOREFRONT_ADDRESS": address})
    wait_until(child.is_ready, f"the {name} to be up")


def shown_in_readme() -> list[str]:
    """The commands that the README shows with curl, and what stands below them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (part.partition("```")[0] for part in text.split("```console\n") if part.startswith("$ curl"))
    return [line.removeprefix("$ ") for line in block.splitlines()]


def typed(shop: Shop, address: str, line: str) -> str:
    """What a command of the README says, typed where this shop runs."""
    line = line.replace("localhost:8000", address)
    if line.startswith("make rebuild"):
        line = f"{sys.executable} -m sagas replay"
    ran = subprocess.run(["bash", "-c", line], env=shop.environ, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, (line, ran.stderr)
    return ran.stdout


def test_a_storefront_that_is_killed_loses_no_order_it_accepted_and_places_none_twice(tmp_path: Path) -> None:
    address = free_address(0)
    with running_shop(tmp_path) as shop:
        shop.environ["SAGAS_EVENT_STORE"] = "true"  # as `make up` does
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

        # And the README's commands, as they stand there: placed, listed, watched to its end, rebuilt.
        launch(shop, address, PROJECTOR)
        placing, listing, watching, rebuilding = shown_in_readme()
        assert typed(shop, address, placing).startswith("HTTP/1.1 202 Accepted")
        wait_until(lambda: _is_listed_first(typed(shop, address, listing)), "the order to be listed as completed")
        assert typed(shop, address, watching).endswith("event: end\ndata: {}\n\n")
        assert "equal to the one in use, row by row" in typed(shop, address, rebuilding)
        wait_until(lambda: _is_listed_first(typed(shop, address, listing)), "the rebuilt read model to be served")

        shop.signal(STOREFRONT, signal.SIGTERM)
        shop.wait_for_end(STOREFRONT)


def _is_listed_first(page: str) -> bool:
    listed = [(order["state"], order["total"]) for order in json.loads(page)["orders"]]
    return listed == [("completed", "59.98")]
