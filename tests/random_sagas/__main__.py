"""Many random sagas: `python -m tests.random_sagas --seeds 500 --first 1 --leaves 7`, or only some trials by name."""

import argparse
import logging

from tests.random_sagas.drawing import draw
from tests.random_sagas.plans import Plan
from tests.random_sagas.smaller import smallest
from tests.random_sagas.trials import TRIALS, tried

_SMALLER_SECONDS_MAX = 30.0


def main() -> int:
    """Try them; 1 if anything was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_sagas", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many sagas")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--leaves", type=int, default=6, help="steps, waits and delays of one saga, at most")
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"of {', '.join(TRIALS)}; all without any")
    asked = parser.parse_args()
    unknown = set(asked.trials) - set(TRIALS)
    if unknown:
        parser.error(f"no trial {', '.join(sorted(unknown))}: there are {', '.join(TRIALS)}")
    logging.disable(logging.CRITICAL)
    taken = broken = 0
    for seed in range(asked.first, asked.first + asked.seeds):
        plan = draw(seed, asked.leaves)
        for name in asked.trials or TRIALS:
            said = tried(TRIALS[name], plan, seed)
            taken += said == ""
            if said:
                broken += 1
                _tell(name, plan, seed, said)
    print(f"{asked.seeds:,} random sagas from seed {asked.first}: {taken:,} trials held, {broken:,} did not")
    return 1 if broken else 0


def _tell(name: str, plan: Plan, seed: int, said: str) -> None:
    trial, first = TRIALS[name], _first(said)

    def breaks(less: Plan) -> bool:
        found = tried(trial, less, seed)
        return bool(found) and _first(found or "") == first

    less = smallest(plan, breaks, seconds_max=_SMALLER_SECONDS_MAX)
    print(f"seed {seed}, {name}: {plan}\n  smallest: {less}\n{tried(trial, less, seed)}\n", flush=True)


def _first(said: str) -> str:
    """What is the same of two that break the same: the first line without names."""
    return " ".join(word for word in said.partition("\n")[0].split() if len(word) > 3)


if __name__ == "__main__":
    raise SystemExit(main())
