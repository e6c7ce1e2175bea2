"""The embedded broker where the system has less than Linux: as it is tried on a laptop."""

from pathlib import Path

import pytest

from sagas.broker.iggy import IggyBroker
from sagas.ports import Outgoing, TopicSpec
from tests.wire.running import RunningBroker

pytestmark = pytest.mark.anyio

LIKE_MACOS = """
import os, resource, sys

del os.fdatasync

def refuse(*_):
    raise ValueError("current limit exceeds maximum limit")

resource.setrlimit = refuse

from sagas.broker.embedded.__main__ import main

sys.exit(main())
"""
"""No `fdatasync`, and a limit of open files that is none and cannot be set."""

ORDER = Outgoing(id="00000000-0000-4000-8000-000000000001", topic="orders", key="o-1", payload=b"{}")


async def test_it_serves_without_fdatasync_and_with_the_files_that_it_may_open(tmp_path: Path) -> None:
    running = RunningBroker(tmp_path, program=("-c", LIKE_MACOS))
    try:
        broker = IggyBroker.from_connection_string(f"iggy://iggy:iggy@{running.address}", stream="shop")
        await broker.ensure([TopicSpec(name="orders", partitions=2)])
        await broker.publish([ORDER])
        found = [message.id async for part in broker.newest("orders", 5) for message in part]
        await broker.close()
    finally:
        code, _ = running.end()
    assert (found, code) == ([ORDER.id], 0)
