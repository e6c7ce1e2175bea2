"""A failed run as a sequence diagram (Mermaid): the messages of one business key, and what happened meanwhile."""

from sagas.core.envelope import Header, decode_envelope
from sagas.testing.simulation.history import Appended, History, Note
from sagas.testing.simulation.life import BEGINS_MS

LINES_MAX = 150
"""Of a diagram: beyond, nobody reads it and browsers refuse to draw it."""


def sequence(history: History, key: str, key_field: str) -> str:
    """What happened to the run of `key`; of everything when `key` is ""."""
    told: list[tuple[int, int, str]] = []
    people: dict[str, None] = {"client": None}
    for number, appended in enumerate(history.appended):
        if key in ("", appended.message.key):
            line, who = _message(appended, key_field)
            people |= dict.fromkeys(who)
            told.append((appended.at_ms, number, line))
    people |= dict.fromkeys(note.who for note in history.notes)
    told += [(note.at_ms, -1, _note(note)) for note in history.notes]
    told.sort(key=lambda line: line[:2])
    lines = [line for _, _, line in told]
    if len(lines) > LINES_MAX:
        head = LINES_MAX // 3
        left_out = f"  Note over client: … {len(lines) - LINES_MAX} lines left out …"
        lines = [*lines[:head], left_out, *lines[head - LINES_MAX :]]
    return "\n".join(["sequenceDiagram", *(f"  participant {_name(p)}" for p in people), *lines])


def _message(appended: Appended, key_field: str) -> tuple[str, list[str]]:
    message = appended.message
    headers = message.headers
    envelope = decode_envelope(message.payload, key_field)
    said = getattr(envelope, "event_type", "unreadable")
    attempt = f" #{headers[Header.ATTEMPT]}" if Header.ATTEMPT in headers else ""
    operation = (
        f"{headers[Header.STEP]} {headers.get(Header.OPERATION, '')}{attempt}: " if Header.STEP in headers else ""
    )
    source = appended.source
    dest = message.topic.removesuffix("-commands") if message.topic.endswith("-commands") else "orchestrator"
    arrow = "--x" if appended.is_lost else "->>"
    return f"  {_name(source)}{arrow}{_name(dest)}: {_seconds(appended.at_ms)} {operation}{said}", [source, dest]


def _note(note: Note) -> str:
    what = note.what.replace(";", ",").replace("\n", " ").replace("#", "no. ")
    return f"  Note over {_name(note.who)}: {_seconds(note.at_ms)} {what}"


def _seconds(at_ms: int) -> str:
    return f"{(at_ms - BEGINS_MS) / 1000:.3f}s"


def _name(who: str) -> str:
    # "end" and a hyphen followed by a bracket mean something to Mermaid.
    return who.replace("-", "_").replace(" ", "_")
