"""A connection of the storefront: uvicorn's, with a bound for how long a request may take to say what it wants.

Theory of operation. A connection counts in `CONNECTIONS_MAX` from the moment it is there, and uvicorn waits for its
first request for ever; between two requests it waits `KEEP_ALIVE_S`, and a single byte ends that. So a thousand
clients that say nothing, or a letter an hour, would shut the shop. Here one time runs from the connection, and from
each answer, until the head of the next request is whole; then the connection is closed. What comes behind the head, the
body and the answer, has bounds of its own (`orders_api.py`, `stream.py`).
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """A connection that is closed when no request has come on it within the server's time to keep it alive."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what has come; when that is the head of a request, it came in time."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there already."""
        self._await_head()
        super().on_response_complete()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self._give_up)

    def _give_up(self) -> None:
        # An answer that was not taken in all this time is not waited for, either.
        self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
