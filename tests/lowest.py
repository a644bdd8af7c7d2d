"""The lowest versions that `pyproject.toml` allows, in an environment of their own.

``python tests/lowest.py FOLDER`` makes the environment there and runs the quick tests of files,
stores and pictures in it; ``--list`` prints what it would install.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("plot", "sweep", "test")
TESTS = (
    "test_store.py",
    "test_store_refuses.py",
    "test_zarr.py::test_a_store_holds_what_memory_does",
    "test_zarr.py::test_any_reader_of_zarr_reads_the_numbers",
    "test_zarr.py::test_a_store_saved_as_netcdf_is_the_same",
    "test_zarr.py::test_the_command_writes_and_reads_stores",
    "test_plot.py::test_panels_of_a_run",
    "test_plot.py::test_formats",
)
QUICK = "not (kill or flipped or any_extension)"
"""Of these: what takes long depends on no version."""
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
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", folder, "install", "-q", "--no-compile"]
        subprocess.run([*pip, *lowest()], check=True)
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    tests = [str(ROOT / "tests" / name) for name in TESTS]
    # Warnings of old libraries about one another are not ours to mend.
    options = ["-q", "-x", "-W", "default", "-p", "no:cacheprovider", "-k", QUICK]
    command = [python, "-m", "pytest", *options, *tests]
    env = {**os.environ, "PYTHONPATH": path}
    # Tests of their own, not workers of whoever asks; bytecode is made of what is imported.
    for name in [n for n in env if n.startswith("PYTEST_") or n == "PYTHONDONTWRITEBYTECODE"]:
        del env[name]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    if "--list" in sys.argv:
        print("\n".join(lowest()))
    else:
        sys.exit(run(Path(sys.argv[1])))
