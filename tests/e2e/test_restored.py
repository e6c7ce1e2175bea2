"""A participant whose database comes back from a backup: it says so and does nothing, until a person has chosen."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.stories import Story
from tests.e2e.running import WAIT_S_MAX, Shop, running_shop, wait_until

pytestmark = pytest.mark.e2e

RESTORED = (sys.executable, "-m", "sagas", "restored", "inventory", "--module", "services.orders.saga")
SAY_WHY = ("--reason", "the disk was lost", "--yes")


def test_a_participant_with_a_restored_database_says_so_and_catches_up_when_told_to(tmp_path: Path) -> None:
    with running_shop(tmp_path) as shop:
        stories = a_restored_inventory(shop)

        inventory = shop.launch(next(p for p in shop.place.programs if p.name == "inventory"), shop.environ)
        wait_until(inventory.has_ended, "inventory to refuse")
        assert "inventory.db does not know" in shop.log("inventory")
        assert "sagas restored inventory" in shop.log("inventory")
        with pytest.raises(AssertionError):
            shop.prove(stories)

        found = typed(shop, "--json", ends_with=1)
        assert found["missing"]
        assert found["otherwise"] == []
        assert not typed(shop, "--repeat", "--reason", "to see", "--json", ends_with=1)["is_done"]
        assert typed(shop, "--repeat", *SAY_WHY, "--json")["is_done"]

        shop.start("inventory")
        wait_until(lambda: typed(shop, "--json")["known_missing"] == 0, "everything to be carried out again")
        wait_until(holds(shop, stories), "the books to hold")


def a_restored_inventory(shop: Shop) -> list[Story]:
    """Orders of which inventory's database, which is not open, has forgotten the later ones."""
    shop.start()
    stories = shop.place_orders("before", 8)
    shop.wait_for_ends(stories)
    database, backup = shop.folder / "inventory.db", shop.folder / "backup.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    stories += shop.place_orders("after", 12)
    shop.wait_for_ends(stories)
    shop.signal("inventory", signal.SIGTERM)
    shop.wait_for_end("inventory")
    for left in shop.folder.glob("inventory.db-*"):
        left.unlink()
    backup.replace(database)
    return stories


def typed(shop: Shop, *arguments: str, ends_with: int = 0) -> Any:
    """What the command prints as JSON."""
    ran = subprocess.run(
        [*RESTORED, *arguments], env=shop.environ, capture_output=True, text=True, timeout=WAIT_S_MAX, check=False
    )
    assert (ran.returncode, ran.stderr) == (ends_with, ""), ran.stdout
    return json.loads(ran.stdout)


def holds(shop: Shop, stories: list[Story]) -> Callable[[], bool]:
    """Whether every order ended rightly, and the books of all services hold."""

    def do_hold() -> bool:
        try:
            shop.prove(stories)
        except AssertionError:
            return False
        return True

    return do_hold
