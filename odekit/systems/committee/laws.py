"""What must hold in any one result of a committee."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.dataset.provenance import solver_option
from odekit.problem.axes import at
from odekit.problem.system import Finding
from odekit.systems.committee.activations import COMPILED, Activation
from odekit.systems.committee.conserved import LAWS, conserved, drift
from odekit.systems.committee.descent import losses
from odekit.systems.committee.errors import generalization_errors
from odekit.systems.committee.problem import Problem
from odekit.systems.committee.seen import total
from odekit.systems.committee.state import joint
from odekit.systems.committee.structure import is_general

if TYPE_CHECKING:
    import xarray as xr

ROUNDING = 1e-11
"""Deviation allowed to rounding, relative to the size of the terms that cancel."""
DEFAULT_ATOL, PER_ATOL = 1e-11, 100.0
"""The solver's absolute tolerance, and what of it norms may be off by at the end of a run."""
MOST_RUNS = 4096
"""Most trajectories of a sweep that are looked at."""
_STATE = ("Q", "R", "T", "readout")
_GROUPS = ("Q_group", "R_group", "T_group")
_RUN = "run of the sample"


def laws(ds: xr.Dataset, problem: Problem, tolerance: float) -> Iterator[Finding]:
    """Check what follows from the equations.

    Parameters
    ----------
    ds : Dataset
        Whose variables are as registered.
    problem : Problem
        What it solves.
    tolerance : float
        Deviation allowed to the solver, relative.
    """
    runs = list(_runs(ds, problem))
    if not runs:
        yield Finding("runs", False, "the file holds no run")
        return
    if ds.status.size > MOST_RUNS:
        looked = f"{MOST_RUNS} of {ds.status.size} looked at, spread evenly over the sweep"
        yield Finding("runs", True, looked)
    checks = [_finite, _symmetric, _semidefinite, _nonnegative, _consistent, _starts]
    if _given_labels(ds):
        checks.remove(_consistent)  # no overlap knows these labels
    yield from (check(runs, tolerance) for check in checks)
    yield _cosines(runs, tolerance, PER_ATOL * solver_option(ds, "atol", DEFAULT_ATOL))
    yield from _along_the_run(ds, problem, tolerance)


def _along_the_run(ds: xr.Dataset, problem: Problem, tolerance: float) -> Iterator[Finding]:
    """Laws of the flow, as far as this problem has any."""
    # Simulations obey them to O(1/√N) only.
    simulated = "odekit_simulation" in ds.attrs
    flows = [] if simulated else losses(ds, problem)
    if flows:
        rise = max(_rise(loss, size) for _, loss, size in flows)
        found = f"largest rise {rise:.3g}, allowed {tolerance:.1g}"
        yield Finding("gradient flow never raises the loss", rise <= tolerance, found)
    quantities = conserved(ds, problem)
    for name in LAWS:
        if name in quantities and not (simulated and "imbalance" in name):
            moved, size = drift(quantities, name)
            off = float((abs(moved) / size.where(size > 0, 1.0)).max())
            found = f"largest drift {off:.3g}, allowed {tolerance:.1g}"
            # Where a run holds no finite row of a quantity there is nothing to compare.
            yield Finding(f"{name} is conserved", not off > tolerance, found)


def _rise(loss: xr.DataArray, size: float) -> float:
    rise = np.nan_to_num(loss.diff("time").values)
    return float(rise.max(initial=0.0)) / max(size, np.finfo(float).tiny)


@dataclass(frozen=True)
class _Run:
    """One trajectory as plain arrays, its rows up to t_last."""

    Q: Any
    R: Any
    T: Any
    readout: Any
    error: Any
    u: Any
    heads: Any
    activation: str | Activation
    start: Any
    """Initial Q, or None if the first row is at a later time."""
    blocks: list[tuple[Any, Any, Any]]
    """Q, R and T that are overlaps of vectors: over all inputs, or in each group."""
    problem: Problem
    bias: Any = None

    @property
    def scale(self) -> Any:
        """Size of the terms that make up each error, shape (time, task)."""
        v = self.readout[:, self.heads]
        v = np.abs(v).reshape(*v.shape[:2], -1).sum(axis=-1)
        largest = np.abs(self.Q).max(axis=(1, 2)) + np.abs(self.T).max()
        largest = largest * (1.0 + self.means**2)
        bound = 1.0 if self.activation == "erf" else largest[:, None]
        if self.activation not in COMPILED:
            bound = np.maximum(1.0, 3.0 * largest[:, None] ** 2)
        if self.bias is not None:
            bound = bound + (0.0 if self.activation == "erf" else np.max(self.bias**2))
        targets = np.abs(self.u).reshape(len(self.u), -1).sum(axis=-1) * np.sqrt(bound)
        return 0.5 * (v * np.sqrt(bound) + targets + self.label) ** 2

    @property
    def means(self) -> float:
        """Most that coefficients of the inputs' means add up to."""
        given = [t.input_mean for t in self.problem.tasks.values() if t.input_mean is not None]
        return max((float(np.abs(s).sum()) for s in given), default=0.0)

    @property
    def label(self) -> Any:
        """Constant part of each target, over all outputs."""
        return np.array([np.abs(t.label).sum() for t in self.problem.tasks.values()])


def _runs(ds: xr.Dataset, problem: Problem) -> Iterator[_Run]:
    """Trajectories of a dataset; of a large sweep, so many as are looked at."""
    import xarray as xr

    sweep = [str(d) for d in ds.status.dims]
    names = ds.task.values.tolist()
    heads = ds["head"].values.tolist()
    index = np.array([heads.index(problem.head_of(t)) for t in names])
    flat = np.linspace(0, ds.status.size - 1, min(ds.status.size, MOST_RUNS)).astype(int)
    places = np.unravel_index(flat, ds.status.shape) if sweep else ()
    chosen = {d: xr.DataArray(i, dims=_RUN) for d, i in zip(sweep, places, strict=True)}
    # All at once: a chunk on disk is read once, not for each of its trajectories.
    state = (*_STATE, *(_GROUPS if problem.groups is not None else ()))
    state = (*state, *(["bias"] if "bias" in ds else []))
    some = ds[[*state, "generalization_error", "t_last"]].isel(chosen).load()
    time = ds.time.values
    for i in range(flat.size):
        place = {d: int(along[i]) for d, along in zip(sweep, places, strict=True)}
        one = {n: v.values[i] if _RUN in v.dims else v.values for n, v in some.variables.items()}
        rows = np.flatnonzero(time <= one["t_last"])
        if not rows.size:
            continue
        point = at(problem, place)
        start = np.asarray(total(point, point.state.Q) if point.groups else point.state.Q)
        yield _Run(
            **{n: one[n] if n == "T" else one[n][rows] for n in _STATE},
            error=one["generalization_error"][rows],
            u=np.array([point.tasks[t].readout for t in names]),
            heads=index,
            activation=problem.activation,
            start=start if time[rows[0]] == 0 else None,
            blocks=_blocks(one, rows),
            problem=point,
            bias=one["bias"][rows] if "bias" in one else None,
        )


def _blocks(one: Mapping[Any, Any], rows: Any) -> list[tuple[Any, Any, Any]]:
    """Overlaps over all inputs, or in each group of them."""
    if "Q_group" not in one:
        return [(one["Q"][rows], one["R"][rows], one["T"])]
    Q, R, T = (one[name] for name in _GROUPS)
    return [(Q[rows, g], R[rows, g], T[g]) for g in range(len(T))]


def _given_labels(ds: xr.Dataset) -> bool:
    try:
        words = json.loads(ds.attrs.get("odekit_simulation", "{}"))
        return bool(words.get("inputs", {}).get("labels") == "given")
    except (TypeError, ValueError, AttributeError):
        return False


def _finite(runs: list[_Run], _tolerance: float) -> Finding:
    bad = sum(int((~np.isfinite(a)).sum()) for r in runs for a in (r.Q, r.R, r.readout, r.error))
    return Finding("values are finite", bad == 0, f"{bad} NaN or infinite")


def _symmetric(runs: list[_Run], _tolerance: float) -> Finding:
    off = max(float(np.abs(r.Q - np.swapaxes(r.Q, 1, 2)).max()) for r in runs)
    return Finding("Q is symmetric", off == 0, f"largest difference {off:.3g}")


def _semidefinite(runs: list[_Run], tolerance: float) -> Finding:
    def lowest(r: _Run) -> float:
        return min(_lowest(*block) for block in r.blocks)

    return _each("overlaps are positive semidefinite", runs, lowest, tolerance, "lowest eigenvalue")


def _lowest(Q: Any, R: Any, T: Any) -> float:
    """Lowest eigenvalue of joint overlaps, relative to the largest."""
    eigenvalues = np.linalg.eigvalsh(joint(Q, R, np.broadcast_to(T, (len(Q), *T.shape))))
    return float((eigenvalues[:, 0] / np.abs(eigenvalues).max(axis=1)).min())


def _cosines(runs: list[_Run], tolerance: float, slack: float) -> Finding:
    """|R_kn| <= √(Q_kk T_nn), with what tolerances leave open in Q: eigenvalues see R² alone."""

    def excess(r: _Run) -> float:
        return max(_excess(*block, tolerance, slack) for block in r.blocks)

    found = max(excess(r) for r in runs)
    return Finding("cosines are at most 1", not found > 0, f"largest excess {max(found, 0.0):.3g}")


def _excess(Q: Any, R: Any, T: Any, tolerance: float, slack: float) -> float:
    Q = np.diagonal(Q, axis1=1, axis2=2)
    most = (np.maximum(Q, 0.0) * (1 + tolerance) + slack)[..., None] * np.diagonal(T)
    return float((np.abs(R) - np.sqrt(most)).max())


def _nonnegative(runs: list[_Run], tolerance: float) -> Finding:
    def lowest(r: _Run) -> float:
        return float((r.error / np.maximum(r.scale, np.finfo(float).tiny)).min())

    return _each("errors are not negative", runs, lowest, tolerance, "lowest")


def _each(law: str, runs: list[_Run], measure: Any, tolerance: float, what: str) -> Finding:
    try:
        value = min(measure(r) for r in runs)
    except np.linalg.LinAlgError:
        value = np.nan
    return Finding(law, value >= -tolerance, f"{what} {value:.3g}, allowed {-tolerance:.1g}")


def _consistent(runs: list[_Run], _tolerance: float) -> Finding:
    law, off = "errors follow from the overlaps", 0.0
    own = runs[0].activation
    if isinstance(own, Activation) and not own.is_here:
        return Finding(law, True, f"not checked: no file holds the functions of {own.name!r}")
    for r in runs:
        difference = np.abs(recomputed_errors(r) - r.error) / np.maximum(r.scale, 1e-300)
        off = max(off, float(difference.max()) if np.isfinite(difference).all() else np.inf)
    return Finding(law, off <= ROUNDING, f"largest difference {off:.3g}")


def _starts(runs: list[_Run], _tolerance: float) -> Finding:
    begun = [r for r in runs if r.start is not None]
    off = max((np.abs(r.Q[0] - r.start).max() / np.abs(r.start).max() for r in begun), default=0.0)
    return Finding("rows begin at the problem's state", off <= ROUNDING, f"Q differs by {off:.3g}")


def recomputed_errors(run: _Run) -> Any:
    """Generalization errors from the stored overlaps and readouts, shape (time, task)."""
    from odekit.systems.committee.packing import points_of

    points = points_of(run.problem, {}, derivatives=False)
    if is_general(run.problem):
        blocks = [np.stack(x, axis=-3) for x in zip(*run.blocks, strict=True)]
        rows = points.packed(blocks[0], blocks[1], run.readout, run.bias)
        return points.errors(rows[np.newaxis])[0]
    if not points.G:
        K, n = run.R.shape[1], len(run.Q)
        upper = np.triu_indices(K)
        rows = np.concatenate(
            [run.Q[:, upper[0], upper[1]], run.R.reshape(n, -1), run.readout.reshape(n, -1)], axis=1
        )
        return generalization_errors(rows, run.activation, run.T, run.u, run.heads, K)
    Q, R, _ = (np.stack(x, axis=-3) for x in zip(*run.blocks, strict=True))
    flat = np.array(
        [
            points.pack(q[None], r[None], v[None])[0]
            for q, r, v in zip(Q, R, run.readout, strict=True)
        ]
    )
    return points.errors(flat[np.newaxis])[0]
