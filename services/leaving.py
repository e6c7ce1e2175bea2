"""How a program that has started others is ended from outside: by `timeout`, a CI that has waited enough, a terminal.

Theory of operation. SIGTERM and SIGHUP would end it at once, and what it has started would stay. Here they raise
SystemExit in the main thread, and everything is stopped on the way out, as after Ctrl-C. Not while a process is being
started: until its pid is written down nobody knows of it, and it would be left behind. So the signal waits for that,
and so does Ctrl-C.
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_LEAVES_AT = (signal.SIGTERM, signal.SIGHUP)


class Leaving:
    """When this program leaves."""

    def __init__(self) -> None:
        self._is_starting = False
        self._asked = 0

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """Leave now, or as soon as the process is known that is being started. Python calls it in the main thread."""
        self._asked = self._asked or number
        if not self._is_starting:
            self._leave()

    @contextmanager
    def later(self) -> Generator[None, None, None]:
        """While a process is being started. In another thread that is not needed: whoever leaves waits for it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._is_starting = True
        try:
            with _ctrl_c_later():
                yield
        finally:
            self._is_starting = False
        if self._asked:
            self._leave()

    def _leave(self) -> None:
        # Once: whoever asks again while the others are being stopped would leave them running.
        for number in _LEAVES_AT:
            signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + self._asked)


@contextmanager
def _ctrl_c_later() -> Generator[None, None, None]:
    """Ctrl-C is told afterwards, to whoever heeds it: Python itself, or an event loop, which cancels its main task."""
    usual = signal.getsignal(signal.SIGINT)
    if not callable(usual):  # it is ignored
        yield
        return
    told: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if told:
        signal.raise_signal(signal.SIGINT)


leaving = Leaving()
"""Of this program."""


def end_in_order() -> None:
    """Have SIGTERM and SIGHUP end this program as Ctrl-C does: what it has started is stopped on the way out."""
    for number in _LEAVES_AT:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it, which is to be let have its way
            signal.signal(number, leaving.on_signal)
