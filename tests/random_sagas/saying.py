"""What the participants of these sagas say: by chance, but the same to whoever asks for the same."""

from random import Random
from typing import Any


def chosen(step: str, command: Any, replies: tuple[Any, ...]) -> Any:
    """Mostly the first of the replies."""
    random = Random(f"{step}:{command.k}:{command.item}:do")
    reply = replies[0] if random.random() < 0.6 else random.choice(replies)
    return reply(k=command.k)


def undone(step: str, command: Any, replies: tuple[Any, ...]) -> Any:
    """Nearly always the first of the replies."""
    random = Random(f"{step}:{command.k}:{command.item}:undo")
    if random.random() < 0.7 or len(replies) == 1:
        return replies[0](k=command.k)
    return replies[1](reason="kept")
