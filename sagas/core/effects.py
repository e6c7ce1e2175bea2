"""What goes into a decision and what comes out of it, as data.

`decide` is given one `Input` and answers with a `Decision`; a shell carries the effects out.
"""

from typing import Literal

import msgspec

from sagas.core.instance import Instance, Operation
from sagas.core.messages import Command, Event

Verdict = Literal["advance", "duplicate", "late", "early", "violation"]
"""How a message stood to the instance.

advance     it was the one awaited, and the instance moved or noted it
duplicate   it said what is known already
late        the instance had moved on; what it says is entered in the ledger
early       it answers something that was not asked yet: to be parked
violation   it contradicts what is known, or no such step or reply exists
"""

TimerKind = Literal["resend", "timeout", "retry", "deadline", "absent", "over"]


class Start(msgspec.Struct, frozen=True, kw_only=True, tag="start"):
    """Begin a run for the business key `key`; `data` is the saga's own data as JSON."""

    key: str
    data: bytes


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag="reply"):
    """A participant's answer to one operation of one step; `data` is the reply's JSON without the key.

    `attempt` is the sending it answers, 0 when it does not say: a definite answer is to all of them.
    """

    step: str
    operation: Operation
    event_type: str
    data: bytes
    attempt: int = 0


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag="signal"):
    """An event from outside with the run's business key, which a wait may take; `data` is its JSON without the key.

    `topic` is where it came; "" where an older release wrote it down, and then any wait for such an event takes it.
    """

    event_type: str
    data: bytes
    topic: str = ""


class Fire(msgspec.Struct, frozen=True, kw_only=True, tag="fire"):
    """A timer came due. It counts only if the (step, operation, attempt) it was set for still stands."""

    kind: TimerKind
    step: str = ""
    operation: Operation = "do"
    attempt: int = 0


Action = Literal["retry", "resolve-done", "resolve-undone", "cancel", "abandon"]
"""What a person may do with an instance.

retry            stuck: send the command, or the undo, again
resolve-done     stuck over a command: it was carried out after all, go on without its answer
resolve-undone   stuck: nothing of the step remains, turn back past it
cancel           before the pivot: turn back
abandon          leave it as it is, for ever, whatever is open
"""


class Operate(msgspec.Struct, frozen=True, kw_only=True, tag="operate"):
    """A person's word. It counts only for the instance as that person saw it, at `revision`."""

    action: Action
    who: str
    reason: str
    revision: int


class CarryOver(msgspec.Struct, frozen=True, kw_only=True, tag="carry-over"):
    """Go on under the definition that decides this, from the version it was under: `carrying.py`."""

    from_version: int
    from_content: str


Input = Start | Reply | Signal | Fire | Operate | CarryOver


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Send `command` to a participant's topic under `id`, which is the same for every attempt.

    `body` is what it says, as JSON without the business key: the author's code built it, so it is encoded where that
    may fail and no later.
    `sent_as` is the name its participant knows the step by: `step`, or what an earlier version called it.
    A participant that reads it after `deadline_ms` refuses it; 0: it is never too late. `since_ms` is when the step's
    command was first sent; 0: now, or that is not known.
    """

    id: str
    topic: str
    step: str
    sent_as: str
    operation: Operation
    attempt: int
    command: Command[Event]
    body: bytes
    deadline_ms: int = 0
    since_ms: int = 0


class SetTimer(msgspec.Struct, frozen=True, kw_only=True):
    """Set the instance's timer `name`, replacing an earlier one of that name."""

    name: str
    due_ms: int
    fire: Fire


class ClearTimer(msgspec.Struct, frozen=True, kw_only=True):
    """Remove the instance's timer `name` if it is set."""

    name: str


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the state machine that was taken."""

    trigger: str
    source: str
    dest: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one input: the instance after it, what to do, and how the input stood to it.

    `instance` is None only when there was none and the input did not start one.
    """

    instance: Instance | None
    verdict: Verdict
    effects: tuple[Send | SetTimer | ClearTimer, ...] = ()
    moves: tuple[Move, ...] = ()
    note: str = ""


def deadline_passed_ms(decision: Decision, now_ms: int) -> int:
    """How long ago the deadline passed that `decision` lets count again: the run is turned back at once; 0: none is."""
    for effect in decision.effects:
        if isinstance(effect, SetTimer) and effect.fire.kind == "deadline" and effect.due_ms <= now_ms:
            return max(1, now_ms - effect.due_ms)
    return 0
