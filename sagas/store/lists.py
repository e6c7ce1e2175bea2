"""Statements for lists of any length, in few lengths: so that each is prepared once and found again.

Theory of operation. A query over a list is sent with the next of `IN_LIST_SIZES` places, filled with what is in the
list already. Rows are inserted many at a time, the rest one by one: a statement for one row opens and closes its
tables anew for each, a fifth of the work of a batch's rows (instructions counted). For UPDATE and DELETE there is no
such form that would be less work: those for many rows by a list of values were more.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, TypeVar

IN_LIST_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 500)
"""Lengths of the IN lists that are sent."""

INSERTED_SIZES: Final = (64, 32, 16, 8)
"""How many rows a statement inserts; less than the last are inserted one by one. 704 parameters at the most."""

T = TypeVar("T")

_ROW: Final = re.compile(r"(?<=VALUES )\([^()]*\)")


@lru_cache(maxsize=256)
def over_list(sql: Callable[[str], str], size: int) -> str:
    """The query over a list of `size`: the same object each time, so that the driver finds it without comparing."""
    return sql(",".join("?" * size))


def in_parts(values: list[T]) -> Iterator[list[T]]:
    """The values in parts of such lengths; the last one is filled with a value of its own, which changes no answer."""
    for start in range(0, len(values), IN_LIST_SIZES[-1]):
        part = values[start : start + IN_LIST_SIZES[-1]]
        size = next(size for size in IN_LIST_SIZES if size >= len(part))
        yield part + part[-1:] * (size - len(part))


@lru_cache(maxsize=256)
def over_rows(sql: str, size: int) -> str:
    """The INSERT of one row, `… VALUES (?, …)`, for `size` rows. Raises ValueError for another statement."""
    found = _ROW.search(sql)
    if found is None:
        raise ValueError(f"no row of VALUES (…) in {sql!r}")
    return sql[: found.end()] + f", {found[0]}" * (size - 1) + sql[found.end() :]
