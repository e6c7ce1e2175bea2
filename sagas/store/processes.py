"""Which process this is, and whether another one is known to have ended, as far as this machine can tell."""

import os
import socket
from pathlib import Path
from typing import Protocol


class Processes(Protocol):
    """What is known of processes. A simulated world has another notion of them than the machine."""

    def this_process(self) -> str:
        """This process, so that no other one on any machine is called the same."""
        ...

    def has_ended(self, process: str) -> bool:
        """Whether the process is known to have ended."""
        ...


class MachineProcesses:
    """The processes of this machine."""

    def this_process(self) -> str:
        """Host, number, and when it began: a number is given again."""
        return f"{socket.gethostname()} {os.getpid()} {_born(os.getpid())}"

    def has_ended(self, process: str) -> bool:
        """Whether it is known to have ended; False for one of another machine, of which nothing is known."""
        host, pid, born = process.rsplit(" ", 2)
        if host != socket.gethostname():
            return False
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        # The number may have been given again.
        return _born(int(pid)) != born


def _born(pid: int) -> str:
    """When a process began, in clock ticks since the machine did; "-" where /proc does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "-"
    # The second field is a name in parentheses that may hold anything; the twentieth behind it is the time.
    return text.rpartition(")")[2].split()[19]
