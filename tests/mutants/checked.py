"""`python -m tests.mutants.checked`: plant every bug of the rules, and let `sagas check` find it.

Ends with 1 if one survives, or is found only by a run of more than ten messages.
"""

import sys
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from sagas.check import Counterexample, check
from sagas.core.definition import Definition
from tests.check.sagas import line
from tests.core.trip import trip_saga
from tests.mutants.rules import RULES as RULES_OF_STEPS
from tests.mutants.rules import Rule
from tests.mutants.rules_of_flow import FLOW, flow_of

RULES = RULES_OF_STEPS | {rule.name: rule for rule in FLOW}
"""Every planted bug, by its name."""

MESSAGES_MAX = 10
WIDTH = 160


@dataclass(frozen=True, kw_only=True)
class Caught:
    """How a bug was found; `counterexample` is None when no saga showed it."""

    name: str
    saga: str
    counterexample: Counterexample | None

    @property
    def messages(self) -> int:
        """Of its counterexample, 0 when it has none."""
        return 0 if self.counterexample is None else max(1, self.counterexample.messages)


def definition_of(saga: str) -> Definition:
    """One of the sagas to check with: `trip`, or one made of letters."""
    if saga == "trip":
        return trip_saga.definition
    return flow_of(saga) or line(saga, deadline=60).definition


def source_of(saga: str) -> str:
    """Where a scenario would import it from."""
    return "tests.core.trip:trip_saga" if saga == "trip" else "tests.mutants.found:found_saga"


def catch(rule: Rule) -> Caught:
    """Plant it, and check one saga after another until a law breaks by a run that is short enough."""
    shortest = Caught(name=rule.name, saga="", counterexample=None)
    for saga in rule.sagas:
        definition = definition_of(saga)
        with rule.mutant.planted():
            found = check(rule.altered(definition) if rule.altered else definition, source=source_of(saga))
        caught = Caught(name=rule.name, saga=saga, counterexample=found.counterexample)
        if caught.messages and (not shortest.messages or caught.messages < shortest.messages):
            shortest = caught
        if 0 < shortest.messages <= MESSAGES_MAX:
            break
    return shortest


def main() -> int:
    """Plant them all."""
    console = Console(highlight=False, width=WIDTH)
    began = time.monotonic()
    table = Table("planted bug", "saga", "law", "messages", "what was found", title="planted bugs of the rules")
    caught = [catch(RULES[name]) for name in sys.argv[1:] or RULES]
    for bug in caught:
        found = bug.counterexample
        if found is None:
            table.add_row(bug.name, "", "SURVIVES", "", "")
        else:
            table.add_row(bug.name, bug.saga, found.law, str(found.messages), found.how[:80])
    console.print(table)
    survivors = [bug for bug in caught if not 0 < bug.messages <= MESSAGES_MAX]
    longest = max(bug.messages for bug in caught)
    console.print(
        f"mutants: {len(caught)} planted in the rules, {len(caught) - len(survivors)} found by sagas check in at most "
        f"{longest} messages, {len(survivors)} survive, {time.monotonic() - began:.0f} s"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
