"""Two tasks in sequence, the more alike the more their features overlap."""

import xarray as xr

import odekit as ok

SIMILARITIES = [0.0, 0.5, 0.9]
TOLERANCE = 1e-8
"""Relative tolerance of the runs: what two runs of one problem may differ by, times ten or so."""


def problem(similarity, **second):
    family = ok.task_family(feature_similarity=similarity)
    start = ok.OrderParameters.draw(2, family.T, weight_std=0.1, input_dim=10_000, seed=7)
    return ok.Problem(
        state=start,
        heads=family.heads([[1.0, 0.6], [0.5, -0.2]]),
        tasks=family.tasks,
        phases=[ok.Phase("1", 40.0, 1.0, 1.0), ok.Phase("2", 40.0, 1.0, 1.0, **second)],
    )


def stack(runs, name, values):
    """A sweep as it comes from one call: the same rows, one more dim in front."""
    joined = xr.concat(
        runs, dim=xr.DataArray(values, dims=name, name=name), data_vars="all", join="exact"
    )
    return joined.assign_attrs(runs[0].attrs)
