"""What the client's errors mean. It raises `RuntimeError` with a text and nothing else.

The texts come from Iggy's one list of errors. Names and numbers in them are blank or 0, since only the
error's number travels; so they are told apart by the words that do not vary:

    the connection, or an outcome nobody knows   Disconnected · Cannot establish connection · Not connected ·
                                                 Connection closed · Client shutdown · Stale client · TCP error ·
                                                 Unauthenticated · Request transiently not ... · Request already applied
    it exists                                    ... already exists
    it does not                                  ... was not found   (also: a commit for another's partition)
    we are in no group                           Consumer group member ...
    a commit past the end of the log             Invalid offset
    an option the server is too old for          Unsupported option key

`Unauthenticated` counts as a lost connection: a session dies with its server, and the login is
repeated on a fresh connection. A login that is refused reads `Invalid credentials`, which is a refusal.
"""

from enum import Enum

from sagas.errors import BrokerError, BrokerUnavailable


class Refusal(Enum):
    """Why the broker refused, as far as the adapter can do something about it."""

    EXISTS = "exists"
    NOT_FOUND = "not found"
    NOT_A_MEMBER = "not a member"
    INVALID_OFFSET = "invalid offset"
    UNSUPPORTED_OPTION = "unsupported option"
    UNKNOWN_REQUEST = "unknown request"
    OTHER = "other"


class Refused(BrokerError):
    """The broker refused a call; `refusal` says why where that is known."""

    def __init__(self, call: str, text: str, refusal: Refusal = Refusal.OTHER) -> None:
        self.refusal = refusal
        super().__init__(f"{call}: {text}")


_UNAVAILABLE = (
    "Disconnected",
    "Cannot establish connection",
    "Not connected",
    "Connection closed",
    "Client shutdown",
    "Stale client",
    "TCP error",
    "Unauthenticated",
    "Request transiently not",
    "Request already applied",
)

# In this order: a member that is not found is first of all not a member.
_REFUSALS = (
    ("Consumer group member", Refusal.NOT_A_MEMBER),
    ("already exists", Refusal.EXISTS),
    ("was not found", Refusal.NOT_FOUND),
    ("Invalid offset", Refusal.INVALID_OFFSET),
    ("Unsupported option key", Refusal.UNSUPPORTED_OPTION),
    ("Invalid command", Refusal.UNKNOWN_REQUEST),
)


def classify(call: str, text: str) -> BrokerError:
    """What to raise for an error of the client that reads `text`; `call` names what was asked, without secrets."""
    if text.startswith(_UNAVAILABLE):
        return BrokerUnavailable(f"{call}: {text}")
    for words, refusal in _REFUSALS:
        if words in text:
            return Refused(call, text, refusal)
    return Refused(call, text)


_STATUSES = {
    3: Refusal.UNKNOWN_REQUEST,
    20: Refusal.NOT_FOUND,
    4100: Refusal.INVALID_OFFSET,
    5006: Refusal.NOT_A_MEMBER,
}


def refused_by_status(call: str, status: int) -> Refused:
    """The refusal of a part of a request, of which only the number is known."""
    return Refused(call, f"status {status}", _STATUSES.get(status, Refusal.OTHER))
