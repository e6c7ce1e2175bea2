"""One connection of the real client, made finite.

Theory of operation. A connection is either there or not. Each call makes it if it is not there, runs
one request with a deadline, and throws it away when the outcome is unknown: the connection was lost,
time ran out, or the caller was cancelled. Thrown away means that the client object is dropped, never
mended: a request given up keeps its client's lock for up to 30 s, and a client that reconnects by
itself comes back with another session, which is a member of no group. The next call starts afresh and
`epoch` counts these starts, so whatever a session held (groups, positions) can be seen to be gone.

The client has no way to be closed: its socket goes when its last reference does. So it is referred to from
one place, a `_Session` that is emptied, and never from a frame: an exception keeps the frames it came
through, and with them a client would go on being a member of its groups until the exception is forgotten.

The client's own defaults would hang when the broker is away and delay small packets by 40 ms; both
are set here, nowhere else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import anyio
from apache_iggy import AutoLogin, IggyClient, TcpConfig, TcpReconnectionConfig

from sagas.broker.connection_string import IggyAddress
from sagas.broker.iggy_errors import Refused, classify
from sagas.errors import BrokerError, BrokerUnavailable, SettingsError
from sagas.ports import Settled

SETTLE_S = 0.06
"""How long to let the event loop live after a client was dropped: ended at once, the client's own threads
find no interpreter and abort the process (16 of 80 runs; none with 50 ms)."""

_DIALS_AGAIN_MAX = 2
_DIAL_INTERVAL = timedelta(milliseconds=200)

T = TypeVar("T")


class _Session:
    """The one reference to a client."""

    __slots__ = ("client",)

    def __init__(self, client: IggyClient) -> None:
        self.client: IggyClient | None = client


class IggyConnection:
    """A client of one server that connects when it is needed. One request is in flight at a time."""

    def __init__(self, address: IggyAddress, call_timeout_s: float) -> None:
        self._address = address
        self._timeout_s = call_timeout_s
        self._config = _config(address)
        self._session: _Session | None = None
        self._is_closed = False
        self._connecting = anyio.Lock()
        self.epoch = 0
        """How many times this connected; 0 before the first."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that nothing is known against."""
        return self._session is not None

    async def connect(self) -> None:
        """Have a connection and be logged in. Raises BrokerUnavailable, and BrokerError when the login is refused."""
        async with self._connecting:
            if self._is_closed:
                raise BrokerError(f"broker {self._address.server}: this connection was closed")
            if self._session is not None:
                return
            session = _Session(IggyClient(self._config))
            await self._bounded("connect", session, lambda client: client.connect())
            self._session = session
            self.epoch += 1

    async def call(self, name: str, request: Callable[[IggyClient], Awaitable[T]]) -> T:
        """Run `request` on the connection; `name` is what errors call it.

        Raises BrokerUnavailable when the outcome is unknown, `Refused` when the broker said no.
        """
        if self._session is None:
            await self.connect()
        session = self._session
        if session is None:
            raise BrokerUnavailable(f"broker {self._address.server}: {name}: the connection was lost")
        return await self._bounded(name, session, request)

    async def request(self, name: str, code: int, body: bytes) -> bytes:
        """Send a request that the client does not know itself; the body of its reply. Raises as `call` does."""
        return await self.call(name, lambda client: client.send_binary_request(code, body))

    @property
    def is_prompt(self) -> bool:
        """False: the client sends nothing without giving the loop a turn; see `iggy_together.Requests`."""
        return False

    def begin(self, name: str, code: int, body: bytes, settled: Settled) -> None:
        """Not done; see `is_prompt`."""
        del code, body
        settled(BrokerUnavailable(f"broker {self._address.server}: {name}: not without waiting"))

    def drop(self) -> None:
        """Start afresh at the next call: something else has shown that the server was away."""
        if self._session is not None:
            self._give_up(self._session)

    def close(self) -> None:
        """Give up the connection for good. The caller lets the loop live for `SETTLE_S` afterwards."""
        self._is_closed = True
        if self._session is not None:
            self._give_up(self._session)

    async def _bounded(self, name: str, session: _Session, request: Callable[[IggyClient], Awaitable[T]]) -> T:
        where = f"broker {self._address.server}: {name}"
        if session.client is None:
            raise BrokerUnavailable(f"{where}: the connection was lost")
        # By hand, for this is done several times for each message: a cancel scope costs more than the rest of it.
        is_overdue = False

        def give_up_waiting() -> None:
            nonlocal is_overdue
            is_overdue = True
            answer.cancel()

        try:
            answer = asyncio.ensure_future(request(session.client))
            deadline = answer.get_loop().call_later(self._timeout_s, give_up_waiting)
            try:
                return await answer
            finally:
                deadline.cancel()
        except asyncio.CancelledError:
            self._give_up(session)
            if is_overdue and not _is_cancelled():
                raise BrokerUnavailable(f"{where}: no answer within {self._timeout_s:g} s") from None
            # The caller was cancelled: the reply is still to come and nobody would take it off the connection.
            raise
        except RuntimeError as error:
            raise self._failed(session, where, str(error)) from None
        except (ValueError, TypeError, OverflowError) as error:
            # The client refused an argument before sending it; the connection is as good as before.
            raise Refused(where, str(error)) from None
        except BaseException:
            self._give_up(session)
            raise

    def _failed(self, session: _Session, where: str, text: str) -> BrokerError:
        error = classify(where, text)
        if isinstance(error, BrokerUnavailable):
            self._give_up(session)
        return error

    def _give_up(self, session: _Session) -> None:
        session.client = None
        if self._session is session:
            self._session = None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _config(address: IggyAddress) -> TcpConfig:
    who = address.credentials
    login = (
        AutoLogin.username_password(who.username, who.password)
        if who.username
        else AutoLogin.personal_access_token(who.token)
    )
    try:
        return TcpConfig(
            server_address=address.server,
            auto_login=login,
            reconnection=TcpReconnectionConfig(
                enabled=True,
                max_retries=_DIALS_AGAIN_MAX,
                interval=_DIAL_INTERVAL,
                reestablish_after=timedelta(0),
            ),
            heartbeat_interval=timedelta(milliseconds=address.heartbeat_ms),
            tls_enabled=address.is_tls,
            tls_domain=address.tls_domain,
            tls_ca_file=address.tls_ca_file or None,
            tls_validate_certificate=True,
            nodelay=True,
        )
    except (ValueError, OverflowError):
        # Without the client's words: they may quote what they were given.
        raise SettingsError("broker address: the client takes no such host:port, or no such interval") from None
