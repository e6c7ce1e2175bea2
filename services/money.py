"""Exact money: integer minor units inside, a decimal string on the wire."""

from decimal import Decimal
from typing import Annotated

from msgspec import Meta

Amount = Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?\Z", max_length=15)]
"""An amount as it travels: "59.98". Never negative, never an exponent, at most 999,999,999,999.99."""


Currency = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z", max_length=3)]
"""A currency as ISO 4217 writes it: "USD"."""


def to_cents(amount: str) -> int:
    """ "59.98" → 5998. Expects what `Amount` lets through."""
    whole, _, fraction = amount.partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0"))


def to_amount(cents: int) -> str:
    """5998 → "59.98". Raises ValueError for a negative number."""
    if cents < 0:
        raise ValueError(f"an amount is never negative, this one is {cents} cents")
    return f"{cents // 100}.{cents % 100:02}"


def exact_amount(number: object) -> str:
    """59.98 → "59.98": the amount that whoever wrote a JSON number meant.

    The shortest decimal that is this float is what was written, so nothing is rounded here: a number that is
    no whole cents was calculated and not written. Raises ValueError for one, and for what is no number.
    """
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"expected a number, got {number!r:.40}")  # noqa: TRY004 - a value, told in the dead letter
    exact = Decimal(repr(number))
    cents = exact * 100
    if not exact.is_finite() or abs(exact.adjusted()) > 20 or cents != int(cents):
        raise ValueError(f"{number!r:.40} is no whole number of cents")
    return to_amount(int(cents))
