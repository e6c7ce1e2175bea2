"""Who types: the name that is kept with what a person did."""

import getpass
import os


def whoami() -> str:
    """The user's name, or the number of one that has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
