"""What a person can do about a stuck instance: the commands that would be taken now, and where each leads.

Each is asked of the very function that would decide it, so what is listed is what would be done.
"""

from collections.abc import Iterator, Mapping

import msgspec

from sagas.core.definition import Definition
from sagas.core.durations import overdue
from sagas.core.effects import Action, Operate, Send, deadline_passed_ms
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.core.messages import tag_of

_COMMANDS: Mapping[Action, str] = {
    "retry": "sagas retry {}",
    "resolve-done": "sagas resolve {} --as done --reason TEXT",
    "resolve-undone": "sagas resolve {} --as undone --reason TEXT",
    "abandon": "sagas abandon {} --reason TEXT",
}


class ExitShape(msgspec.Struct, frozen=True, kw_only=True):
    """A command that leads out of `stuck`: to which state, "" when its saga is not at hand, and what it sends.

    `deadline_passed_ms`: how long ago the deadline passed that will turn the run back at once then; 0: none will.
    """

    command: str
    leads_to: str
    sends: list[str]
    deadline_passed_ms: int = 0

    def __str__(self) -> str:
        sends = f", sends {', '.join(self.sends)}" if self.sends else ""
        late = f"; {overdue(self.deadline_passed_ms)}" if self.deadline_passed_ms else ""
        return f"{self.command}   → {self.leads_to}{sends}{late}" if self.leads_to else self.command


def exits(instance: Instance, definition: Definition | None, now_ms: int, *, with_saga: bool) -> list[ExitShape]:
    """The ways out of a stuck instance, [] for any other. `with_saga`: the commands have to say of which saga.

    None leads out of a damaged one: what its reason says has to be done first.
    """
    has_exits = instance.is_stuck and not instance.is_damaged
    return list(_exits(instance, definition, now_ms, with_saga)) if has_exits else []


def _exits(instance: Instance, definition: Definition | None, now_ms: int, with_saga: bool) -> Iterator[ExitShape]:
    subject = f"{instance.key} --saga {instance.saga}" if with_saga else instance.key
    for action, words in _COMMANDS.items():
        command = words.format(subject)
        if definition is None:
            yield ExitShape(command=command, leads_to="", sends=[])
            continue
        message = Operate(action=action, who="", reason="", revision=instance.revision)
        decision = decide(definition, instance, message, now_ms)
        if decision.verdict == "advance" and decision.instance is not None:
            sends = [tag_of(type(e.command)) for e in decision.effects if isinstance(e, Send)]
            yield ExitShape(
                command=command,
                leads_to=decision.instance.state,
                sends=sends,
                deadline_passed_ms=deadline_passed_ms(decision, now_ms),
            )
