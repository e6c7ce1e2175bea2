"""Retries bounded by a small number, whatever the saga says: they are counted, and only their end matters."""

from dataclasses import replace

import msgspec

from sagas.core.definition import Definition, StepSpec
from sagas.core.retry import Retry


def bounded(definition: Definition, faults_max: int) -> Definition:
    """`definition` with retries bounded by `faults_max`, where they are bounded at all."""
    steps: dict[str, StepSpec] = {}
    for name, spec in definition.steps.items():
        undo = spec.undo
        if undo is not None:
            undo = replace(undo, retry=_bounded(undo.retry, faults_max))
        steps[name] = replace(spec, retry=_bounded(spec.retry, faults_max), undo=undo)
    return replace(definition, steps=steps)


def _bounded(retry: Retry, faults_max: int) -> Retry:
    return msgspec.structs.replace(retry, attempts_max=min(retry.attempts_max, faults_max))
