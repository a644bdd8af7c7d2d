"""What must hold in any one result, checked row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.dataset import check
from odekit.errors import OdekitError, ProblemError
from odekit.linear import LinearProblem
from odekit.linearlaws import linear_laws
from odekit.problem import Problem
from odekit.provenance import problem_of
from odekit.state import joint

if TYPE_CHECKING:
    import xarray as xr

ROUNDING = 1e-11
"""Deviation allowed to rounding, relative to the size of the terms that cancel."""
DEFAULT_RTOL = 1e-8
PER_RTOL = 100.0
"""Deviation allowed to the solver, in units of its tolerance: errors add up over a run."""


@dataclass(frozen=True)
class Verdict:
    """One law and whether it holds."""

    law: str
    holds: bool
    found: str


def validate(ds: xr.Dataset) -> list[Verdict]:
    """Check a result against its schema and the laws that a single file can show.

    Parameters
    ----------
    ds : Dataset
        What `odekit.solve` or `odekit.open` returned.

    Returns
    -------
    list of Verdict
        Schema; times increase; all values finite up to the end of each run; Q symmetric; the joint
        covariance positive semidefinite in every row; errors not negative, and equal to those
        recomputed from the overlaps; the rows begin at the problem's state.
    """
    faults = check(ds)
    verdicts = [Verdict("schema", not faults, "; ".join(faults) or "every variable as registered")]
    if faults:
        return verdicts
    time = ds.time.values
    least = float(np.diff(time).min(initial=np.inf))
    verdicts.append(Verdict("times increase", least > 0, f"smallest step {least:.3g}"))
    try:
        problem = Problem.from_dict(problem_of(ds))
    except (OdekitError, KeyError, TypeError) as error:
        return [*verdicts, Verdict("problem", False, str(error))]
    if isinstance(problem, LinearProblem):
        found = linear_laws(ds, problem, PER_RTOL * _rtol(ds))
        return verdicts + [Verdict(*finding) for finding in found]
    assert isinstance(problem, Problem)
    runs = list(_runs(ds, problem))
    if not runs:
        return [*verdicts, Verdict("runs", False, "the file holds no run")]
    tolerance = PER_RTOL * _rtol(ds)
    laws = (_finite, _symmetric, _semidefinite, _nonnegative, _consistent, _starts)
    return verdicts + [law(runs, tolerance) for law in laws]


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
    activation: str
    start: Any
    """Initial Q, or None if the first row is at a later time."""

    @property
    def scale(self) -> Any:
        """Size of the terms that make up each error, shape (time, task)."""
        v = np.abs(self.readout[:, self.heads]).sum(axis=-1)
        largest = np.abs(self.Q).max(axis=(1, 2)) + np.abs(self.T).max()
        bound = 1.0 if self.activation == "erf" else largest[:, None]
        return 0.5 * (v + np.abs(self.u).sum(axis=-1)) ** 2 * bound


def _runs(ds: xr.Dataset, problem: Problem) -> Iterator[_Run]:
    sweep = [str(d) for d in ds.status.dims]
    names = ds.task.values.tolist()
    heads = ds["head"].values.tolist()
    index = np.array([heads.index(problem.head_of(t)) for t in names])
    for place in np.ndindex(*(ds.sizes[d] for d in sweep)):
        at = dict(zip(sweep, place, strict=True))
        one = ds.isel(at)
        rows = np.flatnonzero(one.time.values <= float(one.t_last))
        if not rows.size:
            continue
        part = one.isel(time=rows)
        arrays = {n: part[n].values for n in ("Q", "R", "T", "readout")}
        u = np.array([np.asarray(_at(problem.tasks[t].readout, at)) for t in names])
        start = np.asarray(_at(problem.state.Q, at)) if part.time.values[0] == 0 else None
        yield _Run(
            **arrays,
            error=part.generalization_error.values,
            u=u,
            heads=index,
            activation=problem.activation,
            start=start,
        )


def _at(value: Any, place: dict[str, int]) -> Any:
    dims = getattr(value, "dims", ())
    return value.isel({d: i for d, i in place.items() if d in dims}) if dims else value


def _rtol(ds: xr.Dataset) -> float:
    try:
        options = json.loads(ds.attrs.get("odekit_solver", "{}"))
        return float(options.get("rtol", DEFAULT_RTOL))
    except (TypeError, ValueError, AttributeError):
        return DEFAULT_RTOL


def _finite(runs: list[_Run], _tolerance: float) -> Verdict:
    bad = sum(int((~np.isfinite(a)).sum()) for r in runs for a in (r.Q, r.R, r.readout, r.error))
    return Verdict("values are finite", bad == 0, f"{bad} NaN or infinite")


def _symmetric(runs: list[_Run], _tolerance: float) -> Verdict:
    off = max(float(np.abs(r.Q - np.swapaxes(r.Q, 1, 2)).max()) for r in runs)
    return Verdict("Q is symmetric", off == 0, f"largest difference {off:.3g}")


def _semidefinite(runs: list[_Run], tolerance: float) -> Verdict:
    def lowest(r: _Run) -> float:
        T = np.broadcast_to(r.T, (len(r.Q), *r.T.shape))
        eigenvalues = np.linalg.eigvalsh(joint(r.Q, r.R, T))
        return float((eigenvalues[:, 0] / np.abs(eigenvalues).max(axis=1)).min())

    return _each("overlaps are positive semidefinite", runs, lowest, tolerance, "lowest eigenvalue")


def _nonnegative(runs: list[_Run], tolerance: float) -> Verdict:
    def lowest(r: _Run) -> float:
        return float((r.error / np.maximum(r.scale, np.finfo(float).tiny)).min())

    return _each("errors are not negative", runs, lowest, tolerance, "lowest")


def _each(law: str, runs: list[_Run], measure: Any, tolerance: float, what: str) -> Verdict:
    try:
        value = min(measure(r) for r in runs)
    except np.linalg.LinAlgError:
        value = np.nan
    return Verdict(law, value >= -tolerance, f"{what} {value:.3g}, allowed {-tolerance:.1g}")


def _consistent(runs: list[_Run], _tolerance: float) -> Verdict:
    off = 0.0
    for r in runs:
        difference = np.abs(recomputed_errors(r) - r.error) / np.maximum(r.scale, 1e-300)
        off = max(off, float(difference.max()) if np.isfinite(difference).all() else np.inf)
    return Verdict(
        "errors follow from the overlaps", off <= ROUNDING, f"largest difference {off:.3g}"
    )


def _starts(runs: list[_Run], _tolerance: float) -> Verdict:
    begun = [r for r in runs if r.start is not None]
    off = max((np.abs(r.Q[0] - r.start).max() / np.abs(r.start).max() for r in begun), default=0.0)
    return Verdict("rows begin at the problem's state", off <= ROUNDING, f"Q differs by {off:.3g}")


def recomputed_errors(run: _Run) -> Any:
    """Generalization errors from the stored overlaps and readouts, shape (time, task)."""
    from odekit_kernels import committee, moments
    from odekit_kernels.work import make_work

    K, P = run.R.shape[1:]
    H, S = run.readout.shape[1], len(run.heads)
    codes = {"erf": moments.ERF, "linear": moments.LINEAR, "relu": moments.RELU}
    if run.activation not in codes:
        raise ProblemError("activation", "must be known", run.activation, "")
    upper = np.triu_indices(K)
    n = len(run.Q)
    rows = np.concatenate(
        [run.Q[:, upper[0], upper[1]], run.R.reshape(n, -1), run.readout.reshape(n, -1)], axis=1
    )
    out, work = np.empty((n, S)), make_work(K, P, H, S)
    T, u = np.ascontiguousarray(run.T), np.ascontiguousarray(run.u)
    heads = np.asarray(run.heads, dtype=np.int64)
    for row, into in zip(np.ascontiguousarray(rows), out, strict=True):
        committee.errors(row, codes[run.activation], T, u, heads, work, into)
    return out
