"""The machine, the table read off it and the edges it was made of say the same."""

import pytest
from transitions import MachineError

from sagas.core.definition import Definition
from sagas.core.instance import ENDS, STUCK
from sagas.core.machine import NEW
from services.orders.saga import order_saga
from tests.core.trip import trip_saga

DEFINITIONS = [order_saga.definition, trip_saga.definition]


class Cursor:
    """What a run is to the machine for the length of one move."""

    def __init__(self, state: str) -> None:
        self.state = state


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_the_table_lists_the_same_moves_as_the_machine_and_the_edges(definition: Definition) -> None:
    from_machine = {
        (transition.source, trigger): transition.dest
        for trigger in definition.machine.events
        for transition in definition.machine.get_transitions(trigger=trigger)
    }
    from_edges = {(edge.source, edge.trigger): edge.dest for edge in definition.edges}
    assert dict(definition.table) == from_machine == from_edges
    assert len(definition.edges) == len(from_edges), "two edges share state and trigger"


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_the_machine_itself_makes_every_move_of_the_table(definition: Definition) -> None:
    for (source, trigger), dest in definition.table.items():
        cursor = Cursor(source)
        assert definition.machine.events[trigger].trigger(cursor)
        assert cursor.state == dest


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_the_machine_refuses_every_move_that_is_not_in_the_table(definition: Definition) -> None:
    for state in definition.machine.states:
        for trigger, event in definition.machine.events.items():
            if (state, trigger) not in definition.table:
                with pytest.raises(MachineError):
                    event.trigger(Cursor(state))


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_every_state_can_be_reached_and_every_state_can_reach_a_rest(definition: Definition) -> None:
    forward: dict[str, set[str]] = {}
    for edge in definition.edges:
        forward.setdefault(edge.source, set()).add(edge.dest)
    reached = _closure(NEW, forward)
    assert reached >= {edge.source for edge in definition.edges}
    for state in reached:
        assert _closure(state, forward) & {*ENDS, STUCK}, f"{state} leads nowhere"


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_nothing_leads_back_from_behind_the_pivot(definition: Definition) -> None:
    retriable = [name for name, step in definition.steps.items() if step.kind == "retriable"]
    for edge in definition.edges:
        if any(edge.source.startswith(f"{name}.") for name in retriable):
            assert not edge.dest.endswith(".undoing")


def _closure(start: str, forward: dict[str, set[str]]) -> set[str]:
    reached, open_states = {start}, [start]
    while open_states:
        for dest in forward.get(open_states.pop(), set()) - reached:
            reached.add(dest)
            open_states.append(dest)
    return reached
