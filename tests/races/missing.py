"""The races that have no test yet, each with the feature that is missing, or the defect that is known."""

from typing import NamedTuple


class Missing(NamedTuple):
    """A race without a test: what goes wrong in it, and why it cannot be tested."""

    race: str
    why: str


_LOCKS = "locks of the engine's own: what is held is its participant's, who refuses and does not let wait"

MISSING: dict[int, Missing] = {
    69: Missing("the holder of a lock is stuck", _LOCKS),
    70: Missing("two sagas wait for each other's lock", _LOCKS),
    71: Missing("an undo needs a lock that another saga holds", _LOCKS),
}
