"""A saga as a drawing: its machine as a Mermaid flowchart, and on it where one instance is and was.

Drawn from `Definition.edges`, which the machine is made of, so a drawing cannot show a move that the
engine would not make. What kind of move an arrow is shows in its line (thick, thin, dashed in five ways) and stands
before its label in words; what kind of state a box is shows in its shape: nothing is said by colour alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from sagas.core.definition import Definition
from sagas.core.instance import ENDS, STUCK, Instance
from sagas.core.machine import NEW, Edge
from sagas.core.mermaid import label, node
from sagas.core.outcomes import ANSWERED, DONE, LIST_REFUSED, PARTLY_REFUSED, REFUSED, WAY_FAILED
from sagas.core.renaming import marks_of

_PREFIX: Mapping[str, str] = {
    "forward": "",
    "refuse": "refused · ",
    "undo": "back · ",
    "resolve": "unknown · ",
    "stuck": "stuck · ",
    "undeliverable": "unreadable · ",
    "late": "late · ",
    "operator": "by hand · ",
}

_LINES: Mapping[str, str] = {
    "forward": "stroke-width:3px",
    "refuse": "stroke-width:1px",
    "undo": "stroke-width:2px,stroke-dasharray:9 5",
    "resolve": "stroke-width:2px,stroke-dasharray:2 4",
    "stuck": "stroke-width:2px,stroke-dasharray:12 4 2 4",
    "undeliverable": "stroke-width:1px,stroke-dasharray:12 4 2 4",
    "late": "stroke-width:1px,stroke-dasharray:1 5",
    "operator": "stroke-width:1px,stroke-dasharray:5 3",
}
_PLAIN_LINE = "stroke-width:1px"
_TRAVELLED = "stroke:#000,stroke-width:5px"

_PHASE_WORDS: Mapping[str, str] = {
    "pending": "",
    "resolving": "asking about ",
    "undoing": "undoing ",
    "reverting": "another way, undoing ",
    "sweeping": "sweeping out ",
    "waiting": "waiting for ",
    "delaying": "pausing ",
    "deciding": "deciding ",
}

_SHAPES: Mapping[str, tuple[str, str]] = {
    "begin": ("((", "))"),
    "pending": ("[", "]"),
    "resolving": ("{{", "}}"),
    "undoing": ("[[", "]]"),
    "waiting": ("[/", "/]"),
    "ended": ("([", "])"),
    "stuck": ("(((", ")))"),
}

_STYLES = (
    "classDef pending fill:#fff,stroke:#333,stroke-width:2px,color:#000",
    "classDef resolving fill:#fff,stroke:#333,stroke-width:2px,stroke-dasharray:2 4,color:#000",
    "classDef undoing fill:#fff,stroke:#333,stroke-width:2px,stroke-dasharray:9 5,color:#000",
    "classDef waiting fill:#fff,stroke:#333,stroke-width:2px,color:#000",
    "classDef begin fill:#333,stroke:#333,color:#fff",
    "classDef ended fill:#eee,stroke:#333,stroke-width:4px,color:#000",
    "classDef stuck fill:#eee,stroke:#333,stroke-width:3px,color:#000",
    "classDef been fill:#cfe3f7,stroke:#000,stroke-width:3px,color:#000",
    "classDef here fill:#ffe08a,stroke:#000,stroke-width:6px,color:#000",
)


class Row(Protocol):
    """What is read of a journal row."""

    @property
    def triggers(self) -> tuple[str, ...]:
        """The moves that were made."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """The states gone through, the first being where it stood."""
        ...


def progress_of(instance: Instance, rows: Iterable[Row]) -> "Progress":
    """The progress of an instance, read from its journal."""
    why = instance.reason or instance.cause
    return Progress(
        title=f"{instance.saga} {instance.key} · {instance.state}" + (f" · {why}" if why else ""),
        state=instance.state,
        moves=[(row.path[n], trigger, row.path[n + 1]) for row in rows for n, trigger in enumerate(row.triggers)],
    )


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where one instance is and was: `title` names it, `moves` are those of its journal: (state, trigger, state)."""

    title: str
    state: str
    moves: Sequence[tuple[str, str, str]] = ()


def mermaid(
    definition: Definition,
    *,
    with_late: bool = False,
    with_operator: bool = False,
    progress: Progress | None = None,
) -> str:
    """The drawing as Mermaid text, ending in a newline.

    `with_late` adds what is rare and leads from nearly everywhere: successes that arrive although their step was
    refused, commands that no participant could read, functions of the saga that raise, ways that had failed before
    their run was stuck. `with_operator` adds what a
    person can do. Moves that the instance of `progress` has made are drawn whatever they are.
    """
    moves = Counter(progress.moves if progress is not None else ())
    hidden = {*(() if with_late else ("late", "undeliverable")), *(() if with_operator else ("operator",))}
    edges = [
        edge
        for edge in definition.edges
        if edge[:3] in _made(moves) or (edge.kind not in hidden and (with_late or not _is_rare(edge)))
    ]
    states = list(dict.fromkeys(state for edge in edges for state in (edge.source, edge.dest)))
    been = Counter(dest for _, _, dest in moves.elements())
    arrows = _joined(edges)
    travelled = {arrow for arrow, joined in arrows.items() if any(edge[:3] in _made(moves) for edge in joined)}
    lines = [
        f"%% saga {definition.name}, version {definition.version}: generated from its definition, do not edit",
        "flowchart TD",
        *([f'    {node("the title")}["{label(progress.title)}"]'] if progress else []),
        *(f"    {_box(state, _words(definition, state, progress, been))}" for state in states),
        *(f"    {_arrow(definition, arrow, triggers)}" for arrow, triggers in arrows.items()),
        *(f"    {line}" for line in _line_styles(list(arrows), travelled)),
        *(f"    {style}" for style in _STYLES),
        *(f"    class {node(state)} {_class_of(state, progress, been)}" for state in states),
    ]
    return "\n".join(lines) + "\n"


def _made(moves: Iterable[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """The moves as an edge begins: trigger, source, dest."""
    return {(trigger, source, dest) for source, trigger, dest in moves}


def _is_rare(edge: Edge) -> bool:
    return edge.trigger.endswith((".broken", f".{WAY_FAILED}"))


_Arrow = tuple[str, str, str]


def _joined(edges: Iterable[Edge]) -> dict[_Arrow, list[Edge]]:
    # Moves of one kind between the same two states share an arrow: three parallel ones only hide the rest.
    joined: dict[_Arrow, list[Edge]] = {}
    for edge in edges:
        joined.setdefault((edge.source, edge.dest, edge.kind), []).append(edge)
    return joined


def _arrow(definition: Definition, arrow: _Arrow, edges: Sequence[Edge]) -> str:
    source, dest, kind = arrow
    words = ", ".join(_trigger_words(definition, edge) for edge in edges)
    return f'{node(source)} -->|"{label(_PREFIX.get(kind, "") + words)}"| {node(dest)}'


def _line_styles(arrows: Sequence[_Arrow], travelled: set[_Arrow]) -> Iterable[str]:
    by_line: dict[str, list[str]] = {}
    for number, arrow in enumerate(arrows):
        line = _LINES.get(arrow[2], _PLAIN_LINE)
        if arrow in travelled:
            line = f"{_TRAVELLED},{line.partition(',')[2]}".rstrip(",")
        by_line.setdefault(line, []).append(str(number))
    for line, numbers in by_line.items():
        yield f"linkStyle {','.join(numbers)} {line}"


_ITEM_WORDS: Mapping[str, str] = {
    DONE: "every item done",
    REFUSED: "an item, nothing remains",
    PARTLY_REFUSED: "an item, others remain",
    LIST_REFUSED: "the list",
    ANSWERED: "an item answered",
}


def _trigger_words(definition: Definition, edge: Edge) -> str:
    marks = marks_of(edge.source)
    leaf, _, word = edge.trigger.partition(".")
    spec = definition.steps.get(leaf)
    if spec is not None and spec.each is not None and word in _ITEM_WORDS:
        return _ITEM_WORDS[word] if len(marks) == 1 else f"{leaf}: {_ITEM_WORDS[word]}"
    # The source says which step it is about; from `stuck` and the ends it has to be said, and where there are several.
    return edge.trigger.removeprefix(f"{marks[0][0]}.") if len(marks) == 1 else edge.trigger


def _words(definition: Definition, state: str, progress: Progress | None, been: Counter[str]) -> str:
    marks = marks_of(state)
    parts = (_PHASE_WORDS.get(phase, f"{phase} ") + _leaf_words(definition, step) for step, phase in marks)
    words = " · ".join(parts) if marks else state
    if state == NEW:
        return "begin"
    if progress is not None and state == progress.state:
        return f"HERE: {words}"
    times = f" ({been[state]} times)" if been[state] > 1 else ""
    return f"passed: {words}{times}" if state in been else words


def _leaf_words(definition: Definition, leaf: str) -> str:
    spec = definition.steps.get(leaf)
    return f"{leaf} for each item" if spec is not None and spec.each is not None else leaf


def _box(state: str, words: str) -> str:
    opening, closing = _SHAPES[_kind_of(state)]
    return f'{node(state)}{opening}"{label(words)}"{closing}'


def _kind_of(state: str) -> str:
    phases = {phase for _, phase in marks_of(state)}
    if not phases:
        return "begin" if state == NEW else "ended" if state in ENDS else "stuck" if state == STUCK else "pending"
    if phases & {"undoing", "reverting", "sweeping"}:
        return "undoing"
    if "resolving" in phases:
        return "resolving"
    return "waiting" if phases & {"waiting", "delaying"} else "pending"


def _class_of(state: str, progress: Progress | None, been: Counter[str]) -> str:
    if progress is not None and state == progress.state:
        return "here"
    return "been" if state in been and state != NEW else _kind_of(state)
