"""The lowest versions that `pyproject.toml` allows, in an environment of their own.

``python tests/lowest.py FOLDER`` makes the environment there and runs the tests of files and
stores in it; ``--list`` prints what it would install.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("plot", "sweep", "test")
TESTS = ("test_store.py", "test_store_refuses.py", "test_zarr.py")
_REQUIREMENT = re.compile(r"([\w.-]+)(\[[\w,.-]+\])?>=([\w.]+)")


def lowest() -> list[str]:
    """Every dependency at the lowest version allowed, as pip takes it.

    Examples
    --------
    >>> any(line.startswith("xarray==") for line in lowest())
    True
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    found = []
    for line in listed:
        if line.startswith("odekit["):
            continue
        match = _REQUIREMENT.fullmatch(line)
        if match is None:
            raise ValueError(f"a requirement without a lowest version: {line}")
        name, extra, version = match.groups()
        found.append(f"{name}{extra or ''}=={version}")
    return found


def run(folder: Path) -> int:
    """Make the environment, unless it is there, and run the tests; their exit code."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *lowest()], check=True)
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    tests = [str(ROOT / "tests" / name) for name in TESTS]
    # Warnings of old libraries about one another are not ours to mend.
    options = ["-q", "-x", "-W", "default", "-p", "no:cacheprovider"]
    command = [python, "-m", "pytest", *options, *tests]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    if "--list" in sys.argv:
        print("\n".join(lowest()))
    else:
        sys.exit(run(Path(sys.argv[1])))
