"""The slow stretches of a run, each with the fixed point that it passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count, positive, single
from odekit.base.status import Convergence
from odekit.dataset.common import sweep_dims
from odekit.dynamics.directions import Directions
from odekit.dynamics.escape import NONE, Escape, escape
from odekit.dynamics.guess import Patient, solved_to
from odekit.dynamics.many import PhasePoints
from odekit.dynamics.rest import rests
from odekit.dynamics.result import dataset, refuse_clashes
from odekit.integrate.run import Run
from odekit.measures.curves import trained_task
from odekit.measures.plateaus import plateau
from odekit.measures.rows import Rows, rows_of_run
from odekit.problem.axes import at, points

if TYPE_CHECKING:
    import xarray as xr

ROWS = 201
"""Rows in a stretch among which the slowest is looked for."""
SIZE = 0.15
TEXTS = {
    "phase": "phase of the plateau",
    "level": "error on the plateau",
    "start": "start of the plateau",
    "end": "end of the plateau",
    "start_time": "time of the slowest row, from which the search began",
    "deviation": "largest entry of the part of that row's deviation that grows",
    "escape_predicted": "time of escape by the eigenvalues",
    "escape_happened": "time of escape of the run",
}


def plateaus(
    run: xr.Dataset,
    *,
    task: str | None = None,
    phase: int | None = None,
    threshold: float = 0.1,
    contrast: float = 5.0,
    size: float = SIZE,
) -> xr.Dataset:
    """Every plateau of a run, in order, with the fixed point that it passes and its escape.

    Plateaus are those of `odekit.measures.plateau`; on each the search for a fixed point
    (`odekit.fixed_point`) begins at the slowest row. The part of that row's deviation that lies
    along growing directions, Σ_a c_a v_a, grows as Σ_a c_a v_a exp(λ_a t): the escape is when its
    largest entry is `size`, once by this prediction and once as it happened along the run.

    Parameters
    ----------
    run : Dataset
        What `odekit.solve` returned; over sweeps too. Its problem is solved again: rows do not
        matter.
    task : str, optional
        Whose error is looked at; by default the task that the phase trains.
    phase : int, optional
        By default all of them.
    threshold, contrast : float
        As in `odekit.measures.plateau`.
    size : float
        Distance at which a trajectory has escaped, as the largest entry of the state's growing
        part. At K = 2 the default is max R − min R = 0.3.

    Returns
    -------
    Dataset, dims (…, plateau)
        All of `odekit.fixed_point`, and

        ``phase``, ``level``, ``start``, ``end``
            of the plateau; `end` is NaN where the phase ends on it.
        ``start_time``
            of its slowest row.
        ``deviation``, ``escape_predicted``, ``escape_happened``
            size of the growing part at that row, and times of escape (NaN where nothing grows, or
            the phase ends first).

    Raises
    ------
    ProblemError
        If an argument breaks its rule, or the run cannot be solved again.

    Notes
    -----
    A deviation near the tolerance of the run says that rounding decides when it escapes. Finite
    networks leave a symmetric start by their own noise.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.4, 0.3], [0.3, 0.4]],
    ...                              R=[[0.301, 0.299], [0.299, 0.301]], T=[[1, 0], [0, 1]]),
    ...     heads={"main": [1.0, 1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0, 1.0])},
    ...     phases=[ok.Phase("main", duration=1000.0, learning_rate=0.5)],
    ... )
    >>> found = ok.plateaus(ok.solve(problem))
    >>> found.name.values.tolist(), found["index"].values.tolist()
    (['symmetric plateau'], [1])
    """
    limits = {"threshold": threshold, "contrast": contrast}
    reach = single(positive, "size", size)
    rows = rows_of_run("run", run)
    problem = rows.problem
    refuse_clashes([*rows.axes, *problem.system.sizes(problem)], ["plateau", *TEXTS])
    last = len(problem.phases) - 1
    chosen = range(last + 1) if phase is None else [count("phase", phase, most=last, least=0)]
    parts = []
    for index in chosen:
        name = trained_task(run, index, "plateaus") if task is None else task
        found = plateau(run, name, index, **limits)
        for number in range(found.sizes["plateau"]):
            parts.append(_passed(rows, index, found.isel(plateau=number), reach))
    constant = {*problem.system.constants(problem), *(n for n in run if str(n)[:8] == "problem_")}
    if parts:
        return _joined(parts, {str(n) for n in constant})
    none = _passed(rows, chosen[0], _nowhere(run), reach)
    return _joined([none], {str(n) for n in constant}).isel(plateau=slice(0))


def _passed(rows: Rows, index: int, stretch: xr.Dataset, size: float) -> xr.Dataset:
    """The fixed points that the runs pass in one stretch of a phase, and their escapes."""
    level, start, end = (rows.by_point(stretch[k], ()) for k in ("level", "start", "end"))
    begins = rows.begins(index)
    over = rows.by_point(rows.ds["phase_end"], ("phase_index",))[:, index]
    problem, options = rows.problem, rows.source.options
    slow = np.full(len(level), np.nan)
    own = PhasePoints(problem, rows.axes, index)
    state = np.full(own.size, np.nan)
    for i, (_, place) in enumerate(points(rows.axes)):
        if np.isfinite(level[i]):
            until = end[i] if np.isfinite(end[i]) else over[i]
            slow[i], state[i] = _slowest(own, at(problem, place), index, options, start[i], until)
    reached: Any = np.isfinite(slow)
    since = np.where(reached, slow - begins, 0.0)
    if not all(name in rows.ds for name in own.layout):
        own, since, there = solved_to(
            problem, rows.axes, index, np.where(reached, slow, 0), options
        )
        state, reached = own.start, reached & there
    status = np.where(reached, Convergence.CONVERGED, Convergence.NO_START).astype(np.int8)
    found = rests(own, since, state, status)
    gone = [NONE] * len(level)
    for k, i in enumerate(found.good):
        alone = Directions(*(part[k : k + 1] for part in found.found))
        row, last = (float(since[i]), state[i]), float(over[i] - begins[i])
        gone[i] = escape(own.equations[i], found.J[k], alone, found.y[i], row, last, size)
    words = {"phase": index, "plateaus": True, "size": size}
    ds = rows.restored(dataset(own, rows.axes, found, slow, words, False))
    return _told(ds, index, stretch, gone)


def _slowest(
    own: PhasePoints, problem: Any, index: int, options: Any, start: float, end: float
) -> tuple[float, Floats]:
    """Time and state of the row of a stretch at which a run moves slowest."""
    times = np.linspace(start, end, ROWS)
    cut = problem.replace(phases=problem.phases[: index + 1])
    run = Run(cut, options, times, None)
    run.integrate(Patient())
    t, y = np.array(run.t), np.array(run.y)
    if len(t) < 3:
        return float("nan"), np.full(own.size[1], np.nan)
    pace = np.abs(y[2:] - y[:-2]).max(axis=1) / (t[2:] - t[:-2])
    least = int(pace.argmin()) + 1
    # What rows do not show is not in them: it is solved for anew.
    shown = y[least] if y.shape[1] == own.size[1] else np.full(own.size[1], np.nan)
    return float(t[least]), shown


def _told(ds: xr.Dataset, index: int, stretch: xr.Dataset, gone: list[Escape]) -> xr.Dataset:
    """The dataset with what is said of each plateau."""
    dims, shape = ds["status"].dims, ds["status"].shape
    at_row, numbers = ds["start_time"].values, np.array(gone, dtype=float).reshape(*shape, 3)
    found = {
        "phase": np.full(shape, index, dtype=np.int32),
        "deviation": numbers[..., 0],
        "escape_predicted": at_row + numbers[..., 1],
        "escape_happened": at_row + numbers[..., 2],
        **{k: stretch[k].transpose(*dims).values for k in ("level", "start", "end")},
    }
    ds = ds.assign({name: (dims, values) for name, values in found.items()})
    for name, text in TEXTS.items():
        ds[name].attrs = {"long_name": text}
    return ds


def _joined(parts: list[xr.Dataset], constant: set[str]) -> xr.Dataset:
    """Plateaus of all phases along one dim, in order, those that some runs lack last."""
    import xarray as xr

    own = [p.drop_vars([n for n in constant if n in p]) for p in parts]
    whole = xr.concat(own, "plateau", data_vars="all", coords="minimal", compat="override",
                      join="outer", combine_attrs="override")  # fmt: skip
    lead = parts[0]["status"].dims
    whole = whole.transpose(*lead, "plateau", ...)
    if lead and len(parts) > 1:
        start = whole["start"].values
        order = xr.DataArray(np.argsort(start, axis=-1), dims=(*lead, "plateau"))
        most = int(np.isfinite(start).sum(axis=-1).max())
        whole = whole.isel(plateau=order).isel(plateau=slice(most)).transpose(*lead, "plateau", ...)
    return whole.assign({n: parts[0][n] for n in constant if n in parts[0]})


def _nowhere(run: xr.Dataset) -> xr.Dataset:
    """A stretch that no run has."""
    import xarray as xr

    dims = sweep_dims(run)
    missing = np.full([run.sizes[d] for d in dims], np.nan)
    return xr.Dataset(dict.fromkeys(("level", "start", "end"), (dims, missing)))
