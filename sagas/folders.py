"""The folders of a process: the one it works in, and the one its data is in."""

from pathlib import Path

from sagas.errors import SettingsError

DATA = "SAGAS_DATA"


def working_folder() -> Path:
    """The folder this process works in. Raises SettingsError when it was removed meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise SettingsError("the working folder was removed; change to one that is there (cd)") from error


def make_data_folder(folder: Path, *, said_by: str = DATA) -> None:
    """Have it there, for this user only. Raises SettingsError with the remedy; `said_by` is what names another one."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"data folder {folder}: cannot be made ({error.strerror or error}); name one that this user may write, "
            f"with {said_by}"
        ) from error
