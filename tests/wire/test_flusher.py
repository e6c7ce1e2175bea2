"""Group commit: who waits is released by a sync that began after the write, and never by one that failed."""

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sagas.broker.embedded import connection as connection_module
from sagas.broker.embedded import flusher as flusher_module
from sagas.broker.embedded.flusher import Flusher
from sagas.broker.embedded.server import serve
from sagas.errors import BrokerError
from tests.wire.raw import PING, READ, SEND, RawClient, batch, send_body
from tests.wire.test_broker_kill import create_topics
from tests.wire.test_together import SEND_AHEAD, SEND_TOGETHER, together


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


def test_who_does_not_wait_is_released_with_who_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        flusher, file = Flusher(), FakeFile()
        file.go.set()
        released: list[tuple[str, int]] = []
        first, last = asyncio.Event(), asyncio.Event()

        def released_as(name: str, done: asyncio.Event) -> None:
            released.append((name, file.syncs))
            done.set()

        running = asyncio.ensure_future(flusher.run())
        flusher.release_after_sync((file,), lambda: released_as("first", first), is_awaited=False)
        await asyncio.wait_for(first.wait(), 5)
        for name in ("ahead", "further ahead"):
            flusher.release_after_sync((file,), partial(released_as, name, asyncio.Event()), is_awaited=False)
        await asyncio.sleep(0)
        assert released == [("first", 1)], "nobody waits, and the last sync was just now"
        flusher.release_after_sync((file,), lambda: released_as("awaited", last))
        await asyncio.wait_for(last.wait(), 5)
        running.cancel()
        assert released == [("first", 1), ("ahead", 2), ("further ahead", 2), ("awaited", 2)]

    monkeypatch.setattr(flusher_module, "AHEAD_S", 3_600)
    asyncio.run(story())


def test_who_does_not_wait_is_released_all_the_same() -> None:
    async def story() -> None:
        flusher, file = Flusher(), FakeFile()
        file.go.set()
        running = asyncio.ensure_future(flusher.run())
        for syncs in (1, 2, 3):
            done = asyncio.Event()
            flusher.release_after_sync((file,), done.set, is_awaited=False)
            await asyncio.wait_for(done.wait(), 5)
            assert file.syncs == syncs
        running.cancel()

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


class HeldDisk:
    """Syncs wait, from `hold` on, until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._sync = os.fdatasync
        self.go = threading.Event()
        # In a thread, however quick the disk is, so that the server goes on meanwhile.
        monkeypatch.setattr(flusher_module, "QUICK_S", 0)

    def hold(self) -> None:
        """Hold every sync from now on."""
        self._monkeypatch.setattr(os, "fdatasync", self._held)

    def _held(self, descriptor: int) -> None:
        assert self.go.wait(10)
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> HeldDisk:
    return HeldDisk(monkeypatch)


def test_what_is_sent_behind_an_unsynced_message_is_there_and_acknowledged_after_it(
    tmp_path: Path, disk: HeldDisk
) -> None:
    most = connection_module.PENDING_MAX
    found: list[list[bytes]] = []
    replies: list[tuple[int, bytes]] = []

    def client(port: int) -> None:
        create_topics(port)
        disk.hold()
        with RawClient(port) as sender, RawClient(port) as reader:
            for number in range(most + 3):
                code = SEND_TOGETHER if number % 2 else SEND_AHEAD
                sender.send(READ, together(("persisted", 0, batch(b"%d" % number))), code=code)
            sender.send(READ, together(("nowhere", 0, batch(b"x"))), code=SEND_AHEAD)
            while len(reader.payloads("s", "persisted", 0)) < most:
                pass
            found.append(reader.payloads("s", "persisted", 0))
            disk.go.set()
            replies.extend(sender.reply() for _ in range(most + 4))
            found.append(reader.payloads("s", "persisted", 0))

    _serve_for(client, tmp_path)
    sent = [b"%d" % number for number in range(most + 3)]
    assert found == [sent[:most], sent], "as many as may wait for the disk, and the others after it"
    assert replies[:-1] == [(0, b"")] * (most + 3)
    assert replies[-1][0] != 0, "the one that is refused is told so in its turn"


def test_a_reply_that_nobody_waits_for_comes_with_the_next_one_that_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies: list[tuple[int, bytes]] = []

    def client(port: int) -> None:
        create_topics(port)
        with RawClient(port) as sender:
            for number in range(3):
                sender.send(READ, together(("persisted", 0, batch(b"%d" % number))), code=SEND_AHEAD)
            # A message that is on the disk is behind those before it; a reply that is not waited for would not come.
            sender.send(READ, together(("persisted", 0, batch(b"3"))), code=SEND_TOGETHER)
            replies.extend(sender.reply() for _ in range(4))
            sender.send(READ, together(("persisted", 0, batch(b"4"))), code=SEND_AHEAD)
            sender.send(READ, code=PING)
            replies.extend(sender.reply() for _ in range(2))

    monkeypatch.setattr(connection_module, "LATE_S", 3_600)
    _serve_for(client, tmp_path)
    assert replies == [(0, b"")] * 6


def test_a_client_that_goes_with_messages_unsynced_leaves_them_and_the_server(tmp_path: Path, disk: HeldDisk) -> None:
    found: list[list[bytes]] = []

    def client(port: int) -> None:
        create_topics(port)
        disk.hold()
        with RawClient(port) as reader:
            with RawClient(port) as sender:
                for number in range(2):
                    sender.send(READ, together(("persisted", 0, batch(b"%d" % number))), code=SEND_AHEAD)
                while len(reader.payloads("s", "persisted", 0)) < 2:
                    pass
            disk.go.set()
            assert reader.call(SEND, send_body("s", "persisted", 0, b"2"))[0] == 0
            found.append(reader.payloads("s", "persisted", 0))

    _serve_for(client, tmp_path)
    assert found == [[b"0", b"1", b"2"]]


def _serve_for(client: Callable[[int], None], data: Path) -> None:
    """Run `client` in a thread against a server in this process, and stop that when it ends."""
    failures: list[BaseException] = []

    async def story() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def run(port: int) -> None:
            try:
                client(port)
            except BaseException as error:
                failures.append(error)
            finally:
                loop.call_soon_threadsafe(ended.set)

        def on_ready(address: str) -> None:
            threading.Thread(target=run, args=(int(address.rpartition(":")[2]),)).start()

        serving = asyncio.ensure_future(serve("127.0.0.1:0", data, on_ready=on_ready))
        await asyncio.wait_for(ended.wait(), 20)
        serving.cancel()
        await asyncio.wait([serving])

    asyncio.run(story())
    if failures:
        raise failures[0]
