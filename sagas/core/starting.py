"""Where start events are read, when an operator says another topic than the saga's own."""

from collections.abc import Iterable
from dataclasses import replace

from sagas.core.definition import Definition


def started_on(definitions: Iterable[Definition], topic: str) -> list[Definition]:
    """`definitions` with the start events of all of them on `topic`, or as they are when it is ""."""
    return [replace(d, start=replace(d.start, topic=topic)) if topic else d for d in definitions]
