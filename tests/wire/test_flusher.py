"""Group commit: who waits is released by a sync that began after the write, and never by one that failed."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from sagas.broker.embedded.flusher import Flusher
from sagas.broker.embedded.server import serve
from sagas.errors import BrokerError
from tests.wire.raw import SEND, RawClient, send_body
from tests.wire.test_broker_kill import create_topics


class FakeFile:
    """A file whose syncs are counted, held back and made to fail."""

    def __init__(self, error: OSError | None = None) -> None:
        self.syncs = 0
        self.go = threading.Event()
        self.began = threading.Event()
        self._error = error

    def sync(self) -> None:
        self.began.set()
        assert self.go.wait(5)
        self.syncs += 1
        if self._error is not None:
            raise self._error


def test_all_who_wait_while_a_sync_runs_share_the_next_one() -> None:
    async def story() -> None:
        flusher, file = Flusher(), FakeFile()
        released: list[tuple[int, int]] = []
        done = asyncio.Event()

        def waiter(number: int) -> None:
            def release() -> None:
                released.append((number, file.syncs))
                if len(released) == 4:
                    done.set()

            flusher.release_after_sync((file,), release)

        running = asyncio.ensure_future(flusher.run())
        waiter(0)
        await asyncio.to_thread(file.began.wait, 5)
        for number in (1, 2, 3):
            waiter(number)
        file.go.set()
        await asyncio.wait_for(done.wait(), 5)
        running.cancel()
        assert released == [(0, 1), (1, 2), (2, 2), (3, 2)]

    asyncio.run(story())


def test_a_sync_that_fails_releases_nobody() -> None:
    async def story() -> None:
        flusher, file = Flusher(), FakeFile(OSError("disk on fire"))
        file.go.set()
        released: list[int] = []
        flusher.release_after_sync((file,), lambda: released.append(1))
        with pytest.raises(OSError, match="disk on fire"):
            await flusher.run()
        assert released == []

    asyncio.run(story())


def test_a_release_that_fails_ends_it_wherever_it_syncs() -> None:
    async def story() -> None:
        flusher, file = Flusher(), FakeFile()
        file.go.set()
        is_quick = asyncio.Event()

        def fail() -> None:
            raise OSError("cannot be removed")

        flusher.release_after_sync((file,), is_quick.set)
        running = asyncio.ensure_future(flusher.run())
        await is_quick.wait()
        flusher.release_after_sync((file,), fail)
        with pytest.raises(OSError, match="cannot be removed"):
            await asyncio.wait_for(running, 5)

    asyncio.run(story())


@pytest.mark.e2e
@pytest.mark.parametrize(("call", "topic"), [("fdatasync", "persisted"), ("pwrite", "quick")])
def test_a_broker_that_cannot_keep_a_message_stops_without_acknowledging_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, topic: str
) -> None:
    outcome: list[object] = []

    def fail(*_: object) -> None:
        raise OSError(28, "no space left")

    def client(port: int) -> None:
        with RawClient(port) as raw:
            create_topics(port)
            monkeypatch.setattr(os, call, fail)
            try:
                outcome.append(raw.call(SEND, send_body("s", topic, 0, b"lost")))
            except OSError as error:
                outcome.append(error)

    async def story() -> None:
        thread: list[threading.Thread] = []

        def on_ready(address: str) -> None:
            thread.append(threading.Thread(target=client, args=(int(address.rpartition(":")[2]),)))
            thread[0].start()

        try:
            with pytest.raises(BrokerError, match="without acknowledging"):
                await asyncio.wait_for(serve("127.0.0.1:0", tmp_path, on_ready=on_ready), 10)
        finally:
            monkeypatch.undo()
            await asyncio.to_thread(thread[0].join, 10)

    asyncio.run(story())
    assert len(outcome) == 1
    assert isinstance(outcome[0], OSError)
