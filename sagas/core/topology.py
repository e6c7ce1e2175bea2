"""The map of services and topics: who writes what where, and who reads it. Drawn from the definitions alone."""

from collections.abc import Iterable, Sequence

from sagas.core.definition import Definition
from sagas.core.mermaid import label, node
from sagas.core.messages import Event, tag_of

_SAGAS = "orchestrator"
_CLIENT = "any client"


def topology(definitions: Sequence[Definition]) -> str:
    """The map as Mermaid text, ending in a newline."""
    people: dict[str, dict[str, set[str]]] = {}
    starts: dict[str, set[str]] = {}
    for definition in definitions:
        starts.setdefault(definition.start.topic, set()).add(tag_of(definition.start.event_type))
        for step in definition.steps.values():
            said = people.setdefault(step.to.name, {"commands": set(), "events": set()})
            said["commands"] |= {tag_of(step.command_type)} | ({tag_of(step.undo.command_type)} if step.undo else set())
            said["events"] |= _tags(step.replies.values()) | (_tags(step.undo.replies.values()) if step.undo else set())
    topics = dict.fromkeys([*starts, *(topic for name in people for topic in (f"{name}-commands", name))])
    names = ", ".join(dict.fromkeys(definition.name for definition in definitions))
    lines = [
        f"%% the topics of {label(names)}: generated from the definitions, do not edit",
        "flowchart LR",
        f'    {node(_SAGAS)}[["{label(f"orchestrator: {names}")}"]]',
        f'    {node(_CLIENT)}(["{label(_CLIENT)}"])',
        *(f'    {node(f"service {name}")}["{label(f"service {name}")}"]' for name in people),
        *(f'    {node(f"topic {topic}")}[("{label(topic)}")]' for topic in topics),
        *(f"    {_flow(_CLIENT, f'topic {topic}', tags)}" for topic, tags in starts.items()),
        *(f"    {line}" for name, said in people.items() for line in _service(name, said)),
        *(f"    {node(f'topic {topic}')} --> {node(_SAGAS)}" for topic in topics if not topic.endswith("-commands")),
    ]
    return "\n".join(lines) + "\n"


def _service(name: str, said: dict[str, set[str]]) -> Iterable[str]:
    commands, service = f"topic {name}-commands", f"service {name}"
    yield _flow(_SAGAS, commands, said["commands"])
    yield f"{node(commands)} --> {node(service)}"
    yield f"{_flow(service, f'topic {name}', said['events'], arrow='-.->')}"


def _flow(source: str, dest: str, tags: Iterable[str], *, arrow: str = "-->") -> str:
    words = "<br/>".join(label(tag) for tag in sorted(tags))
    return f'{node(source)} {arrow}|"{words}"| {node(dest)}'


def _tags(events: Iterable[type[Event]]) -> set[str]:
    return {tag_of(event) for event in events}
