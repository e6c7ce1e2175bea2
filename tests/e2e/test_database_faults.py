"""Real processes whose database fails under them: they wait, say why, and go on by themselves."""

import resource
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.running import running_shop, wait_until

pytestmark = pytest.mark.e2e


def test_a_full_disk_stops_the_orchestrator_until_there_is_room_and_it_stays_the_same_process(tmp_path: Path) -> None:
    with running_shop(tmp_path / "shop") as shop:
        shop.start()
        before = shop.place_orders("before", 4)
        shop.wait_for_ends(before)
        pid = shop.pid("orchestrator")
        # No file of this process may become any larger, as on a disk without room.
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        logged = (shop.folder / "logs" / "orchestrator.log").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (max(16_384, logged + 16_384), hard))
        stories = shop.place_orders("full", 12)
        wait_until(
            lambda: "trying again in" in shop.log("orchestrator"), "the orchestrator to say that it cannot write"
        )
        # Some may have fitted into what was there; of the others there is no trace.
        assert len(shop.runs()) < len(before) + len(stories)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        shop.wait_for_ends(stories)
        assert shop.pid("orchestrator") == pid
        shop.stop()
        shop.prove([*before, *stories])


def test_a_database_that_is_deleted_under_the_orchestrator_can_be_rescued_from_it(tmp_path: Path) -> None:
    with running_shop(tmp_path / "shop") as shop:
        shop.start()
        before = shop.place_orders("before", 4)
        shop.wait_for_ends(before)
        pid = shop.pid("orchestrator")
        deleted = Path(f"{shop.database} (deleted)")
        shop.database.unlink()
        stories = shop.place_orders("deleted", 6)
        wait_until(lambda: f"from /proc/{pid}/fd" in shop.log("orchestrator"), "the orchestrator to say what to do")
        # As it says: the file is still there for whoever knows where. Its log lies where it always was.
        (still_open,) = {
            link for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink() and link.readlink() == deleted
        }
        shop.signal("orchestrator", signal.SIGSTOP)
        shutil.copy(still_open, shop.database)
        shop.signal("orchestrator", signal.SIGKILL)
        shop.wait_for_end("orchestrator")
        shop.start("orchestrator")
        shop.wait_for_ends([*before, *stories])
        shop.stop()
        shop.prove([*before, *stories])
