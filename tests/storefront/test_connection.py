"""A connection is given up when no request comes on it, and not while one is answered. Time is the loop's: virtual."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from services.storefront.connection import Connection
from services.storefront.process import KEEP_ALIVE_S, config_of

HEAD = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\n"


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is moved by hand."""

    now_s = 0.0

    def time(self) -> float:
        """Virtual time, in seconds."""
        return self.now_s

    def turn(self, after_s: float = 0.0) -> None:
        """Let time pass, and everybody do what there is to do."""
        self.now_s += after_s
        for _ in range(20):
            self.run_until_complete(asyncio.sleep(0))


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written += bytes(data)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    def abort(self) -> None:
        """The same at once."""
        self.close()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.is_closed

    def pause_reading(self) -> None:
        """Nothing is read by itself."""

    def resume_reading(self) -> None:
        """Nothing is read by itself."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is none."""
        return default


async def shop(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once; /slow after an hour."""
    if scope["path"] == "/slow":
        await asyncio.sleep(3_600)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.turn()
    loop.close()


Connect = Callable[[], tuple[Connection, Wire]]


@pytest.fixture
def connect(loop: Loop) -> Connect:
    config = config_of(shop)
    config.load()
    assert config.http_protocol_class is Connection

    def made() -> tuple[Connection, Wire]:
        wire, connection = Wire(), Connection(config, ServerState(), {}, loop)
        connection.connection_made(wire)
        return connection, wire

    return made


def test_a_connection_that_says_nothing_is_closed_in_the_end_and_not_before(loop: Loop, connect: Connect) -> None:
    _, wire = connect()
    loop.turn(KEEP_ALIVE_S - 1)
    assert not wire.is_closed
    loop.turn(2)
    assert wire.is_closed


def test_a_head_that_comes_letter_by_letter_does_not_keep_its_connection(loop: Loop, connect: Connect) -> None:
    connection, wire = connect()
    for letter in HEAD[:KEEP_ALIVE_S]:
        connection.data_received(bytes([letter]))
        loop.turn(1)
    loop.turn(1)
    assert wire.is_closed


def test_a_request_may_take_longer_than_that_to_be_answered(loop: Loop, connect: Connect) -> None:
    connection, wire = connect()
    connection.data_received(HEAD.replace(b"/ ", b"/slow "))
    loop.turn(100)
    assert (wire.is_closed, wire.written) == (False, b"")
    loop.turn(3_600)
    assert b"200 OK" in wire.written


def test_between_two_requests_the_same_time_runs_anew(loop: Loop, connect: Connect) -> None:
    connection, wire = connect()
    for number in range(1, 4):
        loop.turn(KEEP_ALIVE_S - 1)
        connection.data_received(HEAD)
        loop.turn()
        assert (wire.written.count(b"200 OK"), wire.is_closed) == (number, False)
    connection.data_received(HEAD[:4])
    loop.turn(KEEP_ALIVE_S + 1)
    assert wire.is_closed


def test_two_requests_at_once_are_both_answered_and_then_the_time_runs(loop: Loop, connect: Connect) -> None:
    connection, wire = connect()
    connection.data_received(HEAD + HEAD)
    loop.turn()
    assert (wire.written.count(b"200 OK"), wire.is_closed) == (2, False)
    loop.turn(KEEP_ALIVE_S + 1)
    assert wire.is_closed


def test_a_body_that_goes_on_after_its_answer_does_not_keep_its_connection(loop: Loop, connect: Connect) -> None:
    connection, wire = connect()
    connection.data_received(POST)
    loop.turn()
    assert b"200 OK" in wire.written
    for _ in range(KEEP_ALIVE_S // 3 + 1):
        connection.data_received(b"x")
        loop.turn(3)
    assert wire.is_closed


def test_a_connection_that_is_lost_is_waited_for_no_longer(loop: Loop, connect: Connect) -> None:
    connection, wire = connect()
    connection.connection_lost(ConnectionResetError())
    loop.turn(KEEP_ALIVE_S + 1)
    assert not wire.is_closed


def test_the_server_is_told_what_it_may_not_choose_itself() -> None:
    config: uvicorn.Config = config_of(shop)
    assert (config.timeout_keep_alive, config.ws, config.lifespan) == (KEEP_ALIVE_S, "none", "off")
