"""Runs mypy and pyright over the planted mistakes: each must report every marked line, and no other.

python -m tests.typing
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLANTED = Path(__file__).parent / "planted.py"


def by_mypy() -> set[int]:
    """The lines that mypy reports."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--show-absolute-path", str(PLANTED)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    errors = [line for line in said.stdout.splitlines() if ": error:" in line]
    return {int(line.split(":")[1]) for line in errors if line.startswith(str(PLANTED))}


def by_pyright() -> set[int]:
    """The lines that pyright reports."""
    # In a folder of its own: the project's settings leave the file out, for its mistakes are wanted.
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(PLANTED, folder)
        settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "include": [PLANTED.name]}
        (Path(folder) / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", folder]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found = json.loads(said.stdout)["generalDiagnostics"]
    return {entry["range"]["start"]["line"] + 1 for entry in found if entry["severity"] == "error"}


def main() -> int:
    """0 when both report what they must, 1 when one does not."""
    lines = PLANTED.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    is_right = True
    for name, reported in (("mypy", by_mypy()), ("pyright", by_pyright())):
        for number in sorted(marked - reported):
            print(f"{name} does not refuse line {number}: {lines[number - 1].strip()}")
        allowed = {number for number, line in enumerate(lines, 1) if line.endswith(", too")}
        for number in sorted(reported - marked - allowed):
            print(f"{name} refuses line {number}, which is right: {lines[number - 1].strip()}")
        is_right = is_right and marked == reported - allowed
        print(f"{name}: {len(marked & reported)} of {len(marked)} planted mistakes are reported")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
