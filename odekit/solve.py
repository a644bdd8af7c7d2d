"""From a problem to its labelled dataset: phases one after the other through scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.checkpoint import as_checkpoint
from odekit.errors import ProblemError
from odekit.options import SolverOptions, check_device, output_times
from odekit.problem import Problem
from odekit.run import Run

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
    """Integrate the order parameters of a problem.

    Parameters
    ----------
    problem : Problem
    t_eval : array_like, shape (rows,), optional
        Times of the rows, in units of steps/N, cumulative over the phases, strictly increasing.
        By default each phase has rows evenly spaced over short spans and logarithmically, from its
        start, over long ones, and one at its end.
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
        ``status, t_last, n_steps, n_rhs, n_jac, phase_end, phase_outcome, method``. If the run
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
    >>> run.generalization_error.sel(task="main").values.round(4)
    array([0.2746, 0.0004, 0.    ])
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
    total = float(sum(phase.duration for phase in problem.phases))
    times = None if t_eval is None else output_times("t_eval", t_eval, total)
    run = Run(problem, options, times, as_checkpoint(checkpoint, problem.to_dict()))
    return run.to_dataset(_progress(total) if progress else None)


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
