"""What a problem conserves: the quantities, phase by phase, and how far a run drifts from them.

Gradient flow through a positively homogeneous g (linear, ReLU, leaky ReLU) has g'(x) x = g(x), so
that the two layers of a unit grow alike: Q_kk/η_w − Σ_h v_k²/η_v is constant while both rates are,
with the sum over all heads that the phase trains, whatever groups of inputs there are: Q is over
all inputs. A linear g conserves the whole matrix Q/η_w − Σ_h v vᵀ/η_v. Weight decay, consolidation
and frozen first layers break the law, and so does the η² line. What no rate moves is constant in
any phase: overlaps of frozen units, heads that are not trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.problem.phase import PENALTIES
from odekit.problem.schedule import Schedule

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.phase import Phase
    from odekit.systems.committee.problem import Problem

LAWS = {
    "unit_imbalance": "layer imbalance of each unit, Q_kk / eta_w - sum_h v_k^2 / eta_v",
    "imbalance_matrix": "layer imbalance, Q / eta_w - sum_h v v^T / eta_v",
    "still_Q": "overlaps of student units that do not move",
    "still_R": "overlaps of student units that do not move with fixed vectors",
    "still_readout": "heads that are not trained",
}


def conserved(ds: xr.Dataset, problem: Problem) -> xr.Dataset:
    """Every quantity that the problem of a run conserves, its drift and its size."""
    import xarray as xr

    rows: dict[str, list[tuple[Any, Any, Any]]] = {name: [] for name in LAWS}
    for index, phase in enumerate(problem.phases):
        own = rows_of(ds, problem, index)
        mask = own | _start(ds, problem, index)
        for name, (value, size) in _quantities(ds, problem, index, phase).items():
            first = value.isel(time=mask.argmax("time").compute()).drop_vars(
                "time", errors="ignore"
            )
            rows[name].append((value.where(own), (value - first).where(own), size.where(own)))
    found = {}
    for name, parts in rows.items():
        if not parts:
            continue
        for suffix, arrays in zip(("", "_drift", "_size"), zip(*parts, strict=True), strict=True):
            whole = arrays[0]
            for part in arrays[1:]:
                whole = whole.combine_first(part)
            core = [d for d in CORE if d in whole.dims]
            whole = whole.transpose(..., "time", *core)
            text = LAWS[name] + {"": "", "_drift": ": change since the phase began",
                                 "_size": ": size of its terms"}[suffix]  # fmt: skip
            found[f"{name}{suffix}"] = whole.assign_attrs(long_name=text)
    return xr.Dataset(found, coords={"time": ds.time, "phase": ds.phase})


CORE = ("head", "output", "student", "student_other", "teacher")


def drift(found: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Drift of one quantity, and the size of its terms in the same shape."""
    moved = found[f"{name}_drift"]
    size = found[f"{name}_size"].broadcast_like(moved).transpose(*moved.dims)
    return moved, size


def rows_of(ds: xr.Dataset, problem: Problem, index: int) -> Any:
    """Rows of a phase; that of time 0 is not one where heads are copied from then on."""
    own = ds.phase == index
    return own & (ds.time > 0.0) if index == 0 and problem.phases[0].copy_heads else own


def _start(ds: xr.Dataset, problem: Problem, index: int) -> Any:
    """The row in which a phase starts, unless heads were copied from then on."""
    if index and "phase_end" not in ds:
        return False
    begins = [0.0, *(ds.phase_end.isel(phase_index=i, drop=True) for i in range(index))]
    copied = False
    for phase, begin in zip(problem.phases, begins, strict=False):  # one may have no length
        copied = copied | (bool(phase.copy_heads) & (begin == begins[index]))
    return (ds.time == begins[index]) & np.logical_not(copied)


def _quantities(
    ds: xr.Dataset, problem: Problem, index: int, phase: Phase
) -> dict[str, tuple[Any, Any]]:
    """Value and size of all that one phase conserves."""
    found = _still(ds, problem, phase)
    homogeneous = slope_of(problem.activation) is not None
    rates = [_constant(r) for r in (phase.learning_rate, phase.readout_learning_rate)]
    if not (homogeneous and _is_free(problem, index) and all(r is not None for r in rates)):
        return found
    eta_w, eta_v = (r.where(r > 0) if hasattr(r, "where") else r or np.nan for r in rates)
    if not (np.any(np.isfinite(eta_w)) and np.any(np.isfinite(eta_v))):
        return found
    trained = sorted({problem.head_of(task) for task in phase.mixture})
    v = ds.readout.sel(head=trained)
    over = [d for d in ("head", "output") if d in v.dims]
    first, second = ds.Q / eta_w, _pairs(v).sum(over, skipna=False) / eta_v
    if "bias" in ds:
        eta_b = phase.bias_learning_rate
        if not np.all(np.asarray(eta_b) > 0):
            return found
        first = first + _pairs(ds.bias) / eta_b
    free = ~_frozen(ds, phase)
    pairs = free & free.rename(student="student_other")
    matrix, size = (first - second).where(pairs), _largest(first) + _largest(second)
    if bool(free.any()):
        found["unit_imbalance"] = _diagonal(ds, matrix), size
        if slope_of(problem.activation) == 1.0 and np.all(np.asarray(phase.keep_probability) == 1):
            found["imbalance_matrix"] = matrix, size
    return found


def _pairs(values: Any) -> Any:
    """Products of the values of every two units."""
    return values * values.rename(student="student_other")


def _still(ds: xr.Dataset, problem: Problem, phase: Phase) -> dict[str, tuple[Any, Any]]:
    """What no rate moves in a phase; with momentum it may still be on its way."""
    found: dict[str, tuple[Any, Any]] = {}
    if phase.momentum_decay is not None:
        return found
    frozen = _frozen(ds, phase)
    if bool(frozen.any()):
        pairs = frozen & frozen.rename(student="student_other")
        found["still_Q"] = ds.Q.where(pairs), _largest(ds.Q)
        found["still_R"] = ds.R.where(frozen), _largest(ds.R)
    trained = {problem.head_of(task) for task in phase.mixture}
    fixed = _is_zero(phase.readout_learning_rate)
    still = [h for h in ds["head"].values.tolist() if fixed or h not in trained]
    if still:
        found["still_readout"] = ds.readout.where(ds["head"].isin(still)), _largest(ds.readout)
    return found


def _frozen(ds: xr.Dataset, phase: Phase) -> Any:
    """Units whose first layer does not move, as a labelled mask."""
    import xarray as xr

    K = ds.sizes["student"]
    everywhere = _is_zero(phase.learning_rate)
    mask = [everywhere] * K if phase.frozen is None else [everywhere or f for f in phase.frozen]
    return xr.DataArray(np.array(mask, dtype=bool), dims="student", coords={"student": ds.student})


def _is_free(problem: Problem, index: int) -> bool:
    """Whether a phase is gradient flow of the error alone."""
    phase = problem.phases[index]
    decay = any(np.any(np.asarray(getattr(phase, name)) != 0) for name in PENALTIES)
    held = any(p.consolidation is not None for p in problem.phases[: index + 1])
    # Rates that differ between groups of inputs weigh their overlaps differently.
    one_rate = not isinstance(phase.learning_rate, Mapping)
    at_once = phase.momentum_decay is None
    return phase.gradient_flow and not decay and not held and one_rate and at_once


def _constant(rate: Any) -> Any:
    """A learning rate that does not change in time, or None."""
    if not isinstance(rate, Schedule):
        return rate
    values = np.asarray(rate.values)
    return float(values[0]) if np.all(values == values[0]) else None


def _is_zero(rate: Any) -> bool:
    if isinstance(rate, Mapping):
        return all(_is_zero(r) for r in rate.values())
    values = rate.values if isinstance(rate, Schedule) else rate
    return bool(np.all(np.asarray(values) == 0))


def slope_of(activation: Any) -> float | None:
    """Slope for x < 0 of a positively homogeneous activation of slope 1 for x > 0, or None."""
    known = {"linear": 1.0, "relu": 0.0, "leaky_relu": 0.01}
    if isinstance(activation, str):
        return known.get(activation)
    slope = getattr(activation, "slope", None)
    return None if slope is None else float(slope)


def _largest(array: Any) -> Any:
    """Largest modulus over the core dims of each run, at any time: the size of what cancels."""
    core = [d for d in ("time", *CORE) if d in array.dims]
    return abs(array).max(core)


def _diagonal(ds: xr.Dataset, matrix: Any) -> Any:
    import xarray as xr

    place = xr.DataArray(np.arange(ds.sizes["student"]), dims="unit")
    plain = matrix.drop_vars(["student", "student_other"], errors="ignore")
    diagonal = plain.isel(student=place, student_other=place).rename(unit="student")
    return diagonal.assign_coords(student=ds.student)
