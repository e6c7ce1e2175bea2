"""What must hold, whatever happens: the names of the laws and what each says."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Law = Literal[
    "rest", "pivot", "order", "once", "ledger", "liveness", "wait", "answered", "drawn", "same", "author", "patience"
]

LAWS: Mapping[Law, str] = {
    "rest": "a run ends only where every effect is committed or undone",
    "pivot": "nothing is undone once the pivot is done",
    "order": "a step is undone only after those that came after it",
    "once": "an effect happens once, and is undone once",
    "ledger": "the ledger calls nothing undone or refused that stands",
    "liveness": "every state can reach a rest",
    "wait": "whoever waits sends again: no lost message hangs a run",
    "answered": "every message is answered for, and no honest one is found out of place",
    "drawn": "the machine makes only the moves that are drawn, and has them all",
    "same": "what is sent again says the same under the same id",
    "author": "the saga's own code does not raise",
    "patience": "nobody is given up whose answer is there to be read",
}


class Broken(NamedTuple):
    """A law that was broken, and how; over which step, against which other one, in which state."""

    law: Law
    how: str
    step: str = ""
    other: str = ""
    state: str = ""
    operation: str = "do"
