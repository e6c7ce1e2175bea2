"""One short content hash for all purposes: equality of bodies, never security."""

from hashlib import blake2b


def short_hash(data: bytes) -> bytes:
    """16 bytes of BLAKE2b over `data`."""
    return blake2b(data, digest_size=16).digest()
