"""What of the settings (`sagas/config.py`) is the storefront's own."""

import msgspec

from sagas.config import Settings


class StorefrontSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`host` and `port`: SAGAS_STOREFRONT_ADDRESS, port 0 for any that is free. RATE_LIMIT_RPS and RATE_LIMIT_BURST."""

    host: str = "127.0.0.1"
    port: int = 8000
    rate_limit_rps: int = 100
    rate_limit_burst: int = 50

    @classmethod
    def of(cls, settings: Settings) -> "StorefrontSettings":
        """The storefront's part of the settings, wherever they were said."""
        host, _, port = settings.storefront_address.rpartition(":")
        return cls(
            host=host,
            port=int(port),
            rate_limit_rps=settings.rate_limit_rps,
            rate_limit_burst=settings.rate_limit_burst,
        )
