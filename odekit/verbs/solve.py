"""From a problem to its labelled dataset."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Interrupts
from odekit.base.progress import PERCENT, Bar
from odekit.dataset.ended import warn_unless_completed
from odekit.dataset.result import Result, prepare
from odekit.integrate.compiling import announced
from odekit.integrate.device import choose as choose_device
from odekit.integrate.engine import run_alone, suits
from odekit.integrate.options import (
    ENGINE_METHODS,
    SolverOptions,
    check_device,
    output_times,
    warn_of_tolerance,
)
from odekit.integrate.run import Run
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.store.checkpoint import Checkpoint, as_checkpoint
from odekit.sweeps.grid import Grid, common_times
from odekit.sweeps.targets import MemoryTarget, ZarrTarget
from odekit.sweeps.workers import workers_of
from odekit.sweeps.workload import check_work

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike


def solve(
    problem: AnyProblem,
    *,
    t_eval: ArrayLike | None = None,
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
    store: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    executor: Any = None,
    threads: int | None = None,
    chunk_size: int | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Integrate the order parameters of a problem, or of every point of a sweep.

    Parameters
    ----------
    problem : Problem, LinearProblem, or one that `odekit.system` made
        Numbers in it that are an `xarray.DataArray` are swept over: their dims, other than the core
        dims of the dataset, become dims of the result, broadcast by name.
    t_eval : array_like, shape (rows,), optional
        Times of the rows, in units of steps/N, cumulative over the phases, strictly increasing.
        By default each phase has rows evenly spaced over short spans and logarithmically, from its
        start, over long ones, and one at its end. All runs of a sweep have the same times; rows
        that a run did not reach hold NaN.
    method : {"RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA", "Rodas5P"}, optional
        Integrator. None chooses by the case, and for every trajectory of a sweep: explicit, and
        implicit on the analytic Jacobian while the solution stands still. Single runs go through
        scipy (DOP853 and Radau); sweeps through compiled code (RK45 and Rodas5P) unless a method
        is named that only scipy has. The dataset's `method` says what ran.
    rtol, atol : float
        Relative and absolute tolerance of each step.
    device : {"cpu", "cuda", "auto"}
        Where a sweep's steps are taken. "auto" takes a CUDA device if there is one, for steps that
        enough trajectories take: explicit ones, and implicit ones of those that turn stiff.
    progress : bool
        Show progress in log time on stderr, and say when kernels are being compiled.
    max_step, first_step : float, optional
        As in `scipy.integrate.solve_ivp`.
    steady_state : float, optional
        End a phase once max |dy/dt| <= steady_state · max |y| and no mode grows faster.
    max_steps : int, optional
        Most accepted steps of all phases together (10⁷).
    max_seconds : float, optional
        Most seconds of wall-clock time for all of the call: set-up, compilation and every run of a
        sweep. A step, and a kernel that is being compiled, are first finished.
    checkpoint : path, float or Checkpoint, optional
        A folder, or an interval in seconds: leave there what a killed run needs to resume. A sweep
        leaves its finished chunks.
    store : path, optional
        A Zarr folder to be written, chunk by chunk, so that a sweep may be larger than memory; the
        dataset returned is opened lazily. Until complete it is made in ``STORE.part``, from which
        the same call resumes. Needs ``pip install 'odekit[sweep]'``.
    overwrite : bool
        Whether a store that is there may be replaced.
    executor : concurrent.futures.Executor or dask.distributed.Client, optional
        Where to compute the chunks of a sweep; in this process by default. Pools of processes must
        spawn them. Results are bitwise the same.
    threads : int, optional
        Threads for each chunk: by default all cores of this process, those of a Dask worker, or
        for a pool this machine's cores shared out.
    chunk_size : int, optional
        Trajectories in a chunk of a sweep, at most. By default some seconds of work, as a short
        pilot finds.
    attrs : mapping, optional
        Texts and numbers for the attributes of the dataset.

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
        If the checkpoint, or the ``.part`` of the store, belongs to another problem or is damaged.
    StoreError
        If the store cannot be written.
    SweepError
        If no chunk at all could be computed by the executor.

    Warns
    -----
    NotCompletedWarning
        Once, if any run did not complete; with how many of each status, and what to do. Silence it
        with ``warnings.simplefilter("ignore", odekit.NotCompletedWarning)``.
    CheckpointWarning
        If a checkpoint cannot be written: the run goes on without it.

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
    begin = time.monotonic()
    if not isinstance(problem, AnyProblem):
        rule = "must be a Problem, a LinearProblem, or made by odekit.system(...).problem"
        raise ProblemError("problem", rule, repr(problem)[:80], "")
    options = SolverOptions(
        device=device,
        method=method,
        rtol=rtol,
        atol=atol,
        max_step=max_step,
        first_step=first_step,
        steady_state=steady_state,
        max_seconds=max_seconds,
        **({} if max_steps is None else {"max_steps": max_steps}),
    )
    found = axes(problem)
    sizes = {dim: size for dim, (size, _) in found.items()}
    problem.system.check_flow(problem)
    check_work(problem, options, sizes)
    total = float(np.max(np.asarray(sum(phase.duration for phase in problem.phases))))
    times = None if t_eval is None else output_times("t_eval", t_eval, total)
    solver = options.to_dict() | ({} if times is None else {"t_eval": times.tolist()})
    result = prepare(problem, ("odekit_solver", solver), attrs=attrs)
    saved = as_checkpoint(checkpoint, result.attrs["odekit_problem_sha256"])
    if saved is not None and store is not None:
        remedy = "Leave it out: an unfinished store is its own checkpoint."
        raise ProblemError("checkpoint", "must not be given with a store", repr(store), remedy)
    for name, value in (("threads", threads), ("chunk_size", chunk_size)):
        if value is not None:
            count(name, value, most=2**31)
    workers = workers_of(executor, threads)
    check_device(options, bool(found))
    warn_of_tolerance(options)
    if executor is None and found and device == "cuda":
        choose_device(device, 1)
    if not found:
        with announced():
            ds = _single(problem, options.since(begin), times, saved, result, progress)
        ds = ds if store is None else _stored(ds, store, overwrite)
        warn_unless_completed(ds)
        return ds
    rows = common_times(problem, found) if times is None else times
    target = (
        MemoryTarget(result, rows, sizes, saved)
        if store is None
        else ZarrTarget(result, rows, sizes, store, overwrite)
    )
    grid = Grid(
        problem, sizes, options, rows, target, workers, threads, chunk_size, progress, begin
    )
    with Interrupts() as interrupts, announced():
        ds = grid.run(interrupts)
    warn_unless_completed(ds)
    return ds


def _single(
    problem: AnyProblem,
    options: SolverOptions,
    times: Floats | None,
    saved: Checkpoint | None,
    result: Result,
    progress: bool,
) -> xr.Dataset:
    """One trajectory, through scipy."""
    if options.method in ENGINE_METHODS:
        return _alone(problem, options, times, saved, result)
    total = float(sum(phase.duration for phase in problem.phases))
    show = _progress(total) if progress else None
    with Interrupts() as interrupts:
        arrays = Run(problem, options, times, saved).integrate(interrupts, show)
    if show is not None:
        show(total if arrays["status"] == 0 else arrays["t_last"])
    return result.dataset(arrays, arrays.pop("time"))


def _alone(
    problem: AnyProblem,
    options: SolverOptions,
    times: Floats | None,
    saved: Checkpoint | None,
    result: Result,
) -> xr.Dataset:
    """One trajectory, by a method that scipy does not have."""
    if saved is not None or not suits(problem, options):
        raise ProblemError(
            "method",
            "must be one of scipy's for a run with a checkpoint, or that has no lanes",
            repr(options.method),
            "Take 'Radau', or leave `method` out.",
        )
    rows = common_times(problem, {}) if times is None else times
    with Interrupts() as interrupts:
        arrays = run_alone(problem, options, rows, interrupts)
    return result.dataset(arrays, arrays.pop("time"))


def _stored(ds: xr.Dataset, path: str | os.PathLike[str], overwrite: bool) -> xr.Dataset:
    """A dataset written to a Zarr folder, and opened."""
    from odekit.store import kept
    from odekit.store import netcdf as store

    return store.open(kept.save_or_keep(ds, path, overwrite))


def _progress(total: float) -> Callable[[float], None]:
    """A bar on stderr that moves in log time."""
    bar = Bar(True, **PERCENT)
    scale = 100.0 / np.log1p(total)

    def show(t: float) -> None:
        bar.update(scale * np.log1p(t) - bar.n)
        if t >= total:
            bar.close()

    return show
