"""`python -m benchmarks.interpreter`: the fastest Python on this machine, for `make bench` to run on.

Theory of operation. Most of what a saga costs is Python, and one built with profile-guided optimisation takes a
quarter to a third less time for the same than one built plainly from source; version managers build plainly. So the
interpreters on the PATH run the same loop, in turn, and the one with the best time is taken. The interpreter that
asks is kept unless another is clearly faster. Each runs the loop on every core: on a shared machine one of them can be
half as fast as the other for a while (43 and 97 ms were seen side by side), and a process stays where it was put.

The time of the loop stands in the figures, on the best core and on the worst, at each round: it says what they were
measured on, and makes those of two machines, and of two rounds, comparable. Nothing but the standard library is needed
here: this runs before anything is installed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

ROUNDS: Final = 3
PROBE_S_MAX: Final = 30.0
CLEARLY: Final = 0.95
"""Another has to need less than this share of the time."""

NAMES: Final = ("python3", "python3.11", "python3.12", "python3.13")
"""The versions that the project is tested with: for a newer one there may be no wheels of what is pinned."""

_PROBE: Final = """
import os, sys, time, ensurepip, venv
assert (3, 11) <= sys.version_info < (3, 14) and sys.implementation.name == "cpython"
class Point:
    def __init__(self, x): self.x = x
    def plus(self, y, *, z): return self.x + y + z
def loop():
    found = {}
    for number in range(100_000):
        point = Point(number)
        found[number & 1023] = f"{point.plus(number, z=2)}-{point.x}"
def timed():
    began = time.perf_counter()
    loop()
    return time.perf_counter() - began
cores = sorted(os.sched_getaffinity(0))[:8] if hasattr(os, "sched_setaffinity") else []
for core in cores or [None]:
    if core is not None:
        os.sched_setaffinity(0, {core})
    print(min(timed() for _ in range(4)))
"""


def loops_ms(interpreter: str) -> list[float]:
    """Milliseconds of a loop of plain Python in `interpreter`, on each core; [] when it is none that could be used."""
    try:
        ran = subprocess.run(
            [interpreter, "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_S_MAX, check=True
        )
        return [float(line) * 1_000 for line in ran.stdout.splitlines()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def fastest(own: str, others: Iterable[str]) -> tuple[str, dict[str, float]]:
    """The interpreter to take, and the best time of each that could be used, in milliseconds."""
    best: dict[str, float] = {}
    candidates = [own, *others]
    for _ in range(ROUNDS):
        for candidate in list(candidates):
            took_ms = loops_ms(candidate)
            if not took_ms:
                candidates.remove(candidate)
                continue
            best[candidate] = min(*took_ms, best.get(candidate, took_ms[0]))
    first = min(best, key=best.__getitem__, default=own)
    is_clear = own not in best or best[first] < best[own] * CLEARLY
    return (first if is_clear else own), best


def on_path(path: str, names: Sequence[str] = NAMES) -> list[str]:
    """The interpreters in the folders of `path`, each once."""
    found: dict[Path, str] = {}
    for folder in path.split(os.pathsep):
        for name in names:
            program = shutil.which(name, path=folder)
            if program is not None:
                found.setdefault(Path(program).resolve(), program)
    return list(found.values())


def main() -> None:
    """Print the path of the fastest, and on stderr what each took."""
    own = str(getattr(sys, "_base_executable", sys.executable))
    mine = Path(own).resolve()
    others = [program for program in on_path(os.environ.get("PATH", "")) if Path(program).resolve() != mine]
    chosen, took_ms = fastest(own, others)
    for program, ms in sorted(took_ms.items(), key=lambda item: item[1]):
        print(f"{ms:6.1f} ms  {program}{'  <- taken' if program == chosen else ''}", file=sys.stderr)
    print(chosen)


if __name__ == "__main__":
    main()
