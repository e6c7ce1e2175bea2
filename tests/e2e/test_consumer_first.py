"""A consumer that is up before those whose events it reads: it makes no topic of theirs, and goes on once they have."""

from pathlib import Path

import pytest

from services.processes import front_programs
from tests.e2e.running import running_shop, wait_until

pytestmark = pytest.mark.e2e


def test_a_consumer_waits_for_the_topics_it_reads_until_their_writers_have_made_them(tmp_path: Path) -> None:
    (audit,) = (program for program in front_programs() if program.name == "auditlog")
    with running_shop(tmp_path / "shop") as shop:
        shop.start("broker")
        reader = shop.launch(audit, shop.environ)
        wait_until(lambda: "topic 'orders' of stream" in shop.log("auditlog"), "the consumer to say what it waits for")
        shop.start("orders", "inventory", "payments", "shipping")
        wait_until(reader.is_ready, "the consumer to be up")
