"""What must hold in any one result of a linear network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.problem.axes import at
from odekit.problem.system import Finding
from odekit.systems.linear.conserved import conserved_layers
from odekit.systems.linear.points import LinearPoints
from odekit.systems.linear.rates import decay_of
from odekit_kernels.gated import flow as gated

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.phase import Phase
    from odekit.systems.linear import LinearProblem

ROUNDING = 1e-11
MOST_RUNS = 256
"""Most trajectories of a sweep that are looked at one by one."""


def laws(ds: xr.Dataset, problem: LinearProblem, tolerance: float) -> Iterator[Finding]:
    """Check what follows from the equations.

    Parameters
    ----------
    ds : Dataset
        Whose variables are as registered.
    problem : LinearProblem
        What it solves.
    tolerance : float
        Deviation allowed to the solver, relative.
    """
    edges = list(problem.network.edges)
    reached = ds.time <= ds.t_last
    bad = sum(int((~np.isfinite(ds[e]) & reached).sum()) for e in edges)
    yield Finding("values are finite", bad == 0, f"{bad} NaN or infinite")
    yield from _one_by_one(ds, problem, tolerance)
    descends = bool(np.any(ds.method == "gradient descent"))
    found = conserved_layers(ds) if not descends else {}
    for node in problem.network.inner:
        if not np.any(np.isfinite(found.get(f"imbalance_{node}_drift", np.nan))):
            continue
        size = np.maximum(found[f"imbalance_{node}_size"], np.finfo(float).tiny)
        off = float(np.nanmax(abs(found[f"imbalance_{node}_drift"]) / size))
        said = f"largest drift {off:.3g}, allowed {tolerance:.1g}"
        yield Finding(f"the imbalance at {node} is conserved", off <= tolerance, said)


def _one_by_one(ds: xr.Dataset, problem: LinearProblem, tolerance: float) -> Iterator[Finding]:
    sweep = [str(d) for d in ds.status.dims]
    places = list(np.ndindex(*(ds.sizes[d] for d in sweep)))
    chosen = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, MOST_RUNS).astype(int))]
    off, product, begin, rise = 0.0, 0.0, 0.0, -np.inf
    for place in chosen:
        index = dict(zip(sweep, place, strict=True))
        one, plain = ds.isel(index), at(problem, index)
        points = LinearPoints(plain, {})
        rows = np.flatnonzero(one.time.values <= float(one.t_last))
        if not rows.size:
            continue
        part = one.isel(time=rows)
        flat = [part[e].values.reshape(rows.size, -1) for e in plain.network.edges]
        y = np.ascontiguousarray(np.concatenate(flat, axis=1))
        losses, scale = _losses(points, y), _scale(plain)
        off = max(off, _largest(losses - part.generalization_error.values, scale))
        maps = points.readings.maps(points.readings.weights(y))
        for path, W in maps.items():
            product = max(product, _largest(part[f"map_{path}"].values - W, np.abs(W).max()))
        if part.time.values[0] == 0:
            start = points.start()[1][0]
            begin = max(begin, _largest(y[0] - start, np.abs(start).max()))
        rise = max(rise, _rise(part, plain, scale))
    yield Finding(
        "maps are the products of the weights", product <= ROUNDING, f"differ by {product:.3g}"
    )
    yield Finding(
        "losses follow from the weights", off <= ROUNDING, f"largest difference {off:.3g}"
    )
    yield Finding(
        "rows begin at the problem's weights", begin <= ROUNDING, f"differ by {begin:.3g}"
    )
    if np.isfinite(rise):
        said = f"largest rise {rise:.3g}, allowed {tolerance:.1g}"
        yield Finding("gradient flow never raises the loss", rise <= tolerance, said)


def _losses(points: LinearPoints, y: Any) -> Any:
    """From the weights, by the kernel that ends phases."""
    plan = gated.make_plan(points.paths, len(points.tasks), single=True)
    memory, out = np.zeros(plan.size), np.empty((len(y), len(points.tasks)))
    tables = [points.readings.table(task)[0] for task in points.tasks]
    memory[plan.watched : plan.watched + plan.W * plan.T] = np.concatenate(tables)
    for row, into in zip(y, out, strict=True):
        gated.loss(memory, plan, points.paths, row, into)
    return out


def _scale(problem: LinearProblem) -> float:
    return max(float(task.yy) for task in problem.tasks.values()) or 1.0


def _largest(difference: Any, scale: float) -> float:
    worst = float(np.abs(difference).max() / max(scale, np.finfo(float).tiny))
    return worst if np.isfinite(worst) else np.inf


def _rise(part: xr.Dataset, problem: LinearProblem, scale: float) -> float:
    """Largest rise of a phase's own loss from row to row."""
    worst = -np.inf
    for index, phase in enumerate(problem.phases):
        rows = np.flatnonzero(part.phase.values == index)
        share = [
            (float(p), part.generalization_error.sel(task=n)) for n, p in phase.mixture.items()
        ]
        loss = sum(p * error.values[rows] for p, error in share)
        loss = loss + _penalty(part, problem, phase)[rows]
        if rows.size > 1:
            worst = max(worst, float(np.diff(loss).max()) / scale)
    return worst


def _penalty(part: xr.Dataset, problem: LinearProblem, phase: Phase) -> Any:
    """½ Σ κ_e |W_e|² of every row."""
    total = np.zeros(part.sizes["time"])
    for edge in problem.network.edges:
        decay = float(decay_of(phase, edge))
        if decay > 0:
            total += 0.5 * decay * np.square(part[edge].values).sum((-2, -1))
    return total
