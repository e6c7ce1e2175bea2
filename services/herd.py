"""Processes that are killed, told to end, or stopped and continued at random, and started again at once.

Theory of operation. A process is *up* once it has said so. Only such a one is struck, with SIGKILL, SIGTERM or SIGSTOP;
then it is left alone until it is up again. `tend` starts again what has ended and continues what was stopped for long
enough. Several may be down at the same time. All chance comes from one seeded source, but processes live in real
time: a seed repeats the choices, not the instruction that a blow hits.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from services import pidfile
from services.memory import resident_kib
from services.processes import Child, ProcessError, Program, pid_path, stop_leftovers

BLOWS: Sequence[tuple[signal.Signals, int]] = ((signal.SIGKILL, 5), (signal.SIGTERM, 2), (signal.SIGSTOP, 3))
"""What strikes a process, and how often of ten times."""

STOPPED_S_MAX = 2.0
READY_S_MAX = 45.0
"""For a process to be up again: it is killed and started on a machine that is busy with all the others."""

YOUNG_S = 1.0
"""A process this young still loads its modules: its memory says nothing yet."""


class Herd:
    """The processes of one folder; use it in a `with` block, whose end stops them."""

    def __init__(self, folder: Path, programs: Sequence[Program], environ: Mapping[str, str], chance: Random) -> None:
        self._folder = folder
        self._chance = chance
        self._children = {program.name: Child(program, folder, environ) for program in programs}
        self._up_since: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._stopped_until: dict[str, float] = {}
        self.struck: dict[str, int] = {number.name: 0 for number, _ in BLOWS}
        """How often each signal was sent."""
        self.samples: dict[str, list[int]] = {name: [] for name in self._children}
        """Resident memory in KiB, a sample of each process at each `measure`."""

    def __enter__(self) -> "Herd":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def are_all_up(self) -> bool:
        """Whether every process has said that it is up, and none is stopped."""
        return len(self._up_since) == len(self._children)

    def start(self) -> None:
        """Start all; `tend` sees when they are up."""
        for name in self._children:
            self._start(name)

    def tend(self) -> None:
        """Start again what has ended, continue what was stopped long enough, note what is up.

        Raises ProcessError with the log of a process that does not come up.
        """
        now_s = time.monotonic()
        for name, child in self._children.items():
            if name in self._stopped_until:
                if now_s >= self._stopped_until[name]:
                    self._continue(name)
            elif child.has_ended():
                self._start(name)
            elif name not in self._up_since and self._has_lived(name) and child.is_ready():
                self._up_since[name] = now_s
            elif name not in self._up_since and now_s > self._started[name] + READY_S_MAX:
                raise child.failure()

    def strike(self) -> bool:
        """Hit one process that is up; False when none is."""
        if not self._up_since:
            return False
        name = self._chance.choice(sorted(self._up_since))
        blow = self._chance.choices([number for number, _ in BLOWS], [weight for _, weight in BLOWS])[0]
        pid = pidfile.holder(pid_path(self._folder, name))
        if pid is None:
            return False
        os.kill(pid, blow)
        self.struck[blow.name] += 1
        del self._up_since[name]
        self._started[name] = time.monotonic()  # from now on it has so long to be up again, however long it was up
        if blow is signal.SIGSTOP:
            self._stopped_until[name] = time.monotonic() + self._chance.uniform(0.05, STOPPED_S_MAX)
        return True

    def measure(self) -> None:
        """Take a sample of the memory of every process that has been up for a moment."""
        for name, since_s in self._up_since.items():
            pid = pidfile.holder(pid_path(self._folder, name))
            if pid is not None and time.monotonic() > since_s + YOUNG_S:
                used = resident_kib(pid)
                if used is not None:
                    self.samples[name].append(used)

    def stop(self) -> None:
        """Stop all, the broker last, so that what is under way can be drained."""
        for name in list(self._stopped_until):
            self._continue(name)
        stop_leftovers(self._folder)
        for child in self._children.values():
            child.reap()

    def _start(self, name: str) -> None:
        self._up_since.pop(name, None)
        self._started[name] = time.monotonic()
        try:
            self._children[name].start()
        except ProcessError:
            # Its own dying child, or somebody who looks at the lock: the next round tries again.
            return

    def _continue(self, name: str) -> None:
        del self._stopped_until[name]
        pid = pidfile.holder(pid_path(self._folder, name))
        if pid is not None:
            os.kill(pid, signal.SIGCONT)

    def _has_lived(self, name: str) -> bool:
        return pidfile.holder(pid_path(self._folder, name)) is not None
