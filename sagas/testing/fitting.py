"""Whether participants have a handler for what sagas ask of them: asked before anything runs."""

from collections.abc import Iterable, Sequence
from typing import cast

from sagas.core.definition import Definition, StepSpec
from sagas.core.instance import Operation
from sagas.core.messages import Command, tag_of
from sagas.errors import SagaError
from sagas.runtime.delivery import REGISTERED_BY
from sagas.runtime.handlers import HandlerError
from sagas.runtime.participant import Service


def require_handlers(
    definitions: Sequence[Definition], services: Iterable[Service], *, may_be_older: bool = False
) -> None:
    """Raise HandlerError for a command without a handler, or with one that was registered for the other operation.

    A participant that is not given is not asked: its commands wait in their topic, or a test answers them. With
    `may_be_older` one that is given need not know every command, as a release that was written before the saga's.
    """
    for definition in definitions:
        if not isinstance(cast("object", definition), Definition):
            name = getattr(definition, "name", definition)
            raise SagaError(
                f"{name!r} is given as a {type(definition).__name__}, expected its definition; add `.definition`"
            )
    given = {service.participant.name: service for service in services}
    for definition in definitions:
        for step in definition.steps.values():
            service = given.get(step.to.name)
            if service is not None:
                _require(definition, step, service, "do", step.command_type, may_be_older)
                if step.undo is not None:
                    _require(definition, step, service, "undo", step.undo.command_type, may_be_older)


def _require(
    definition: Definition,
    step: StepSpec,
    service: Service,
    operation: Operation,
    command_type: type[Command[object]],
    may_be_older: bool,
) -> None:
    found = service.operation_of(tag_of(command_type))
    if found == operation or (found is None and may_be_older):
        return
    name = service.participant.name
    what = f"step {step.name!r}" if operation == "do" else f"the undo of step {step.name!r}"
    has = "has no handler for it" if found is None else f"registered its handler with `@{name}.{REGISTERED_BY[found]}`"
    raise HandlerError(
        f"saga {definition.name!r}, {what}: it sends {command_type.__name__}, and participant {name!r} {has}; "
        f"register one with `@{name}.{REGISTERED_BY[operation]}`"
    )
