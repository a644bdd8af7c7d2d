"""From a problem to its labelled dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.checkpoint import as_checkpoint
from odekit.dataset import assemble, provenance
from odekit.errors import ProblemError
from odekit.grid import run_grid
from odekit.interrupts import Interrupts
from odekit.layout import CommitteeLayout
from odekit.options import SolverOptions, check_device, output_times
from odekit.problem import Problem
from odekit.run import Run
from odekit.stepper import Floats
from odekit.sweep import axes

if TYPE_CHECKING:
    import xarray as xr


def solve(
    problem: Problem,
    *,
    t_eval: Any = None,
    method: str | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-11,
    device: str = "cpu",
    progress: bool = False,
    max_step: float = np.inf,
    first_step: float | None = None,
    steady_state: float | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    checkpoint: Any = None,
) -> xr.Dataset:
    """Integrate the order parameters of a problem, or of every point of a sweep.

    Parameters
    ----------
    problem : Problem
        Numbers in it that are `xarray.DataArray`s are swept over: their dims, other than the core
        dims of the dataset, become dims of the result, broadcast by name.
    t_eval : array_like, shape (rows,), optional
        Times of the rows, in units of steps/N, cumulative over the phases, strictly increasing.
        By default each phase has rows evenly spaced over short spans and logarithmically, from its
        start, over long ones, and one at its end. All runs of a sweep have the same times; rows
        that a run did not reach hold NaN.
    method : {"RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA"}, optional
        Integrator. None chooses by the case: explicit (DOP853), and implicit (Radau) on the
        analytic Jacobian while the solution stands still. The dataset's `method` says what ran.
    rtol, atol : float
        Relative and absolute tolerance of each step.
    device : {"cpu", "auto"}
    progress : bool
        Show progress in log time on stderr.
    max_step, first_step : float, optional
        As in `scipy.integrate.solve_ivp`.
    steady_state : float, optional
        End a phase once max |dy/dt| <= steady_state · max |y| and no mode grows faster.
    max_steps : int, optional
        Most accepted steps of all phases together (10⁷).
    max_seconds : float, optional
        Most seconds of wall-clock time.
    checkpoint : path, float or Checkpoint, optional
        A folder, or an interval in seconds: leave there what a killed run needs to resume.

    Returns
    -------
    xarray.Dataset
        Dims ``time, student, student_other, teacher, teacher_other, head, task, phase_index``;
        variables ``Q, R, T, readout, generalization_error, phase`` and, of the run as a whole,
        ``status, t_last, n_steps, n_rhs, n_jac, phase_end, phase_outcome, method``. Dims of a
        sweep come before all of these. If a run
        stopped early, `status` says why (`odekit.Status` has the remedy), and the rows up to there
        are kept, the last one at `t_last`.

    Raises
    ------
    ProblemError
        If an argument breaks its rule; nothing has been computed then.
    CheckpointError
        If the checkpoint belongs to another problem or is damaged.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=20.0, learning_rate=1.0)],
    ... )
    >>> run = ok.solve(problem, t_eval=[0.0, 10.0, 20.0])
    >>> run.generalization_error.sel(task="main").values.round(3)
    array([0.275, 0.001, 0.   ])
    """
    if not isinstance(problem, Problem):
        raise ProblemError("problem", "must be a Problem", repr(problem)[:80], "")
    check_device(device)
    options = SolverOptions(
        method=method,
        rtol=rtol,
        atol=atol,
        max_step=max_step,
        first_step=first_step,
        steady_state=steady_state,
        max_seconds=max_seconds,
        **({} if max_steps is None else {"max_steps": max_steps}),
    )
    total = float(np.max(np.asarray(sum(phase.duration for phase in problem.phases))))
    times = None if t_eval is None else output_times("t_eval", t_eval, total)
    saved = as_checkpoint(checkpoint, problem.to_dict())
    found = axes(problem)
    with Interrupts() as interrupts:
        if found:
            arrays, coords = run_grid(problem, found, options, times, saved, interrupts, progress)
        else:
            show = _progress(total) if progress else None
            arrays = Run(problem, options, times, saved).integrate(interrupts, show)
            coords = {}
            if show is not None:
                show(total if arrays["status"] == 0 else arrays["t_last"])
    return label(problem, options, times, arrays, coords, tuple(found))


def label(
    problem: Problem,
    options: SolverOptions,
    times: Floats | None,
    arrays: dict[str, Any],
    coords: dict[str, Any],
    sweep: tuple[str, ...],
) -> xr.Dataset:
    """The dataset of arrays by name, with what it takes to make it again."""
    attrs = provenance(problem.to_dict())
    solver = options.to_dict()
    if times is not None:
        solver["t_eval"] = times.tolist()
    attrs["odekit_solver"] = json.dumps(solver, sort_keys=True)
    labels = {"time": arrays.pop("time"), "head": list(problem.heads), "task": list(problem.tasks)}
    arrays = {**arrays, **CommitteeLayout.constants(problem)}
    return assemble(arrays, {**labels, **coords}, attrs, sweep=sweep)


def _progress(total: float) -> Callable[[float], None]:
    """A bar on stderr that moves in log time."""
    import tqdm

    bar = tqdm.tqdm(total=100.0, unit="%", bar_format="{l_bar}{bar}| [{elapsed}<{remaining}]")
    scale = 100.0 / np.log1p(total)

    def show(t: float) -> None:
        bar.update(scale * np.log1p(t) - bar.n)
        if t >= total:
            bar.close()

    return show
