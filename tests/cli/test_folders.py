"""The folders that a process is started in: removed, or not to be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import services
from sagas.errors import SettingsError
from sagas.folders import make_data_folder

ROOT = Path(services.__file__).parent.parent
PROGRAMS = ("sagas run services.orders.saga", "services.inventory", "services.projector", "services.storefront")


def said_by(program: str, folder: Path, *, before: str = "") -> str:
    """What a process that does not start says on stderr."""
    command = f'{before} exec "{sys.executable}" -m {program}'
    environ = {**os.environ, "SAGAS_DATA": str(folder), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        ["/bin/sh", "-c", command], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1, ran.stderr
    return ran.stderr


def test_a_data_folder_that_cannot_be_made_is_named_with_the_reason_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"file/x: cannot be made \(Not a directory\); .* with SAGAS_DATA$"):
        make_data_folder(tmp_path / "file" / "x")


@pytest.mark.parametrize("program", [*PROGRAMS, "services.up"])
def test_a_process_whose_data_folder_is_a_file_says_it_in_one_line(tmp_path: Path, program: str) -> None:
    (tmp_path / "file").touch()
    said = said_by(program, tmp_path / "file")
    assert f"data folder {tmp_path}/file: cannot be made (File exists)" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("program", [*PROGRAMS, "services.up", "services.down", "sagas list"])
def test_a_process_whose_working_folder_was_removed_says_it_in_one_line(tmp_path: Path, program: str) -> None:
    (tmp_path / "gone").mkdir()
    said = said_by(program, tmp_path / "data", before=f'cd "{tmp_path}/gone" && rmdir ../gone &&')
    assert "the working folder was removed" in said
    assert said.count("\n") == 1
