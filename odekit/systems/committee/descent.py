"""The loss that each phase of gradient flow descends, from the rows of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.systems.committee.conserved import rows_of

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.phase import Phase
    from odekit.systems.committee.problem import Problem


def losses(ds: xr.Dataset, problem: Problem) -> list[tuple[int, Any, float]]:
    """Index, loss (…, time) and its size for every phase that must descend.

    Phases under a consolidation are left out: its copies are not in the dataset. So are those with
    schedules other than of learning rates.
    """
    found = []
    held = False
    for index, phase in enumerate(problem.phases):
        held = held or phase.consolidation is not None
        if phase.gradient_flow and not held and _descends(problem, phase):
            # Rows of one phase of a sweep may lie at other times than those of another point.
            loss = _loss(ds, problem, phase).where(rows_of(ds, problem, index))
            size = float(np.nanmax(np.abs(loss.values), initial=0.0))
            found.append((index, loss, max(size, _terms(ds, problem, phase))))
    return found


def _descends(problem: Problem, phase: Phase) -> bool:
    """Whether what a phase descends is the error: not with masks, momentum or another head.

    Nor need a loss fall whose terms change in time.
    """
    masked = np.any(np.asarray(phase.keep_probability) != 1.0)
    scaled = np.any(np.asarray(problem.test_scale) != 1.0)
    plain = phase.momentum_decay is None and not phase.moving
    return plain and not masked and not scaled


def _loss(ds: xr.Dataset, problem: Problem, phase: Phase) -> Any:
    import xarray as xr

    K = ds.sizes["student"]
    diagonal = xr.DataArray(np.arange(K), dims="unit")
    squares = ds.Q.isel(student=diagonal, student_other=diagonal).sum("unit", skipna=False)
    loss = 0.5 * phase.weight_decay * squares
    for task, p in phase.mixture.items():
        v = ds.readout.sel(head=problem.head_of(task), drop=True)
        penalty = 0.5 * phase.readout_weight_decay * (v**2).sum(_units(v), skipna=False)
        loss = loss + p * (ds.generalization_error.sel(task=task, drop=True) + penalty)
    return loss.transpose(..., "time")


def _terms(ds: xr.Dataset, problem: Problem, phase: Phase) -> float:
    """Size of the terms that cancel in the error: g is of order √Q, or at most 1."""
    sizes = []
    for task in phase.mixture:
        given = problem.tasks[task]
        u = np.abs(np.asarray(given.readout)).sum(axis=-1).max()
        y = np.abs(np.asarray(given.label)).sum()
        v = ds.readout.sel(head=problem.head_of(task))
        sizes.append((float(np.abs(v).sum(_units(v)).max()) + float(u) + float(y)) ** 2)
    largest = max(float(np.abs(ds.Q).max()), float(np.abs(ds["T"]).max()))
    return 0.5 * max(sizes) * min(largest, 1.0)


def _units(v: Any) -> list[str]:
    return [d for d in ("output", "student") if d in v.dims]
