"""Files and stores with the lowest versions of every library that pip may choose."""

import os
from pathlib import Path

import pytest

import lowest


def test_every_requirement_has_a_lowest_version():
    named = {line.split("==")[0].split("[")[0] for line in lowest.lowest()}
    assert named >= {"numpy", "numba", "scipy", "xarray", "netCDF4", "zarr", "dask", "h5py"}


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("ODEKIT_LOWEST"),
    reason="set ODEKIT_LOWEST to a folder: it installs some 300 MB there from a package index",
)
def test_files_and_stores_with_the_lowest_versions():
    assert lowest.run(Path(os.environ["ODEKIT_LOWEST"])) == 0
