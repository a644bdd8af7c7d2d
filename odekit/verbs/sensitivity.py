"""Derivatives of what a run ends with, or passes through, by the numbers of its problem."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import choice, count, flag
from odekit.base.cores import cores
from odekit.base.errors import ProblemError, Unreached
from odekit.base.interrupts import Interrupts
from odekit.base.status import Status
from odekit.dataset.common import COMMON
from odekit.dataset.ended import warn_unless_completed
from odekit.dataset.result import Result, prepare
from odekit.integrate.compiling import announced
from odekit.integrate.options import SolverOptions, check_integrator, output_times
from odekit.problem.axes import at
from odekit.problem.axes import points as grid_of
from odekit.problem.base import AnyProblem
from odekit.sweeps.pointwise import each_point

if TYPE_CHECKING:
    import xarray as xr

METHODS = ("forward", "adjoint")
PARAMETER = "parameter"
"""Dim of a list of names."""


def sensitivity(
    problem: AnyProblem,
    *,
    of: str | Sequence[str],
    wrt: str | Sequence[str],
    t_eval: Any = None,
    method: str | None = None,
    integrator: str | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-11,
    max_steps: int = 1_000_000,
    estimate: bool = True,
    threads: int | None = None,
) -> xr.Dataset:
    """Derivatives through a run: of errors, order parameters and times, by numbers of the problem.

    Through everything a run may have: switches of phases, copied heads, consolidation, thresholds,
    tables of any number of a phase. What is differentiated are the steps that were taken, and these
    are kept below the stability limit, where error control does not see that derivatives are lost.

    Parameters
    ----------
    problem : Problem
        Of erf or linear units, or of ReLU in gradient flow; with any inputs, outputs, biases,
        dropout, momentum. Over sweeps one gradient a point.
    of : str or sequence of str
        ``"generalization_error"``, ``"integrated_error"`` (∫ε dt since the beginning), ``"Q"``,
        ``"R"``, with groups of inputs ``"Q_group"`` and ``"R_group"``, ``"readout"``, ``"bias"``,
        ``"misclassification"`` of one unit, or ``"phase_end"``, the time at which phases end, and
        ``"phase_end_error"``, the errors there; of the measures of `odekit.measures`
        ``"forgetting"`` and ``"transfer"`` since the second phase began, ``"overlap_cosine"``,
        ``"student_cosine"``, ``"activation_entropy"``, ``"readout_entropy"``,
        ``"contribution_entropy"``, ``"imbalance"``; or an entry, as
        ``"generalization_error[main]"``, ``"R[0, 1]"``, ``"phase_end[0]"``, ``"forgetting[a]"``.
        Of a whole curve ``"generalization_error[main].mean"`` (of errors, forgetting, transfer),
        ``"R[0, 1].maximum"``, ``"R[0, 0].escape_time(0.5)"``, ``"R[0, 0].hitting_time(1, 0.01)"``,
        as `odekit.measures` has them, between rows. ``".log10"`` after errors or the state is
        their logarithm, ``"forgetting[a].log10"`` the difference of two.
    wrt : str or sequence of str
        Numbers by their names: ``"phases[0].learning_rate"``, ``"phases[0].learning_rate.values"``
        and ``"phases[0].tasks[a].times"`` of tables, ``"phases[1].duration"``,
        ``"phases[0].until"``, ``"phases[0].tasks[a]"``, ``"phases[1].consolidation.strength"``,
        ``"phases[0].keep_probability"``, ``"phases[0].noise_std[a]"``, ``"test_scale"``,
        ``"tasks[a].noise_std"``, ``"tasks[a].input_variance[group]"``, ``"tasks[a].readout"``,
        ``"heads[a]"``, ``"state.R"``, ``"state.Q[0, 1]"``. With a probability the others change in
        proportion, with an entry of Q or T its mirror.
    t_eval : array_like, optional
        Cumulative times, units of steps/N, at which derivatives are wanted: at these times, however
        long phases last. By default at the end of the run, wherever it moves.
    method : {"forward", "adjoint"}, optional
        Carry derivatives of the state along (any number of rows, up to some hundred parameters), or
        go back from every number that is asked for (any number of parameters). By default what is
        cheaper; the attribute ``sensitivity_method`` says which. They agree to rounding.
    integrator : {"DOP853", "RK45", "Radau"}, optional
        By default DOP853, and Radau where the solution stands still, as `odekit.solve` changes
        between them: explicit steps have to stay below the stability limit all the way to the end.
    rtol, atol : float
        Tolerances of the steps.
    max_steps : int
        Most of them.
    estimate : bool
        Whether to find how far off derivatives may be: by those of coarser steps, at twice the
        cost.
    threads : int, optional
        Of a sweep; by default as many as there are cores. Results do not depend on them.

    Returns
    -------
    Dataset
        For each name of `of` a variable of that name (``R_0_1`` of ``"R[0, 1]"``,
        ``generalization_error_main`` of ``"generalization_error[main]"``), its derivative ``d_…``,
        and ``d_…_error``, the difference to the derivative along steps of a hundred times the
        tolerances that are by half longer at the stability limit (in lanes of the tolerances, where
        derivatives are those of steps of a hundredth of them): above the error in practice, and no
        proof. The dims of
        the derivative are those of the sweep, ``time`` (with `t_eval`), those of the quantity, and
        then those of the number: of one name in `wrt` its own (``knot`` for tables; ``…_wrt`` where
        the quantity has the same), of several the dim ``parameter``, labelled with the name of
        every single number.
        NaN at times that the run did not reach. ``n_steps`` counts the steps. Of a sweep
        ``status`` says how each run ended: points that failed, or that Ctrl-C left undone, are NaN.

    Raises
    ------
    ProblemError
        If a name is none, or has no derivative: draws, counts and choices, cubic tables of
        probabilities among three tasks, activations whose moments are found by quadrature; or if
        the run does not reach its end, and it is no sweep.

    Notes
    -----
    Saad & Rattray 1997, doi:10.1103/PhysRevLett.79.2578, for optimal learning rates by variation.
    Derivatives by probabilities, readouts and overlaps need not be of valid directions: an overlap
    is moved as if the others could stay.

    Large sweeps go in lanes (docs/gradients.md), where errors of derivatives are controlled as
    those of the state; what cannot, and points in doubt, go one by one. Both are within the
    tolerance of a single problem's derivatives.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=5.0, learning_rate=1.0)],
    ... )
    >>> found = ok.sensitivity(
    ...     problem, of="generalization_error[main]", wrt="phases[0].learning_rate")
    >>> round(float(found.d_generalization_error_main), 6)
    -0.023317
    """
    if not isinstance(problem, AnyProblem):
        raise ProblemError("problem", "must be a Problem", repr(problem)[:80])
    quantities, names = _names("of", of), _names("wrt", wrt)
    if method is not None:
        choice("method", method, METHODS)
    check_integrator(integrator)
    options = SolverOptions(rtol=rtol, atol=atol, max_steps=max_steps)
    most = count("max_steps", max_steps, most=2**40)
    keep = flag("estimate", estimate)
    if threads is not None:
        count("threads", threads, most=2**31)
    total = float(np.max(np.asarray(sum(phase.duration for phase in problem.phases))))
    times = None if t_eval is None else output_times("t_eval", t_eval, total)
    tools = problem.system.sensitivities()
    how = tools.Accuracy(integrator, options.rtol, options.atol, max_steps=most)
    words = {
        "of": quantities, "wrt": names, "method": method, "integrator": integrator, "rtol": rtol,
        "atol": atol, "t_eval": None if times is None else times.tolist(),
    }  # fmt: skip
    source = "derivatives of ordinary differential equations"
    result = prepare(problem, ("odekit_sensitivity", words), source)
    found = result.axes
    places = [place for _, place in grid_of(found)]
    first = at(problem, places[0]) if found else problem
    asked = tools.check(first, quantities, names)

    def gradient(point: AnyProblem) -> Any:
        return tools.differentiate(point, asked, times, how, method, estimate=keep)

    if not found:
        return _dataset(problem, result, [gradient(problem)], times, single=isinstance(wrt, str))
    workers = threads or cores()
    known: list[Any] = [None] * len(places)
    with Interrupts() as interrupts, announced():
        if tools.suits(problem, asked, how, method):
            fixed = {"estimate": keep, "threads": workers}
            known = tools.differentiate_in_lanes(problem, asked, times, how, interrupts, **fixed)
    stopped = interrupts.asked
    answers, status = _each(lambda i: gradient(at(problem, places[i])), known, workers, stopped)
    ds = _dataset(problem, result, answers, times, single=isinstance(wrt, str))
    shape = tuple(size for size, _ in result.axes.values())
    said = next(v for v in COMMON if v.name == "status").attributes()
    ds["status"] = (tuple(result.axes), np.array(status, dtype=np.int8).reshape(shape), said)
    warn_unless_completed(ds)
    return ds


def _each(
    gradient: Callable[[int], Any], known: Sequence[Any], threads: int, stopped: bool
) -> tuple[list[Any], list[Status]]:
    """Gradients of all points, NaN where there is none, and how the runs ended.

    Those that are not known go one by one, unless all was stopped before.
    """
    failed: dict[int, Unreached] = {}
    answers, left = list(known), [i for i, answer in enumerate(known) if answer is None]

    def one(i: int) -> Any:
        try:
            return gradient(i)
        except Unreached as error:
            failed[i] = error
            return None

    if left and not stopped:
        for i, answer in zip(
            left, each_point(lambda k: one(left[k]), len(left), threads), strict=True
        ):
            answers[i] = answer
    shown = next((answer for answer in answers if answer is not None), None)
    if shown is None:
        raise next(iter(failed.values()), KeyboardInterrupt())
    status = [
        Status.COMPLETED if answer is not None
        else failed[i].status if i in failed
        else Status.INTERRUPTED
        for i, answer in enumerate(answers)
    ]  # fmt: skip
    return [shown.unknown() if answer is None else answer for answer in answers], status


def label(name: str) -> str:
    """The variable of a quantity: ``R[0, 1]`` is ``R_0_1``, which files and Python take.

    Examples
    --------
    >>> label("generalization_error[main]"), label("R[0, 1].maximum")
    ('generalization_error_main', 'R_0_1.maximum')
    """
    return re.sub(r"[^\w.+@-]+", "_", name).strip("_").replace("_.", ".")


def _names(argument: str, given: Any) -> list[str]:
    names = [given] if isinstance(given, str) else list(given) if _is_list(given) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ProblemError(argument, "must be a name or several", repr(given)[:80])
    made = [variable for name in names for variable in _variables(name).values()]
    if argument == "of" and len(set(made)) < len(made):
        twice = next(variable for variable in made if made.count(variable) > 1)
        rule = "must name quantities whose variables differ"
        given = f"{', '.join(names)}, of which two have a variable {twice}"
        raise ProblemError(argument, rule, given, "Ask for them one after the other.")
    return names


def _variables(name: str) -> dict[str, str]:
    """Variables of a quantity, of its derivative and of the error of that."""
    own = label(name)
    return {"": own, "d": f"d_{own}", "error": f"d_{own}_error"}


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence) or getattr(given, "ndim", 0) == 1


def _dataset(
    problem: AnyProblem, result: Result, answers: Sequence[Any], times: Any, *, single: bool
) -> xr.Dataset:
    from odekit.dataset.assemble import joined

    first = answers[0]
    sweep = tuple(result.axes)
    shape = tuple(size for size, _ in result.axes.values())
    labels: dict[str, Any] = dict(problem.system.labels(problem))
    labels["phase_index"] = np.arange(len(problem.phases))
    coords = {dim: coord for dim, (_, coord) in result.axes.items() if coord is not None}
    dims, sizes, own = _parameter(first, set(sweep), single)

    variables: dict[str, Any] = {}
    for name, lead, pieces in _parts(answers, times):
        for suffix, array in pieces.items():
            inner = array.shape[1:] if suffix == "" else (*array.shape[1:-1], *sizes)
            full = array.reshape((*shape, *inner))
            whole = (*sweep, *lead, *(dims if suffix else ()))
            variables[_variables(name)[suffix]] = (whole, full, _said(name, suffix))
    steps = np.array([answer.steps for answer in answers]).reshape(shape)
    variables["n_steps"] = (sweep, steps, {"long_name": "accepted steps"})
    if times is None:
        ends = np.array([answer.end for answer in answers]).reshape(shape)
        variables["t_last"] = (sweep, ends, {"long_name": "end of the run, steps / N"})
    else:
        coords["time"] = ("time", times, {"long_name": "steps / N", "units": "1"})
    used = {dim for dims, *_ in variables.values() for dim in dims}
    coords |= {dim: labels[dim] for dim in labels if dim in used}
    attrs = {**result.attrs, "sensitivity_method": first.method}
    return joined({**variables, **result.kept}, {**coords, **own}, attrs)


def _parts(
    answers: Sequence[Any], times: Any
) -> Iterator[tuple[str, tuple[str, ...], Mapping[str, Any]]]:
    """Each quantity with its dims, its values, derivatives and their errors, points first."""
    begin = 0
    for reading in answers[0].readings:
        if reading.base == "phase_end":
            chosen, lead, shape = reading.picked, reading.dims, reading.shape
            value = np.stack([a.fine.ends[chosen] for a in answers])
            slope, rough = (
                [getattr(a, which).by_end[chosen] for a in answers if getattr(a, which)]
                for which in ("fine", "coarse")
            )
        else:
            place = slice(begin, begin + reading.picked.size)
            begin = place.stop
            one = reading.base == "phase_end_error" or reading.taken
            timed = times is not None and not one
            row = slice(None) if timed else 0
            lead = (("time",) if timed else ()) + reading.dims
            shape = ((times.size,) if timed else ()) + reading.shape
            value = np.stack([a.fine.values[row][..., place] for a in answers])
            slope, rough = (
                [getattr(a, which).slopes[row][..., place, :] for a in answers if getattr(a, which)]
                for which in ("fine", "coarse")
            )
        points, m = len(answers), slope[0].shape[-1]
        found = {
            "": value.reshape((points, *shape)),
            "d": np.stack(slope).reshape((points, *shape, m)),
        }
        if rough:
            found["error"] = np.abs(found["d"] - np.stack(rough).reshape(found["d"].shape))
        yield reading.name, lead, found


def _parameter(
    answer: Any, sweep: set[str], single: bool
) -> tuple[tuple[str, ...], tuple[int, ...], dict[str, Any]]:
    """Dims, sizes and coordinates of what is differentiated by."""
    if not single:
        entries = [entry for name in answer.names for entry in name.entries]
        return (PARAMETER,), (len(entries),), {PARAMETER: entries}
    name = answer.names[0]
    taken = {dim for reading in answer.readings for dim in reading.dims} | sweep
    dims = tuple(f"{dim}_wrt" if dim in taken else dim for dim in name.dims)
    return dims, name.shape, {}


def _said(name: str, suffix: str) -> dict[str, str]:
    text = {
        "": name,
        "d": f"derivative of {name}",
        "error": f"estimated error of the derivative of {name}",
    }[suffix]
    return {"long_name": text}
