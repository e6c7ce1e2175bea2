"""The races that have no test yet, each with the feature that is missing, or the defect that is known."""

from typing import NamedTuple


class Missing(NamedTuple):
    """A race without a test: what goes wrong in it, and why it cannot be tested."""

    race: str
    why: str


_VERSIONS = "versions side by side"
_EPOCHS = "epochs of databases in replies"
_HANDSHAKE = "a handshake of the commands that are understood"
_LOCKS = "semantic locks"

MISSING: dict[int, Missing] = {
    6: Missing(
        "a node meets a version it has not loaded", f"{_VERSIONS}: it is left alone, see tests/runtime/test_versions.py"
    ),
    54: Missing("a command is sent before anybody understands it", f"{_HANDSHAKE}; today the saga turns back"),
    55: Missing("a participant goes back to code without the undo handler", _HANDSHAKE),
    56: Missing("a participant's database comes back from a backup", _EPOCHS),
    67: Missing("another saga uses what is later taken back", _LOCKS),
    69: Missing("the holder of a lock is stuck", _LOCKS),
    70: Missing("two sagas wait for each other's lock", _LOCKS),
    71: Missing("an undo needs a lock that another saga holds", _LOCKS),
    72: Missing("an unlock is lost, comes twice or first", _LOCKS),
    80: Missing("a new definition lacks the state of a live run", _VERSIONS),
    82: Missing(
        "an old node reads a run of a newer version",
        f"{_VERSIONS}: it is left alone, see tests/runtime/test_versions.py",
    ),
}
