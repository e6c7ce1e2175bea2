"""What of the settings (`sagas/config.py`) is the storefront's own."""

from collections.abc import Mapping

import msgspec

from sagas.config import Settings


class StorefrontSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`host` and `port`: SAGAS_STOREFRONT_ADDRESS, port 0 for any that is free. RATE_LIMIT_RPS and RATE_LIMIT_BURST."""

    host: str = "127.0.0.1"
    port: int = 8000
    rate_limit_rps: int = 100
    rate_limit_burst: int = 50

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "StorefrontSettings":
        """The settings that `environ` says. Raises SettingsError."""
        settings = Settings.from_environ(environ)
        host, _, port = settings.storefront_address.rpartition(":")
        return cls(
            host=host,
            port=int(port),
            rate_limit_rps=settings.rate_limit_rps,
            rate_limit_burst=settings.rate_limit_burst,
        )
