"""What a run of an earlier version has under other names: its state, its steps, and the input that is for them."""

from collections.abc import Iterable, Mapping

import msgspec

from sagas.core.effects import Fire, Input, Reply
from sagas.core.instance import ITEM_MARK, Instance, leaf_of


def marks_of(state: str) -> list[tuple[str, str]]:
    """The steps a state is about, each with its phase: `pay.pending`, or `pay.pending|pack.undoing` with lanes."""
    return [(step, phase) for part in state.split("|") for step, _, phase in [part.partition(".")] if phase]


def renamed_state(state: str, renames: Mapping[str, str], states: Iterable[str]) -> str | None:
    """What `state` is called among `states`, None when it is none of them."""
    marks = marks_of(state)
    wanted = frozenset((renames.get(step, step), phase) for step, phase in marks)
    if not marks:
        return state if state in states else None
    return next((known for known in states if frozenset(marks_of(known)) == wanted), None)


def renamed(renames: Mapping[str, str], name: str, mark: str = ITEM_MARK) -> str:
    """What the step, or the item of one, that was called `name` is called now; `mark` ends the step's own name."""
    leaf = name.partition(mark)[0]
    return f"{renames[leaf]}{name[len(leaf) :]}" if leaf in renames else name


def renamed_leaves(instance: Instance, renames: Mapping[str, str]) -> list[str]:
    """Those of its steps, waits, delays and decisions that have another name now."""
    return [leaf for leaf in _leaves(instance) if leaf in renames]


def merged_leaves(instance: Instance, renames: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Those of its leaves that would have one name between them: (one, another, the name)."""
    found: dict[str, str] = {}
    pairs = [(found.setdefault(renames.get(leaf, leaf), leaf), leaf) for leaf in _leaves(instance)]
    return [(first, leaf, renames.get(leaf, leaf)) for first, leaf in pairs if first != leaf]


def _leaves(instance: Instance) -> list[str]:
    """Its steps, waits, delays and decisions: those it has come by, then those it is at, or has a signal for."""
    where = (name for state in (instance.state, instance.stuck_from) for name, _ in marks_of(state))
    been = (*(leaf_of(record.name) for record in instance.steps), *(leaf for leaf, _ in instance.marks))
    return list(dict.fromkeys((*been, *where, *(signal[0] for signal in instance.signals))))


def renamed_input(renames: Mapping[str, str], message: Input) -> Input:
    """The input with the step's name of today: answers and timers keep the name their step had when it was sent."""
    if isinstance(message, Reply | Fire):
        name = renamed(renames, message.step)
        return msgspec.structs.replace(message, step=name) if name != message.step else message
    return message
