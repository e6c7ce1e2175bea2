"""The storefront's own settings, beside those every process has (`sagas/config.py`)."""

import re
from collections.abc import Mapping

import msgspec

from sagas.errors import SettingsError

ADDRESS = "SAGAS_STOREFRONT_ADDRESS"
ADDRESS_DEFAULT = "127.0.0.1:8000"
RATE_MAX = 1_000_000

_ADDRESS = re.compile(r"\A([A-Za-z0-9.-]{1,253}):([0-9]{1,5})\Z")
_NUMBER = re.compile(r"\A[0-9]{1,7}\Z")


class StorefrontSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`host` and `port`: SAGAS_STOREFRONT_ADDRESS, port 0 for any that is free. RATE_LIMIT_RPS and RATE_LIMIT_BURST."""

    host: str = "127.0.0.1"
    port: int = 8000
    rate_limit_rps: int = 100
    rate_limit_burst: int = 50

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "StorefrontSettings":
        """The settings that `environ` says. Raises SettingsError."""
        address = environ.get(ADDRESS) or ADDRESS_DEFAULT
        found = _ADDRESS.match(address)
        if found is None or int(found[2]) > 65_535:
            raise SettingsError(f"{ADDRESS}={address[:80]!r}: expected host:port, such as {ADDRESS_DEFAULT}")
        return cls(
            host=found[1],
            port=int(found[2]),
            rate_limit_rps=_number(environ, "RATE_LIMIT_RPS", 100),
            rate_limit_burst=_number(environ, "RATE_LIMIT_BURST", 50),
        )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    said = environ.get(name) or str(default)
    if not _NUMBER.match(said) or not 1 <= int(said) <= RATE_MAX:
        raise SettingsError(
            f"{name}={said[:40]!r}: expected a whole number from 1 to {RATE_MAX}; the default is {default}"
        )
    return int(said)
