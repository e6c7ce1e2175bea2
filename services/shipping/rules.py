"""What can be delivered. Pure: the address alone decides, so every story can be repeated."""

from hashlib import blake2b

UNREACHABLE = "nowhere"
"""An address that begins so is refused."""


def can_deliver(address: str) -> bool:
    """Whether a parcel can be brought to `address`."""
    return not address.lower().startswith(UNREACHABLE)


def tracking(order_id: str) -> str:
    """The tracking number of the order's parcel: the same for ever, and within the length of a key."""
    return f"track-{blake2b(order_id.encode(), digest_size=12).hexdigest()}"
