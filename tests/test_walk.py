"""The project as a user meets it (`walk`), and with the `lowest` versions of all it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import lowest
import walk


def test_every_command_of_readme_is_run():
    """Those that another test runs as written aside: of the tests, and of the site."""
    text = (walk.ROOT / "README.md").read_text()
    every = [line for _, block in walk.BLOCK.findall(text) for line in block.splitlines()]
    named = [line for line in every if line.startswith(("odekit ", "python3 "))]
    assert len(named) == len(walk.readme()) + 2
    assert not [c for c in walk.readme() + walk.site() if "SCENARIO" in c or "[--" in c]


def test_every_requirement_has_a_lowest_version():
    named = {line.split("==")[0].split("[")[0] for line in lowest.lowest()}
    assert named >= {"numpy", "numba", "scipy", "xarray", "netCDF4", "zarr", "dask", "h5py"}


@pytest.fixture
def fresh(tmp_path):
    """A folder for environments of 0.6 GB, which is not kept."""
    if not walk.index_is_reached():
        pytest.skip("pip reaches no package index from here")
    yield tmp_path / "fresh"
    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", walk.STAGES)
def test_in_fresh_environments(stage, fresh):
    command = [sys.executable, walk.__file__, str(fresh), stage]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "commands ran" in done.stdout


@pytest.mark.slow
def test_files_stores_and_pictures_with_the_lowest_versions(fresh):
    assert lowest.run(fresh) == 0
