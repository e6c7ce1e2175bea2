"""A program that is ended from outside leaves by an exception, and not while it is starting a process."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from services.leaving import Leaving, end_in_order


@pytest.fixture(params=[signal.SIGTERM, signal.SIGHUP])
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    yield request.param
    for each, handler in before.items():
        signal.signal(each, handler)


def told_while_starting(leaving: Leaving, number: signal.Signals, done: list[str]) -> None:
    with leaving.later():
        os.kill(os.getpid(), number)
        done.append("started")
    done.append("went on")


def test_it_leaves_by_an_exception_that_says_why(number: signal.Signals) -> None:
    signal.signal(number, Leaving().on_signal)
    with pytest.raises(SystemExit) as left:
        os.kill(os.getpid(), number)
    assert left.value.code == 128 + number


def test_a_process_that_is_being_started_is_known_first(number: signal.Signals) -> None:
    leaving, done = Leaving(), list[str]()
    signal.signal(number, leaving.on_signal)
    with pytest.raises(SystemExit) as left:
        told_while_starting(leaving, number, done)
    assert left.value.code == 128 + number
    assert done == ["started"]


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """As it is at a terminal: whoever was started in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_waits_as_well_until_the_process_that_is_being_started_is_known() -> None:
    done = list[str]()
    with pytest.raises(KeyboardInterrupt):
        told_while_starting(Leaving(), signal.SIGINT, done)
    assert done == ["started"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_that_is_ignored_stays_ignored_while_a_process_is_started() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = list[str]()
    told_while_starting(Leaving(), signal.SIGINT, done)
    assert done == ["started", "went on"]


def test_who_asks_again_does_not_stop_the_stopping(number: signal.Signals) -> None:
    signal.signal(number, Leaving().on_signal)
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


def test_what_another_thread_starts_is_not_waited_for(number: signal.Signals) -> None:
    leaving, started, leave = Leaving(), threading.Event(), threading.Event()
    signal.signal(number, leaving.on_signal)

    def start() -> None:
        with leaving.later():
            started.set()
            leave.wait(10)

    other = threading.Thread(target=start)
    other.start()
    started.wait(10)
    try:
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), number)
    finally:
        leave.set()
        other.join()


def test_a_signal_that_is_ignored_as_under_nohup_stays_ignored(number: signal.Signals) -> None:
    other = signal.SIGHUP if number is signal.SIGTERM else signal.SIGTERM
    signal.signal(number, signal.SIG_IGN)
    signal.signal(other, signal.SIG_DFL)
    end_in_order()
    assert signal.getsignal(number) is signal.SIG_IGN
    assert signal.getsignal(other) not in (signal.SIG_IGN, signal.SIG_DFL)
