"""Where the broker is and who we are there, and how that is written in one line.

    iggy://user:password@host:port[?option=value&...]      also iggy+tcp://
    iggy://token@host:port                                 a personal access token

The text means the same as for Iggy's own clients: nothing is percent-decoded. It is taken apart here,
not by the client, because the client's reading of it leaves small packets waiting (`nodelay` off) and
retries for ever when the broker is away, and neither suits an engine that has deadlines. So `nodelay`,
`reconnection_retries`, `reconnection_interval` and `reestablish_after` are accepted and not followed.

Secrets: no error quotes any part of the string. A password with an "@" in it can put a piece of
itself anywhere a careless split looks for a host.
"""

import re

import msgspec

from sagas.errors import SettingsError

_SCHEMES = ("iggy://", "iggy+tcp://")
_NOT_FOLLOWED = frozenset({"nodelay", "reconnection_retries", "reconnection_interval", "reestablish_after"})
_FOLLOWED = frozenset({"tls", "tls_domain", "tls_ca_file", "heartbeat_interval"})
_SHAPE = "write iggy://user:password@host:port[?option=value&...]"
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h)", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_PORT_MAX = 65_535

HEARTBEAT_MS = 5000
"""How often an idle connection says that it lives; Iggy evicts a group member after 36 s of silence."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A user name with a password, or a personal access token with neither."""

    username: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        """The user's name only: secrets end up in logs through exactly this door."""
        return f"Credentials(username={self.username!r})" if self.username else "Credentials(token)"


class IggyAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An Iggy server and how to talk to it."""

    server: str
    """`host:port`."""
    credentials: Credentials
    heartbeat_ms: int = HEARTBEAT_MS
    is_tls: bool = False
    tls_domain: str = ""
    tls_ca_file: str = ""


def parse_connection_string(text: str) -> IggyAddress:
    """The address in `text`. Raises SettingsError, which quotes nothing of it: see the module's text."""
    scheme = next((s for s in _SCHEMES if text.startswith(s)), None)
    if scheme is None:
        raise SettingsError(f"connection string: it has to begin with iggy:// (TCP); {_SHAPE}")
    # The last "@" divides: a password may hold one, an address may not.
    credentials, at, rest = text.removeprefix(scheme).rpartition("@")
    if not at or not credentials:
        raise SettingsError(f"connection string: no credentials before the address; {_SHAPE}")
    server, _, options = rest.partition("?")
    values = _options(options)
    heartbeat = values.get("heartbeat_interval")
    return IggyAddress(
        server=checked_server(server),
        credentials=_credentials(credentials),
        heartbeat_ms=HEARTBEAT_MS if heartbeat is None else _duration_ms(heartbeat),
        is_tls=values.get("tls", "false") == "true",
        tls_domain=values.get("tls_domain", ""),
        tls_ca_file=values.get("tls_ca_file", ""),
    )


def checked_server(server: str) -> str:
    """`server` itself, which is `host:port`. Raises SettingsError when it is not."""
    host, _, port = server.rpartition(":")
    # Its length first: Python refuses to read a number of thousands of digits.
    if not host or not (port.isascii() and port.isdigit() and len(port) <= 5) or not 0 < int(port) <= _PORT_MAX:
        raise SettingsError(f"broker address: expected host:port with a port of 1 to {_PORT_MAX}; {_SHAPE}")
    return server


def _credentials(text: str) -> Credentials:
    username, colon, password = text.partition(":")
    if not colon:
        return Credentials(token=text)
    if not username or not password:
        raise SettingsError(f"connection string: user name or password is empty; {_SHAPE}")
    return Credentials(username=username, password=password)


def _options(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in text.split("&") if text else ():
        name, equals, value = pair.partition("=")
        if not equals or name not in _FOLLOWED | _NOT_FOLLOWED:
            known = ", ".join(sorted(_FOLLOWED | _NOT_FOLLOWED))
            raise SettingsError(f"connection string: an option is not of the form name=value with a name of {known}")
        values[name] = value
    if values.get("tls", "false") not in {"true", "false"}:
        raise SettingsError("connection string: option tls has to be true or false")
    return values


def _duration_ms(text: str) -> int:
    parts = _DURATION.fullmatch(text)
    duration_ms = int(parts[1]) * _UNIT_MS[parts[2]] if parts else 0
    if duration_ms < 1:
        raise SettingsError("connection string: option heartbeat_interval has to be a time like 500ms, 5s or 1m")
    return duration_ms
