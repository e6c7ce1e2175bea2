"""What can happen to an instance in the search, and what it led to."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from sagas.check.laws import Broken
from sagas.core.effects import Action, TimerKind, Verdict
from sagas.core.instance import Operation
from sagas.core.messages import Event, Fault, InProgress, Undeliverable, tag_of

ENGINE_REPLIES: Final[Mapping[str, type[Event]]] = {
    tag_of(reply): reply for reply in (Fault, InProgress, Undeliverable)
}


class Answer(NamedTuple):
    """A reply on its way to the instance: to which operation of which step, and its tag."""

    step: str
    operation: Operation
    tag: str


class Fired(NamedTuple):
    """The timer of this name comes due, as one of this kind."""

    timer: str
    kind: TimerKind


class Acted(NamedTuple):
    """A person does this."""

    action: Action


class Signalled(NamedTuple):
    """An event from outside, which a wait may take, by its tag, and the topic it comes on."""

    tag: str
    topic: str


OrchestratorEvent = Answer | Fired | Acted | Signalled

Time = Literal["soon", "late"]


class Turned(NamedTuple):
    """What an event led to: the node after it, when it was decided, and which law it broke."""

    node: int
    time: Time
    verdict: Verdict
    moves: tuple[tuple[str, str, str], ...]
    sent: tuple[tuple[str, Operation], ...]
    broken: Broken | None = None
    is_crash: bool = False
    choices: tuple[bool, ...] = ()
