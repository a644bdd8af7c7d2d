"""SGD in finite dimensions, answered with the dataset of the theory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import count, positive
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Interrupts, Stop
from odekit.base.progress import PERCENT, Bar
from odekit.base.status import Status
from odekit.dataset.assemble import variables_of
from odekit.dataset.common import REPLICA
from odekit.dataset.ended import warn_unless_completed
from odekit.dataset.result import prepare
from odekit.dataset.simulated import SIMULATION
from odekit.integrate.compiling import announced
from odekit.integrate.options import output_times
from odekit.problem.axes import Axis, at, points
from odekit.problem.base import AnyProblem
from odekit.sweeps.grid import common_times

if TYPE_CHECKING:
    import xarray as xr

    from odekit.training.course import Trajectory

POLL = 0.1
UNREACHED = {"status": int(Status.INTERRUPTED), "phase": -1}
"""What integer variables hold for networks, or rows, that were not reached."""


def simulate(
    problem: AnyProblem,
    *,
    input_dim: int | None = None,
    seed: int,
    t_eval: Any = None,
    replicas: int | None = None,
    inputs: Any = None,
    labels: Any = None,
    preprocess: str = "none",
    fisher_samples: int | None = None,
    check_every: float = 0.1,
    max_seconds: float | None = None,
    threads: int | None = None,
    device: str = "cpu",
    method: str | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Train the network itself by online SGD on fresh samples, beside the theory of `solve`.

    Weights are drawn that have exactly the overlaps of the problem's state (`realise`); then every
    step draws `batch_size` inputs x ~ N(0, I_N) and descends the squared error on their labels,

        w_k += (η_w/√N) v_k g'(λ_k) δ x,      v_k += (η_v/N) g(λ_k) δ,      t = steps/N,

    and b_k += (η_b/N) v_k g'(λ_k) δ where units have biases.

    Of Gaussian inputs a step sees the D = K + P local fields and the length of the rest alone, so
    that the overlaps and readouts are a Markov chain by themselves. By default it is that chain
    which is drawn, of the same law as SGD at every N, and at a cost that does not grow with N.

    The result has the variables, dims and times of `solve`, so that ``run - sim`` is the
    difference. A phase with ``gradient_flow=True`` is simulated at its learning rate as it stands:
    the theory leaves out what is of second order in it.

    Parameters
    ----------
    problem : Problem
        Labelled arrays in it are swept over, as by `solve`. Every point of a sweep has the same
        random numbers, so that each equals the simulation of that point alone.
    input_dim : int
        N, at least the rank of the initial overlaps, or for overlaps the number of units, fixed
        vectors and copies. With `inputs` it is their number of features.
    seed : int
    t_eval : array_like, shape (rows,), optional
        Times of the rows, as for `solve`; a row is taken at the nearest step.
    replicas : int, optional
        Number of networks, each with random numbers of its own; they become the dim ``replica``,
        after those of a sweep.
    inputs : array_like, shape (samples, features), or dict of task to array_like, optional
        Draw inputs from these, with replacement, in place of Gaussian ones.
    labels : array_like, shape (samples,), or dict of task to array_like, optional
        Labels of these inputs, with an axis of outputs last if the problem has one; by default the
        fixed vectors give them. The task's noise is added.
    preprocess : {"none", "standardise", "whiten"}
        What is done to the inputs of all tasks together: see `odekit.inputs`.
    fisher_samples : int, optional
        Take the diagonal Fisher information of a consolidation, one number for each weight, and
        the E[g²] of its readouts, from so many samples in place of the closed form. By default
        Gaussian inputs use the closed form and given ones as many samples as there are.
    check_every : float
        Time, in steps/N, between looks at the thresholds of `until`. It is the error in terms of
        the overlaps that is looked at, or with `inputs` that over the samples.
    max_seconds : float, optional
        Most seconds of wall-clock time: then all networks stop between two steps, with the rows
        that they have and the status ``time_budget``.
    threads : int, optional
        Networks trained at a time; by default as many as there are processors. The result does not
        depend on it.
    device : {"cpu", "cuda"}
        Where the steps are taken. A GPU pays off for many networks of many inputs; it gives the
        weights of the CPU to rounding.
    method : {"overlaps", "weights"}, optional
        What is kept of a network: its overlaps and readouts, or all its weights. By default the
        overlaps, and weights where these are needed: with `inputs`, `fisher_samples`, on a GPU, in
        fewer dimensions than there are vectors, or for structured inputs, several outputs, biases,
        dropout, momentum and normalised rates. The dataset's `odekit_simulation` says which.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    xarray.Dataset
        As from `solve`. `T` and the initial overlaps are the problem's; `generalization_error` is
        that of the overlaps. With `inputs` there is besides `test_error`, measured over the
        samples, and with `labels` `generalization_error` is the same. `n_steps` counts steps of
        SGD.

    Raises
    ------
    ProblemError
        If an argument breaks its rule; nothing has been computed then.

    Warns
    -----
    NotCompletedWarning
        Once, if any network did not complete.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=5.0, learning_rate=1.0)],
    ... )
    >>> sim = ok.simulate(problem, input_dim=500, seed=0, replicas=3)
    >>> dict(sim.R.sizes)
    {'replica': 3, 'time': 101, 'student': 1, 'teacher': 1}
    """
    if not isinstance(problem, AnyProblem):
        raise ProblemError("problem", "must be a Problem", repr(problem)[:80], "")
    twin = problem.system.simulation()
    total = float(np.max(np.asarray(sum(phase.duration for phase in problem.phases))))
    experiment = twin.experiment(
        problem,
        input_dim=input_dim,
        times=None if t_eval is None else output_times("t_eval", t_eval, total),
        check_every=float(positive("check_every", check_every)),
        inputs=inputs,
        labels=labels,
        preprocess=preprocess,
        fisher_samples=fisher_samples,
        device=device,
        method=method,
    )
    seeds = np.random.SeedSequence(count("seed", seed, most=2**128, least=0)).spawn(
        1 if replicas is None else count("replicas", replicas, most=2**20)
    )
    workers = count("threads", (os.cpu_count() or 1) if threads is None else threads, most=2**16)
    words = {"seed": int(seed), "replicas": replicas, **experiment.words}
    more = {} if replicas is None else {REPLICA: (len(seeds), np.arange(len(seeds)))}
    result = prepare(
        problem,
        (SIMULATION, {k: v for k, v in words.items() if v is not None}),
        experiment.source,
        more_axes=more,
    )
    seconds = None if max_seconds is None else float(positive("max_seconds", max_seconds))
    how = twin.together(experiment)
    train = partial(_train, workers=workers, how=how, progress=progress, seconds=seconds)
    if result.axes:
        arrays = _train_all(problem, result.axes, experiment, seeds, twin, train)
    else:
        arrays = train(twin.courses(problem, experiment, seeds))[0]
    ds = result.dataset(arrays, arrays.pop("time"))
    warn_unless_completed(ds)
    return ds


def _train_all(
    problem: AnyProblem,
    found: Mapping[str, Axis],
    experiment: Any,
    seeds: Sequence[np.random.SeedSequence],
    twin: Any,
    train: Callable[[list[Trajectory]], list[Any]],
) -> dict[str, Any]:
    """Every network of every point of a sweep, on one time axis."""
    times = experiment.times
    if times is None:
        times = common_times(problem, {d: a for d, a in found.items() if d != REPLICA})
    experiment = replace(experiment, times=times)
    networks = [
        network
        for _, index in points({d: a for d, a in found.items() if d != REPLICA})
        for network in twin.courses(at(problem, index), experiment, seeds)
    ]
    places = [place for place, _ in points(found)]  # replicas are the last dim
    table: dict[str, Any] = {"time": times}
    shape, known = tuple(size for size, _ in found.values()), variables_of(problem)
    timed = {name for name, variable in known.items() if "time" in variable.dims}
    for place, arrays in zip(places, train(networks), strict=True):
        if arrays is not None:
            _put(table, timed, shape, place, arrays)
    return table


def _put(
    table: dict[str, Any],
    timed: set[str],
    shape: tuple[int, ...],
    place: tuple[int, ...],
    arrays: dict[str, Any],
) -> None:
    """Write the variables of one network; rows that it did not reach stay NaN."""
    times, t = table["time"], arrays.pop("time")
    rows = np.searchsorted(times, t)
    # A network that stopped early has one more row, at a time of its own.
    kept = times[np.minimum(rows, times.size - 1)] == t
    for name, value in arrays.items():
        array = np.asarray(value)
        if name not in table:
            core = (times.size, *array.shape[1:]) if name in timed else array.shape
            empty: Any = np.nan if array.dtype.kind == "f" else UNREACHED.get(name, 0)
            table[name] = np.full((*shape, *core), empty, dtype=array.dtype)
        if name in timed:
            table[name][(*place, rows[kept])] = array[kept]
        else:
            table[name][place] = array


def _train(
    networks: Sequence[Trajectory],
    workers: int,
    how: tuple[int | None, Any],
    progress: bool,
    seconds: float | None,
) -> list[Any]:
    """Train networks, and return the arrays of each, or None where it never began.

    In so many threads, each with as many networks as go together, while this one waits for signals.
    """
    size, group = how[0] or len(networks), how[1]
    crews = [networks[i : i + size] for i in range(0, len(networks), size)]
    bar = Bar(progress, **PERCENT)
    with Interrupts() as interrupts, announced(), ThreadPoolExecutor(workers) as pool:
        stop = Stop(interrupts, seconds)

        def job(i: int) -> list[Any]:
            crew = crews[i]
            return list(group(crew, stop)) if i == 0 or not stop.asked else [None] * len(crew)

        jobs: list[Future[Any]] = [pool.submit(job, i) for i in range(len(crews))]
        left: Any = jobs
        # Signals reach the main thread, between two waits.
        while left:
            _, left = wait(left, POLL, FIRST_EXCEPTION)
            if any(f.done() and f.exception() for f in jobs):
                interrupts.asked = True
            bar.update(100.0 * sum(n.progress for n in networks) / len(networks) - bar.n)
    bar.close()
    return [arrays for f in jobs for arrays in f.result()]
