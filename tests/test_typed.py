"""The public surface has types: a user's script passes a strict type checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

mypy = pytest.importorskip("mypy.api", reason="extra `lint` is not installed")
SCRIPT = Path(__file__).with_name("user_script.txt")


def check(text, folder):
    """Complaints of mypy about a script outside the project."""
    script = folder / "script.py"
    script.write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(script)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return found.stdout


def test_a_users_script(tmp_path):
    text = SCRIPT.read_text()
    assert check(text, tmp_path).startswith("Success"), check(text, tmp_path)
    wrong = text.replace("input_dim=100,", 'input_dim="100",')
    assert 'Argument "input_dim" to "simulate" has incompatible type' in check(wrong, tmp_path)
