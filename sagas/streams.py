"""The standard streams of a process: they may be closed, full, or speak an encoding that lacks what is said.

None of that may stop a process whose work is elsewhere, nor be taken for something else.
"""

import os
import sys
from typing import TextIO, cast

_ERRORS = 2
"""The number of the last of them, stderr."""


def prepare_streams() -> None:
    """Put nothing in place of streams that are closed, and have what an encoding lacks said as `?`.

    A file that is opened later must not come to stand where a stream was: what is said would be written into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _ERRORS:
        pass
    os.close(descriptor)
    # A stream that was closed when Python began is None, whatever its type says.
    if cast("TextIO | None", sys.stdin) is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
    if cast("TextIO | None", sys.stdout) is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    if cast("TextIO | None", sys.stderr) is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def announce(line: str) -> None:
    """Say `line` on stdout to whoever reads there; that nobody can is no reason to end."""
    if cast("TextIO | None", sys.stdout) is None:
        return
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError:
        give_up_output()


def give_up_output() -> None:
    """Send what is left in stdout, and whatever comes, nowhere: it would fail again when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
