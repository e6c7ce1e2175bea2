"""Every planted bug of the rules is found by the checker, and its scenario test shows it and nothing else."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sagas.core.definition import Definition
from sagas.errors import SagaError
from tests.mutants.checked import MESSAGES_MAX, RULES, catch, definition_of
from tests.mutants.rules import BARRIER
from tests.mutants.rules_of_flow import FLOW


@pytest.mark.parametrize("name", RULES)
def test_a_planted_bug_of_the_rules_is_found_in_few_messages(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = RULES[name]
    caught = catch(rule)
    assert 0 < caught.messages <= MESSAGES_MAX
    assert caught.counterexample is not None
    if rule in FLOW:
        return  # their sagas are made here: a scenario would import messages that no module has
    assert caught.counterexample.is_retold
    if rule in BARRIER:
        return  # its scenario is about what a participant did: no saga can mend that
    good = definition_of(caught.saga)
    bad = rule.altered(good) if rule.altered else good
    with rule.mutant.planted(), pytest.raises((AssertionError, KeyError, SagaError)):
        run(caught.counterexample.scenario, bad, monkeypatch)
    run(caught.counterexample.scenario, good, monkeypatch)


def run(scenario: str, definition: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a scenario test about this saga."""
    module: Any = ModuleType("tests.mutants.found")
    module.found_saga = SimpleNamespace(definition=definition)
    monkeypatch.setitem(sys.modules, "tests.mutants.found", module)
    namespace: dict[str, Any] = {}
    exec(compile(scenario, "scenario.py", "exec"), namespace)
    next(value for name, value in namespace.items() if name.startswith("test_"))()
