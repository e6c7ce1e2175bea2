"""The state machine of a saga: its edges, the `transitions.Machine` made of them, and the table read off it.

Theory of operation. A state is where a run stands (`sagas/core/course.py`): `s.pending` (the command of step *s* is
out), `s.resolving` (the answer did not come; asking), `s.undoing` (the undo is out), and with branches one such
place for each of them, `a.pending|b.undoing`. The machine is flat: every marking that can be reached is a state of
its own, and every legal move is listed. The ends are `completed`, `compensated`, `rejected` and `abandoned`;
`stuck` waits for a person. Triggers are the domain's words: `reserve.InventoryReserved`, `reserve.timeout`.

The machine is the authority on what is legal and never *does* anything: no model, no callbacks. At
run time its moves are read from `Table`, a dict made from the machine's own transitions once (0.13 µs
a move against 7.4 µs through `Machine`, measured); a test lists both and compares them.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from transitions import Machine

from sagas.core.course import Phase as Phase
from sagas.core.course import Place as Place
from sagas.core.instance import ENDS, STUCK
from sagas.core.messages import Undeliverable

UNDELIVERABLE = Undeliverable.__name__
"""The part of a trigger behind its step that says: the participant could not read the command."""

UNDO_UNDELIVERABLE = "undo-Undeliverable"
"""The same of the step's undo."""

NEW = "new"
"""The state before the first command; no stored instance is ever in it."""

EdgeKind = Literal["forward", "refuse", "undo", "resolve", "stuck", "undeliverable", "late", "operator"]

Table = Mapping[tuple[str, str], str]
"""(state, trigger) → state."""


class Edge(NamedTuple):
    """One legal move."""

    trigger: str
    source: str
    dest: str
    kind: EdgeKind


def machine_of(name: str, edges: Sequence[Edge]) -> Machine:
    """The `transitions` machine with exactly these edges. It has no model: an instance is not an object of it."""
    states = list(dict.fromkeys([NEW, *(s for e in edges for s in (e.source, e.dest)), *ENDS, STUCK]))
    return Machine(
        model=None,
        name=name,
        states=states,
        initial=NEW,
        transitions=[{"trigger": e.trigger, "source": e.source, "dest": e.dest} for e in edges],
        auto_transitions=False,
        send_event=True,
        queued=False,
        ignore_invalid_triggers=False,
    )


def table_of(machine: Machine) -> dict[tuple[str, str], str]:
    """The moves of `machine`, read from its own transitions."""
    return {
        (t.source, trigger): t.dest
        for trigger in machine.events
        for t in machine.get_transitions(trigger=trigger)
        if isinstance(t.dest, str)
    }


def places_of(lanes: Mapping[str, tuple[Place, ...]]) -> dict[str, Place]:
    """What the states of one place only mean."""
    return {state: places[0] for state, places in lanes.items() if len(places) == 1}
