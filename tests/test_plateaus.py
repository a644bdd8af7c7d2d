"""Plateaus of the error: where they are found, and at which level."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit import measures as m


def soft_committee(K, duration, weight_std=1e-8, noise=0.0, rate=1.0, flow=True):
    return ok.solve(
        ok.Problem(
            state=ok.OrderParameters.draw(K, K, weight_std=weight_std, input_dim=10_000, seed=7),
            heads={"main": np.ones(K)},
            tasks={"main": ok.Task(np.ones(K), noise)},
            phases=[ok.Phase("main", duration, rate, gradient_flow=flow)],
        )
    )


@pytest.mark.parametrize("K", [2, 3])
def test_level_of_the_symmetric_plateau(K):
    # Off the saddle by the initial asymmetry, 1e-8, times its growth up to the flattest row.
    level = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    ds = soft_committee(K, 2000.0)
    found = m.plateau(ds)
    assert float(found.level) == pytest.approx(level, rel=1e-6)
    error = ds.generalization_error.sel(task="main")
    on = error.sel(time=slice(found.start, found.end))
    assert float(found.start) < 20 < 100 < float(found.end)
    assert float(abs(on / level - 1).max()) < 0.1
    assert float(error.sel(time=2 * found.end, method="nearest")) < 0.1 * level


def test_plateau_grows_with_the_logarithm_of_the_symmetry():
    ends = [float(m.plateau(soft_committee(2, 2000.0, std)).end) for std in (1e-2, 1e-5, 1e-8)]
    steps = np.diff(ends)
    assert steps[0] > 20
    # Equal ratios of the asymmetry take equal times to grow; rows lie 5 % apart.
    assert steps[1] == pytest.approx(steps[0], abs=0.1 * ends[2])


def test_no_plateau():
    found = m.plateau(soft_committee(1, 100.0, weight_std=0.1))
    assert np.isnan([found.level, found.start, found.end]).all()


def test_a_run_that_ends_on_the_plateau_knows_no_end():
    found = m.plateau(soft_committee(2, 50.0))
    assert float(found.level) == pytest.approx(0.0116108, rel=1e-3)
    assert float(found.start) < 20
    assert np.isnan(found.end)


def test_plateau_of_sweeps_of_noise_and_of_later_phases():
    ds = soft_committee(2, 2000.0)
    alone = m.plateau(ds)
    flat = ds.assign(generalization_error=ds.generalization_error * 0 + 1.0)
    twice = xr.concat([ds, flat], dim="copy", data_vars="all", join="exact")
    found = m.plateau(twice, "main")
    assert found.level.dims == ("copy",)
    xr.testing.assert_equal(found.isel(copy=0, drop=True), alone)
    assert np.isnan(found.level[1])

    noisy = ds.copy()
    rng = np.random.default_rng(0)
    noisy["generalization_error"] = ds.generalization_error * np.exp(
        0.01 * rng.standard_normal(ds.generalization_error.shape)
    )
    rough = m.plateau(noisy, threshold=0.3)
    np.testing.assert_allclose(rough.level, alone.level, rtol=0.05)
    np.testing.assert_allclose(rough.end, alone.end, rtol=0.15)

    shifted = ds.assign(phase=ds.phase + 1).assign_coords(time=ds.time + 500.0)
    shifted["phase"][0] = 0
    shifted = shifted.drop_dims("phase_index")
    later = m.plateau(shifted, phase=1)
    np.testing.assert_allclose(later.level, alone.level, rtol=1e-12)
    np.testing.assert_allclose(later.start, alone.start + 500.0, rtol=1e-12)
    np.testing.assert_allclose(later.end, alone.end + 500.0, rtol=1e-12)


def test_the_plateau_counts_and_not_the_floor_of_the_noise():
    ds = soft_committee(2, 3e4, weight_std=1e-3, noise=0.1, rate=0.1, flow=False)
    found = m.plateau(ds)
    # Above the gradient-flow level 0.0116 by the noise, of order η σ² = 1e-3.
    assert 0 < float(found.level) - 0.0116 < 1e-3
    assert float(found.end) < 3000
    floor = ds.generalization_error.sel(time=slice(1e4, None))
    assert float(floor.max() / floor.min()) < 1.01
