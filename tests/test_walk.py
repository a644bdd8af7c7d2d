"""The project as a user meets it: see `walk`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import walk


def test_every_command_of_readme_is_run():
    """Those that another test runs as written aside: of the tests, and of the site."""
    text = (walk.ROOT / "README.md").read_text()
    every = [line for _, block in walk.BLOCK.findall(text) for line in block.splitlines()]
    named = [line for line in every if line.startswith(("odekit ", "python3 "))]
    assert len(named) == len(walk.readme()) + 2
    assert not [c for c in walk.readme() + walk.site() if "SCENARIO" in c or "[--" in c]


def test_pythons_are_found():
    first, *others = walk.interpreters()
    assert first == sys.executable
    assert len(others) <= 1


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("ODEKIT_WALK"),
    reason="set ODEKIT_WALK to a folder: it installs some 1 GB there from a package index",
)
def test_readme_and_packages_in_fresh_environments():
    folder = Path(os.environ["ODEKIT_WALK"])
    done = subprocess.run(
        [sys.executable, str(Path(walk.__file__)), str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "commands ran." in done.stdout
