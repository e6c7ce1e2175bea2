"""Exact money: integer minor units inside, a decimal string on the wire."""

from typing import Annotated

from msgspec import Meta

Amount = Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?\Z", max_length=15)]
"""An amount as it travels: "59.98". Never negative, never an exponent, at most 999,999,999,999.99."""


def to_cents(amount: str) -> int:
    """ "59.98" → 5998. Expects what `Amount` lets through."""
    whole, _, fraction = amount.partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0"))


def to_amount(cents: int) -> str:
    """5998 → "59.98". Raises ValueError for a negative number."""
    if cents < 0:
        raise ValueError(f"an amount is never negative, this one is {cents} cents")
    return f"{cents // 100}.{cents % 100:02}"
