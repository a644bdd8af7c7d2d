"""What must hold in any one result of a network on data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.problem.axes import at
from odekit.problem.schedule import Schedule
from odekit.problem.system import Finding
from odekit.systems.data.measures import unit_imbalance
from odekit.systems.data.points import DataPoints

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.data.problem import DataProblem

ROUNDING = 1e-11
MOST_RUNS, MOST_ROWS = 64, 16
"""Most trajectories of a sweep, and rows of each, that are computed again."""


def laws(ds: xr.Dataset, problem: DataProblem, tolerance: float) -> Iterator[Finding]:
    """Check what follows from the weights.

    Parameters
    ----------
    ds : Dataset
        Whose variables are as registered.
    problem : DataProblem
        What it solves.
    tolerance : float
        Deviation allowed to the solver, relative.
    """
    reached = ds.time <= ds.t_last
    bad = int((~np.isfinite(ds.layer_norm) & reached).sum())
    yield Finding("norms are finite", bad == 0, f"{bad} NaN or infinite")
    yield from _one_by_one(ds, problem, tolerance)
    if bool(np.any(ds.method == "gradient descent")):
        return
    found = unit_imbalance(ds, problem)
    for name in [n for n in found if not str(n).endswith(("_drift", "_size"))]:
        size = np.maximum(found[f"{name}_size"], np.finfo(float).tiny)
        off = float(np.nanmax(abs(found[f"{name}_drift"]) / size))
        said = f"largest drift {off:.3g}, allowed {tolerance:.1g}"
        yield Finding(f"{name} is conserved", off <= tolerance, said)


def _one_by_one(ds: xr.Dataset, problem: DataProblem, tolerance: float) -> Iterator[Finding]:
    sweep = [str(d) for d in ds.status.dims]
    places = list(np.ndindex(*(ds.sizes[d] for d in sweep)))
    chosen = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, MOST_RUNS).astype(int))]
    off, begin, rise = 0.0, 0.0, -np.inf
    for place in chosen:
        index = dict(zip(sweep, place, strict=True))
        one, plain = ds.isel(index), at(problem, index)
        rows = np.flatnonzero(np.isfinite(one.layer_norm.values).all(axis=1))
        if not rows.size:
            continue
        part = one.isel(time=rows)
        points, scale = DataPoints(plain, {}), _scale(plain)
        off = max(off, *(x / scale for x in _differences(part, plain, points)))
        if part.time.values[0] == 0:
            start = points.arrays(points.start()[1][np.newaxis])["layer_norm"][0, 0]
            begin = max(begin, _largest(part.layer_norm.values[0] - start, start.max()))
        if not np.any(one.method == "gradient descent"):
            rise = max(rise, _rise(part, plain, scale))
    yield Finding(
        "losses follow from the weights", off <= ROUNDING, f"largest difference {off:.3g}"
    )
    yield Finding(
        "rows begin at the problem's weights", begin <= ROUNDING, f"differ by {begin:.3g}"
    )
    if np.isfinite(rise):
        said = f"largest rise {rise:.3g}, allowed {tolerance:.1g}"
        yield Finding("gradient flow never raises the loss", rise <= tolerance, said)


def _differences(part: xr.Dataset, problem: DataProblem, points: DataPoints) -> Iterator[float]:
    """Between the losses of the dataset and those of its weights and answers."""
    errors, names = part.generalization_error.values, list(problem.weights)
    last = np.concatenate([part[f"last_{name}"].values.ravel() for name in names])
    yield float(np.abs(points.errors(last[np.newaxis]) - errors[-1]).max())
    some = np.unique(np.linspace(0, len(errors) - 1, MOST_ROWS).astype(int))
    if "weights" in problem.kept:
        flat = [part[name].values[some].reshape(some.size, -1) for name in names]
        states = np.ascontiguousarray(np.concatenate(flat, axis=1))
        yield float(np.abs(points.errors(states) - errors[some]).max())
    if "answers" in problem.kept:
        for i, batch in enumerate(points.batches):
            off = part.answer.values[some, i, : len(batch.x)] - batch.y
            losses = 0.5 * np.sum(batch.share * off * off, axis=(-2, -1))
            yield float(np.abs(losses - errors[some, i]).max())


def _scale(problem: DataProblem) -> float:
    size = max(float(np.mean(np.sum(t.targets**2, axis=1))) for t in problem.tasks.values())
    return size or 1.0


def _largest(difference: Any, scale: float) -> float:
    worst = float(np.abs(difference).max() / max(scale, np.finfo(float).tiny))
    return worst if np.isfinite(worst) else np.inf


def _rise(part: xr.Dataset, problem: DataProblem, scale: float) -> float:
    """Largest rise of a phase's own loss from row to row."""
    worst = -np.inf
    for index, phase in enumerate(problem.phases):
        if isinstance(phase.learning_rate, Schedule) and np.any(phase.learning_rate.values < 0):
            continue
        rows = np.flatnonzero(part.phase.values == index)
        share = [
            (float(p), part.generalization_error.sel(task=n)) for n, p in phase.mixture.items()
        ]
        loss = sum(p * error.values[rows] for p, error in share)
        if rows.size > 1:
            worst = max(worst, float(np.diff(loss).max()) / scale)
    return worst
