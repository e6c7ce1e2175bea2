"""Participants of a random walk: what they were sent, what they remember, and what truly stands at each of them.

They keep the barrier's rules in a few lines of their own, and not by the engine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from sagas.check.courses import later
from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import Reply, Send
from sagas.core.instance import Operation, leaf_of
from sagas.core.messages import CannotUndo, Fault, Rejection, tag_of

_FAULT, _CANNOT_UNDO = tag_of(Fault), tag_of(CannotUndo)


class Broken(Exception):
    """A promise did not hold."""


@dataclass
class Place:
    """What a participant knows of one operation and its undo, and how often its effect stands."""

    spec: StepSpec
    sent: dict[Operation, Send] = field(default_factory=dict[Operation, Send])
    answer: str = ""
    undo_answer: str = ""
    is_blocked: bool = False
    stands: int = 0

    @property
    def is_refused(self) -> bool:
        """Whether its do was refused."""
        return self.answer != "" and issubclass(self.spec.replies[self.answer], Rejection)

    @property
    def may_stand(self) -> bool:
        """Whether it is nobody's loss that its effect stands: it has said that it leaves nothing."""
        return self.spec.undo is None and self.spec.kind == "compensatable"


class Outside:
    """All of them. `is_calm`: nobody fails or refuses what is new, as far as that can be helped."""

    def __init__(self, definition: Definition, random: Random) -> None:
        self.places: dict[str, Place] = {}
        self.is_calm = False
        self._random = random
        self._later: Mapping[str, set[str]] = later(definition.course)

    def forget_order(self) -> None:
        """Ask nothing of the order from now on: the course is another one."""
        self._later = {}

    def send(self, send: Send, spec: StepSpec) -> None:
        """Take a command, which may be delivered at any time, and again. Raises Broken where it is not what it was."""
        place = self.places.setdefault(send.sent_as, Place(spec))
        place.spec = spec
        known = place.sent.get(send.operation)
        if known is not None and (known.id, known.body) != (send.id, send.body):
            raise Broken(f"{send.sent_as} {send.operation} says {send.body!r}, and said {known.body!r}")
        if send.operation == "undo" and known is None:
            self._require_order(send.sent_as)
        place.sent[send.operation] = send

    def deliver(self, name: str, operation: Operation) -> Reply | None:
        """Have a command carried out, or answered from memory; None where the participant keeps silent."""
        place = self.places[name]
        tag = self._do(place) if operation == "do" else self._undo(name, place)
        if not tag:
            return None
        if tag in (_FAULT, _CANNOT_UNDO):
            attempt = place.sent[operation].attempt
            return Reply(step=name, operation=operation, event_type=tag, data=b'{"reason":"r"}', attempt=attempt)
        return Reply(step=name, operation=operation, event_type=tag, data=b"{}")

    def _do(self, place: Place) -> str:
        if place.is_blocked:
            return ""
        if not place.answer:
            if self._fails():
                return _FAULT
            tags = list(place.spec.replies)
            is_plain = self.is_calm or self._random.random() < 0.3
            place.answer = tags[0] if is_plain else self._random.choice(tags)
            place.stands += not place.is_refused
        return place.answer

    def _undo(self, name: str, place: Place) -> str:
        assert place.spec.undo is not None
        if place.undo_answer:
            return place.undo_answer
        tags = list(place.spec.undo.replies)
        if not place.answer:
            place.is_blocked = True
        elif not place.is_refused:
            if self._fails():
                return _FAULT
            if _CANNOT_UNDO in tags and not self.is_calm and self._random.random() < 0.5:
                return _CANNOT_UNDO
            self._take_back(name, place)
        place.undo_answer = tags[0]
        return place.undo_answer

    def _take_back(self, name: str, place: Place) -> None:
        if not place.stands:
            raise Broken(f"{name} is undone and does not stand")
        place.stands -= 1

    def _require_order(self, name: str) -> None:
        """Raise Broken where an undo is sent while a step that comes after it stands, or may yet be done."""
        for other, its in self.places.items():
            is_later = leaf_of(other) in self._later.get(leaf_of(name), ())
            is_open = its.stands or not (its.answer or its.is_blocked)
            if is_later and is_open and not its.may_stand:
                raise Broken(f"{name} is undone while {other} stands, or may yet be done")

    def _fails(self) -> bool:
        return not self.is_calm and self._random.random() < 0.15

    # ----------------------------------------------------------------- a person who sees to it

    def done_by_hand(self, name: str) -> None:
        """Somebody has carried it out."""
        place = self.places[name]
        if not place.answer:
            place.answer = next(tag for tag, reply in place.spec.replies.items() if not issubclass(reply, Rejection))
            place.stands = 1

    def undone_by_hand(self, name: str) -> None:
        """Somebody has seen to it that nothing of it remains, and that it is not carried out any more."""
        place = self.places[name]
        place.stands, place.is_blocked = 0, not place.answer
        if place.spec.undo is not None and not place.undo_answer:
            place.undo_answer = next(iter(place.spec.undo.replies))
