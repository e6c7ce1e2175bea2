"""A conformance run: every line of attack on every example, and a row for each."""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from sagas.core.instance import Operation
from sagas.core.messages import Command, tag_of
from sagas.ports import Migration
from sagas.testing.conformance.attacks import LINES_OF_BOTH, LINES_OF_DO, Line
from sagas.testing.conformance.bench import Failed
from sagas.testing.conformance.examples import Attackable, Example
from sagas.testing.conformance.report import Report, Row
from sagas.testing.conformance.target import NotApplicable, Target


def conformance(service: Attackable, migrations: Sequence[Migration], examples: Sequence[Example]) -> Report:
    """Attack `service`, whose own tables `migrations` make, with each of `examples`.

    A command that it understands and that no example has is a row that failed. It takes some 20 ms a
    row; what the participant logs of the failures planted in it is not shown.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    with _silent():
        for example in examples:
            rows += _rows(service, migrations, example, example.do, "do", (*LINES_OF_BOTH, *LINES_OF_DO))
            seen.add(tag_of(type(example.do)))
            # One undo may belong to several examples: it is attacked once.
            if example.undo is not None and tag_of(type(example.undo)) not in seen:
                rows += _rows(service, migrations, example, example.undo, "undo", LINES_OF_BOTH)
                seen.add(tag_of(type(example.undo)))
    for tag in sorted(set(service.command_tags) - seen):
        rows.append(Row(tag, "has an example", "failed", "no example has this command: give one"))
    return Report(service.participant.name, tuple(rows))


def _rows(
    service: Attackable,
    migrations: Sequence[Migration],
    example: Example,
    command: Command[Any],
    operation: Operation,
    lines: Sequence[tuple[str, Line]],
) -> list[Row]:
    target = Target(service, tuple(migrations), example, operation)
    name = f"{type(command).__name__} ({example.name})" if example.name else type(command).__name__
    return [_row(name, line, attack, target) for line, attack in lines]


def _row(command: str, line: str, attack: Line, target: Target) -> Row:
    try:
        return Row(command, line, "passed", attack(target))
    except Failed as failure:
        return Row(command, line, "failed", str(failure))
    except NotApplicable as reason:
        return Row(command, line, "not applicable", str(reason))
    except Exception as error:  # the participant's own code: what it raises is what it did not withstand
        return Row(command, line, "failed", f"raised {type(error).__name__}: {error}")


@contextmanager
def _silent() -> Generator[None, None, None]:
    logger = logging.getLogger("sagas.participant")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
