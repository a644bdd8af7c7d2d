"""The public surface has types: a user's script passes a strict type checker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("user_script.txt")
WRONG = [
    ("input_dim=100,", 'input_dim="100",', "input_dim"),
    ("duration=10.0", 'duration="long"', "duration"),
    ("noise_std=0.1", "noise_std=None", "noise_std"),
]
"""Mistakes, and the argument that a checker must name."""
CONFIG = {"typeCheckingMode": "strict", "include": ["script.py"]}


def by_mypy(folder):
    """Complaints of mypy about a script outside the project."""
    pytest.importorskip("mypy.api", reason="extra `lint` is not installed")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "script.py"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return "" if found.stdout.startswith("Success") else found.stdout


def by_pyright(folder):
    """Those of basedpyright, pyright with its checker in the package: it fetches nothing."""
    pytest.importorskip("basedpyright", reason="extra `lint` is not installed")
    paths = [str(ROOT), str(ROOT / "kernels")]
    (folder / "pyrightconfig.json").write_text(json.dumps({**CONFIG, "extraPaths": paths}))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    found = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return "" if found.returncode == 0 else found.stdout


@pytest.mark.parametrize("check", [by_mypy, by_pyright])
def test_a_users_script(check, tmp_path):
    """It passes as it is; with all the mistakes each of them is found."""
    script, text = tmp_path / "script.py", SCRIPT.read_text()
    script.write_text(text)
    assert check(tmp_path) == ""
    for right, wrong, _ in WRONG:
        assert right in text
        text = text.replace(right, wrong)
    script.write_text(text)
    said = check(tmp_path)
    assert all(f'"{argument}"' in said for *_, argument in WRONG), said
