"""A saga as a drawing: a Mermaid `stateDiagram-v2` of the moves its definition has.

Drawn from `Definition.edges`, which the machine is made of, so a drawing cannot show a move that the
engine would not make. Mermaid draws every arrow of such a diagram alike, so what kind of move it is
stands in its label in words, and what kind of state it is shows in its border: nothing is said by
colour alone. Names of states are made here and end in the phase, so that no step called `end` or
`state` meets a word of Mermaid's; whatever is not a plain character of a label becomes an entity.
"""

from collections.abc import Iterable, Mapping

from sagas.core.definition import Definition
from sagas.core.instance import ABANDONED, ENDS, STUCK
from sagas.core.machine import NEW, Edge, EdgeKind, Phase

_PREFIX: Mapping[EdgeKind, str] = {
    "forward": "",
    "refuse": "refused · ",
    "undo": "back · ",
    "resolve": "unknown · ",
    "stuck": "stuck · ",
    "undeliverable": "unreadable · ",
    "late": "late · ",
    "operator": "by hand · ",
}

_PHASE_WORDS: Mapping[Phase, str] = {
    "pending": "",
    "resolving": "asking about ",
    "undoing": "undoing ",
    "reverting": "another way, undoing ",
    "sweeping": "sweeping out ",
    "waiting": "waiting for ",
    "delaying": "pausing ",
    "deciding": "deciding ",
}

# Mermaid cuts a label at these, or reads them as its own; `#59;` is its way of writing the character.
_PLAIN = frozenset(" .,_-·")

_STYLES = (
    "classDef pending stroke-width:2px",
    "classDef resolving stroke-width:2px,stroke-dasharray:2 3",
    "classDef undoing stroke-width:2px,stroke-dasharray:8 4",
    "classDef ended stroke-width:4px",
    "classDef stuck stroke-width:4px,stroke-dasharray:8 4",
)


def mermaid(definition: Definition, *, with_late: bool = False, with_operator: bool = False) -> str:
    """The drawing as Mermaid text, ending in a newline.

    `with_late` adds the moves of successes that arrive although their step was refused, and of commands that
    no participant could read: rare, and from nearly everywhere. `with_operator` adds what a person can do.
    """
    wanted = (("late", with_late), ("undeliverable", with_late), ("operator", with_operator))
    hidden = {kind for kind, is_wanted in wanted if not is_wanted}
    edges = [edge for edge in definition.edges if edge.kind not in hidden]
    states = list(dict.fromkeys(state for edge in edges for state in (edge.source, edge.dest) if state != NEW))
    lines = [
        f"%% saga {definition.name}, version {definition.version}: generated from its definition, do not edit",
        "stateDiagram-v2",
        *(f'    state "{_label(_state_words(definition, state))}" as {_name(state)}' for state in states),
        *(f"    {line}" for line in _arrows(definition, edges)),
        *(f"    {_name(state)} --> [*]" for state in states if state in ENDS and state != ABANDONED),
        *(f"    {style}" for style in _STYLES),
        *(f"    class {_name(state)} {_class_of(definition, state)}" for state in states),
    ]
    return "\n".join(lines) + "\n"


def _arrows(definition: Definition, edges: Iterable[Edge]) -> Iterable[str]:
    # Moves of one kind between the same two states share an arrow: three parallel ones only hide the rest.
    joined: dict[tuple[str, str, EdgeKind], list[str]] = {}
    for edge in edges:
        joined.setdefault((edge.source, edge.dest, edge.kind), []).append(_trigger_words(definition, edge))
    for (source, dest, kind), triggers in joined.items():
        start = "[*]" if source == NEW else _name(source)
        yield f"{start} --> {_name(dest)} : {_label(_PREFIX[kind] + ', '.join(triggers))}"


def _trigger_words(definition: Definition, edge: Edge) -> str:
    place = definition.places.get(edge.source)
    # The source says which step it is about; from `stuck` and the ends it has to be said.
    return edge.trigger.removeprefix(f"{place.step}.") if place is not None else edge.trigger


def _state_words(definition: Definition, state: str) -> str:
    place = definition.places.get(state)
    return state if place is None else f"{_PHASE_WORDS[place.phase]}{place.step}"


def _class_of(definition: Definition, state: str) -> str:
    place = definition.places.get(state)
    if place is not None:
        return place.phase
    return "stuck" if state == STUCK else "ended"


def _name(state: str) -> str:
    return state.replace(".", "__")


def _label(text: str) -> str:
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)
