"""Who may import whom, and what must not be loaded before it is needed."""

import subprocess
import sys
import time

import pytest

HEAVY = ("scipy", "xarray", "numba", "netCDF4", "matplotlib", "pandas", "pydantic")

LOADED = """
import sys
{code}
print(" ".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def loaded(code):
    """Top-level modules that a fresh interpreter holds after some code."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(code=code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split("\n")[-2].split())


def test_kernels_know_numpy_and_numba_only():
    code = """
import importlib, pkgutil, odekit_kernels
for module in pkgutil.walk_packages(odekit_kernels.__path__, "odekit_kernels."):
    importlib.import_module(module.name)
"""
    names = loaded(code)
    assert "odekit_kernels" in names
    # scipy is looked at by numba itself, for its linear algebra, where it is installed.
    assert not names & {"odekit", "xarray", "netCDF4", "matplotlib", "pandas", "pydantic", "tqdm"}
    assert not names & {"scipy"} or "scipy" in loaded("import numba")


def test_importing_odekit_loads_nothing_heavy():
    names = loaded("import odekit")
    assert not names & {*HEAVY, "odekit_kernels", "numpy"}


@pytest.mark.parametrize("name", ["Problem", "Phase", "Task", "OrderParameters", "Schedule"])
def test_describing_a_problem_needs_no_solver(name):
    assert not loaded(f"import odekit\nodekit.{name}") & {"scipy", "xarray", "numba", "netCDF4"}


def test_help_is_light():
    code = """
from odekit.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
"""
    assert not loaded(code) & {*HEAVY, "odekit_kernels"}


def test_help_is_quick():
    """Half a second warm; here the best of three, on a machine that may be busy."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "odekit", "--help"], capture_output=True, check=True, timeout=60
        )
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.5 + 1.0


def test_every_public_name_is_there_and_listed():
    import odekit

    for name in odekit.__all__:
        assert getattr(odekit, name) is not None
        assert name in dir(odekit)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = odekit.nothing


def test_layers_hold():
    """The contract of pyproject.toml, where import-linter is installed."""
    linter = pytest.importorskip("importlinter.cli", reason="import-linter is not installed")
    assert linter.lint_imports() == 0
