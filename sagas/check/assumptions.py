"""What a check takes for granted, each to be switched so that one sees what it buys.

The defaults are the promises of the engine and of the participant kit. Nothing here is about the broker: it
may repeat, reorder, delay and lose whatever it likes, always.
"""

from dataclasses import dataclass
from typing import Literal

Participants = Literal["honest", "forget-refusals", "forget-undos", "undo-blindly", "leave-something"]
"""What participants do with their memory.

honest            as the participant kit does
forget-refusals   a refused command that is repeated is decided anew
forget-undos      an undo that came before its do does not block it
undo-blindly      an undo is carried out although its do was refused or never came
leave-something   a refusal may leave an effect behind
"""

TimeoutMeans = Literal["unknown", "refused", "done"]
"""What an unanswered command is taken for: `unknown` does what the step says, the others assume."""

Operators = Literal["honest", "careless"]
"""Whether a person says of an effect only what is so, and sees to it that it stays so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is taken for granted. `faults_max`: how often a participant faults before its step is given up, at most."""

    participants: Participants = "honest"
    has_barrier: bool = True
    timeout_means: TimeoutMeans = "unknown"
    operators: Operators = "honest"
    commits_first: bool = True
    reads_before_timers: bool = True
    faults_max: int = 2

    @property
    def is_promised(self) -> bool:
        """Whether nothing differs from what is promised."""
        return not self.words

    @property
    def words(self) -> tuple[str, ...]:
        """What differs from the promises, in words."""
        said = {
            f"participants {self.participants}": self.participants != "honest",
            "no barrier": not self.has_barrier,
            f"a timeout means {self.timeout_means}": self.timeout_means != "unknown",
            "careless operators": self.operators != "honest",
            "published before it is committed": not self.commits_first,
            "timers before replies": not self.reads_before_timers,
        }
        return tuple(words for words, is_so in said.items() if is_so)
