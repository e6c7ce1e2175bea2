"""The broker's machine crashed: its log ends before what the groups have dealt with, and offsets are used again."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.running import running_shop, wait_until

pytestmark = pytest.mark.e2e


def test_orders_placed_after_the_broker_came_back_with_a_shorter_log_are_not_skipped(tmp_path: Path) -> None:
    with running_shop(tmp_path / "shop") as shop:
        shop.start()
        before = shop.place_orders("before", 12)
        shop.wait_for_ends(before)
        shop.signal("broker", signal.SIGKILL)
        shop.wait_for_end("broker")
        segments = list((shop.folder / "broker" / "partitions").glob("*/*.segment"))
        for number, segment in enumerate(sorted(segments)):
            # Cut off anywhere, in the middle of a batch as well; every third one is empty.
            with segment.open("r+b") as file:
                file.truncate(segment.stat().st_size * (number % 3) // 3)
        shop.start("broker")
        after = shop.place_orders("after", 12)
        shop.wait_for_ends(after)
        assert "cut off a torn end" in shop.log("broker")
        shop.stop()
        shop.prove([*before, *after])


def test_a_broker_that_lost_its_disk_is_given_its_topics_again_by_those_who_run(tmp_path: Path) -> None:
    with running_shop(tmp_path / "shop") as shop:
        shop.start()
        before = shop.place_orders("before", 12)
        shop.wait_for_ends(before)
        shop.signal("broker", signal.SIGKILL)
        shop.wait_for_end("broker")
        shutil.rmtree(shop.folder / "broker")
        shop.start("broker")
        # Whoever misses one of its topics makes all of them: the topic of orders is the orchestrator's and a service's.
        said = "was gone and is made again"
        wait_until(lambda: any(said in shop.log(name) for name in ("orchestrator", "orders")), "the topic of orders")
        after = shop.place_orders("after", 12)
        shop.wait_for_ends(after)
        shop.stop()
        shop.prove([*before, *after])
