"""The barrier's rules: what a participant does with a command, given what it remembers of its operation.

Theory of operation. A participant remembers each operation (instance, step, do or undo) with the answer it
gave. These functions say what follows from that memory and do nothing themselves: the participant kit
(`sagas/runtime/participant.py`) acts by them inside a transaction, and `sagas check` explores every order
of messages by them. So what was checked is what runs.

    meet       a command that can be read
    refuse     one that cannot
    something_to_undo   whether an undo has anything to take back
"""

from typing import Literal, Protocol

from sagas.core.messages import Undeliverable, tag_of

UNDELIVERABLE = tag_of(Undeliverable)
"""The tag of the engine's own refusal."""

Meeting = Literal["carry out", "too late", "forgotten", "answer again", "in progress", "blocked", "other body"]
"""What a command meets.

carry out      it is new: run the handler and remember its answer
too late       it is new and past its deadline: refuse it for good
forgotten      nothing is remembered, and that may be because it is so long ago: whether it was done is not known,
               so say neither that it is done nor that it is not
answer again   it was answered: the same answer, byte for byte
in progress    it was begun and is not answered yet: say so
blocked        a do whose undo came first: no effect and no answer, its saga has turned back
other body     the operation is known, and something else was asked then
"""


class Remembered(Protocol):
    """What is kept of one operation; `answer` is the reply's tag, "" while there is none."""

    @property
    def command_hash(self) -> bytes:
        """Of the command's body, b"" when it was never read."""
        ...

    @property
    def answer(self) -> str:
        """The tag of the reply, "" while there is none."""
        ...

    @property
    def is_blocked(self) -> bool:
        """Whether an undo came first."""
        ...


def meet(known: Remembered | None, body_hash: bytes, *, is_late: bool = False, is_forgotten: bool = False) -> Meeting:
    """What a command with this body meets, `known` being what is remembered of its operation.

    Both only matter if nothing is remembered: `is_late`, it is read after its deadline; `is_forgotten`, its operation
    is so old that what was remembered of it may have been cleaned away.
    """
    if known is None and is_forgotten:
        return "forgotten"
    if known is None:
        return "too late" if is_late else "carry out"
    if known.answer == UNDELIVERABLE:
        # It could be read today, after a repair; but its saga has turned back since it could not.
        return "answer again"
    if known.is_blocked:
        return "blocked"
    if known.command_hash != body_hash:
        return "other body"
    return "answer again" if known.answer else "in progress"


Refusal = Literal["refuse", "answer again", "keep silent"]
"""What a command that cannot be read meets: the engine's refusal, the same once more, or nothing."""


def refuse(known: Remembered | None, *, is_forgotten: bool = False) -> Refusal:
    """What to say of a command that cannot be read; `is_forgotten`: it is a do that may have been carried out once."""
    if known is None:
        return "keep silent" if is_forgotten else "refuse"
    # Carried out, in progress or blocked already: what cannot be read changes nothing about that.
    return "answer again" if known.answer == UNDELIVERABLE else "keep silent"


Undoing = Literal["block the do", "take back what is in progress", "nothing", "take back"]
"""What an undo does about its do.

block the do                    it was never seen: nothing to undo, and it must not be carried out any more
take back what is in progress   it was begun: the handler takes it back, and its answer is not given any more
nothing                         it was refused: nothing remains of it
take back                       it was done: the handler takes it back
"""


def something_to_undo(do: Remembered | None, is_refused: bool) -> Undoing:
    """What an undo does, `do` being what is remembered of its do and `is_refused` whether its answer was a rejection.

    Was, when it was given: what is called one may be another in the participant's next release.
    """
    if do is None:
        return "block the do"
    if not do.answer:
        return "take back what is in progress"
    return "nothing" if is_refused else "take back"
