"""The pages of a process for those who watch it: `/metrics`, `/health/live` and `/health/ready`.

Served by a thread of its own, so that they answer while the process is busy, and on loopback unless told otherwise:
they have no password. They say nothing of messages, sagas' keys or the broker's address.
"""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sagas.errors import SettingsError
from sagas.metrics.instruments import Instruments

REQUEST_S_MAX = 5
"""For a client to send its request: a thread is not kept by one that says nothing."""

Start = Callable[[str, list[tuple[str, str]]], Any]


class Page:
    """The server of these pages."""

    def __init__(
        self, host: str, port: int, instruments: Instruments, is_ready: Callable[[], bool], refresh: Callable[[], None]
    ) -> None:
        """Listen on `host` and `port`, 0 for any that is free; `refresh` brings gauges up to date before each look.

        Raises SettingsError when the address cannot be had.
        """
        self._instruments = instruments
        self._is_ready = is_ready
        self._refresh = refresh
        try:
            kind = _Server6 if ":" in host else _Server
            self._server = make_server(host, port, self._answer, kind, _Handler)
        except OSError as error:
            raise SettingsError(
                f"SAGAS_METRICS_HOST={host!r}, SAGAS_METRICS_PORT={port}: {error.strerror or error}; expected an "
                "address of this machine and a port that nobody uses, 0 for no metrics"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        status, kind, body = self._content(str(environ["REQUEST_METHOD"]), str(environ["PATH_INFO"]))
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _content(self, method: str, path: str) -> tuple[str, str, bytes]:
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", "text/plain", b"only GET and HEAD\n"
        match path:
            case "/metrics":
                self._refresh()
                return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._instruments.registry)
            case "/health/live":
                return "200 OK", "text/plain", b"ok\n"
            case "/health/ready":
                is_ready = self._is_ready()
                return (
                    ("200 OK", "text/plain", b"ok\n")
                    if is_ready
                    else (
                        "503 Service Unavailable",
                        "text/plain",
                        b"not ready\n",
                    )
                )
            case _:
                return "404 Not Found", "text/plain", b"there are /metrics, /health/live and /health/ready\n"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    """On an IPv6 address; the standard library's has one family, whatever the address."""

    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_S_MAX

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape every few seconds is no news."""
