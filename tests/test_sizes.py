"""Sweeps that neither memory nor disk can hold are refused before anything is computed."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import odekit as ok


def axis(dim, size):
    return xr.DataArray(np.linspace(0.1, 0.2, size), dims=dim)


def swept(size):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task(readout=[1.0], noise_std=axis("noise", size))},
        phases=[
            ok.Phase("main", 1.0, axis("eta", size), weight_decay=axis("decay", size)),
        ],
    )


@pytest.fixture(scope="module")
def huge():
    """2⁶⁶ points: as an int64 their number is 0."""
    return swept(2**22)


def test_a_number_of_points_beyond_int64_is_refused(huge):
    with pytest.raises(
        ok.ProblemError, match=r"at most 100000000 points .* got 73786976294838206464"
    ):
        ok.solve(huge, t_eval=[0.0, 1.0])


@pytest.fixture(scope="module")
def long():
    """As many points as may be, and so many rows that neither memory nor a disk holds them."""
    return swept(400), np.linspace(0.0, 1.0, 100_000)


def test_no_memory_holds_them(long):
    problem, rows = long
    with pytest.raises(ok.ProblemError, match="more than the memory") as error:
        ok.solve(problem, t_eval=rows)
    assert error.value.argument == "store"


def test_no_disk_holds_them_either(long, tmp_path):
    pytest.importorskip("zarr")
    problem, rows = long
    with pytest.raises(ok.ProblemError, match="disk with room") as error:
        ok.solve(problem, t_eval=rows, store=tmp_path / "a.zarr")
    assert error.value.argument == "store"
    assert "t_eval" in error.value.remedy


def test_the_free_disk_is_what_counts(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    asked = []

    def usage(path):
        asked.append(path)
        return SimpleNamespace(total=2**40, used=2**40 - 2000, free=2000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(ok.ProblemError, match="disk with room"):
        ok.solve(swept(3), t_eval=[0.0, 1.0], store=tmp_path / "a.zarr")
    assert asked == [tmp_path]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    run = ok.solve(swept(3), t_eval=[0.0, 1.0], store=tmp_path / "a.zarr")
    assert run.R.shape[:3] == (3, 3, 3)
