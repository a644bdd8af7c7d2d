"""Misclassification: which tasks have labels that are signs, and how often outputs miss them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.dataset.provenance import problem_of
from odekit.dataset.variable import named
from odekit.problem.axes import at
from odekit.problem.base import AnyProblem
from odekit.problem.points import Points, one_of
from odekit.systems.committee.laws_of_inputs import Laws, laws_of
from odekit.systems.committee.problem import Problem, Task
from odekit.systems.committee.signs import Fields, wrong

if TYPE_CHECKING:
    import xarray as xr

RISING = ("erf", "linear", "relu", "leaky_relu", "tanh")
"""Activations that nowhere fall, and vanish at 0."""


def classifies(problem: Problem, task: Task) -> bool:
    """Whether the labels of a task are signs: ±1, or the sign of one fixed vector's field."""
    u, y = np.asarray(task.readout), np.asarray(task.label)
    if problem.outputs is not None or u.ndim != 1 or y.ndim or problem.activation not in RISING:
        return False
    one = problem.teacher_activation == "sign" and np.count_nonzero(u) == 1 and y == 0.0
    return bool(one) or (not u.any() and abs(float(y)) == 1.0)


def classified(problem: Problem) -> list[str]:
    """Tasks whose misclassification is in every result: those of one unit, where it is closed."""
    if problem.state.student != 1:
        return []
    return [name for name, task in problem.tasks.items() if classifies(problem, task)]


def of_rows(
    problem: Problem,
    points: Any,
    Q: Floats,
    R: Floats,
    v: Floats,
    bias: Any,
    some: Any = None,
) -> Floats:
    """Misclassification (points, times, tasks) where it is in every result.

    Parameters
    ----------
    problem : Problem
    points : Points
        With `overlaps`.
    Q, R : ndarray, shape (points, times, G, …)
    v : ndarray, shape (points, times, heads, K)
    bias : ndarray or float, shape (points, times, K)
    some : ndarray of int64, optional
        Which points these are, if not all.
    """
    out = np.full((*Q.shape[:2], len(problem.tasks)), np.nan)
    T, scale = points.overlaps("T"), float(np.mean(np.asarray(problem.test_scale)) != 0.0)
    laws, names, heads = laws_of(problem, points), list(problem.tasks), list(problem.heads)
    biases = _teacher_biases(problem, points)
    for name in classified(problem):
        v_k = scale * v[:, :, heads.index(problem.head_of(name))]
        for i, point in enumerate(points.numbers(Q, some)):
            of_point = bias[i] if np.ndim(bias) else bias
            given = (Q[i], R[i], one_of(T, point), v_k[i], of_point, name)
            here = fields(problem, laws.at(point), one_of(biases, point), *given)
            out[i, :, names.index(name)] = wrong(here, str(problem.activation), 2)
    return out


def _teacher_biases(problem: Problem, points: Any) -> Floats:
    """Those of the fixed vectors, (points or 1, P)."""
    given = problem.teacher_biases
    return np.zeros((1, problem.state.teacher)) if given is None else points.values(given, 1)


def refuse_labels(problem: Problem, argument: str) -> None:
    """Say why no task has labels that are signs."""
    rule = "must have a task whose labels are signs: ±1, or those of one fixed vector"
    said = {
        name: f"label {task.label}, readout {task.readout}" for name, task in problem.tasks.items()
    }
    remedy = (
        "Give clusters the label 1.0 or -1.0 and a readout of zeros, or one fixed vector of "
        'teacher_activation="sign"; one output, of rising units.'
    )
    raise ProblemError(argument, rule, str(said)[:120], remedy)


def fields(
    problem: Problem,
    laws: Laws,
    biases: Floats,
    Q: Floats,
    R: Floats,
    T: Floats,
    v: Floats,
    bias: Any,
    name: str,
) -> Fields:
    """The fields of one task, of overlaps (rows, G, …), T (G, P, P) and biases of vectors (P,)."""
    u, index = np.asarray(problem.tasks[name].readout), list(problem.tasks).index(name)
    law, share = int(laws.law[index]), laws.share[0]
    ss, st, tt, gain, s = (x[0, law] for x in (laws.ss, laws.st, laws.tt, laws.gain, laws.mean))
    M = np.einsum("g,rgkn,n->rk", share * gain, R[..., : len(u)], s) + bias
    C = np.einsum("g,rgkl->rkl", share * ss, Q)
    if not u.any():
        return Fields(M, C, v, float(problem.tasks[name].label))
    n = int(np.flatnonzero(u)[0])
    sign = np.sign(u[n])
    across = sign * np.einsum("g,rgk->rk", share * st, R[..., n])
    own = np.full(len(Q), float(share @ (tt * T[:, n, n])))
    mean = float(np.einsum("g,gm,m->", share, T[:, n], s)) + biases[n]
    top = np.concatenate([C, across[..., np.newaxis]], axis=-1)
    low = np.concatenate([across, own[:, np.newaxis]], axis=-1)[:, np.newaxis]
    means = np.concatenate([M, np.full((len(Q), 1), sign * mean)], axis=-1)
    return Fields(means, np.concatenate([top, low], axis=1), v, 0.0)


def misclassification(ds: xr.Dataset, nodes: int = 12) -> xr.DataArray:
    """How often the sign of the output is not that of the label, by task.

    Defined for one output of rising units (erf, tanh, linear, ReLU, leaky ReLU), and for labels
    that are signs: tasks with the label ±1 and a readout of zeros, or with one fixed vector of
    ``teacher_activation="sign"``. Outputs of zero count for one half. For one unit it is closed.

    Parameters
    ----------
    ds : Dataset
        A result of theory or simulation.
    nodes : int
        Of several units: Gauss's nodes in each of K − 1 directions, or 4096 points of a Sobol net
        where they would be more.

    Returns
    -------
    DataArray, dims (…, time, task)
        NaN for other tasks. Its attribute ``nodes_error`` is how much the last rows change with
        half as many nodes.

    Raises
    ------
    ProblemError
        If no task has such labels.

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.gaussian_mixture([[1.0], [-1.0]], labels=[1.0, -1.0], variance=0.5)
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=world.teacher),
    ...     heads={"main": [1.0]}, tasks=world.tasks,
    ...     phases=[ok.Phase(world.probabilities, duration=20.0, learning_rate=0.1)],
    ... )
    >>> found = ok.measures.misclassification(ok.solve(problem))
    >>> found.isel(time=[0, -1], task=0).values.round(3)
    array([0.421, 0.111])
    """
    import xarray as xr

    problem: Any = AnyProblem.from_dict(problem_of(ds))
    known = isinstance(problem, Problem)
    chosen = [n for n, t in problem.tasks.items() if known and classifies(problem, t)]
    if not chosen:
        refuse_labels(problem, "ds")
    lead = [str(d) for d in ds.generalization_error.dims[:-2]]
    out = np.full(ds.generalization_error.shape, np.nan)
    off = 0.0
    for place in np.ndindex(out.shape[:-2]):
        point = at(problem, dict(zip(lead, place, strict=True)))
        one = ds.isel(dict(zip(lead, place, strict=True)))
        points = Points(point, {})
        laws, biases = laws_of(point, points), _teacher_biases(point, points)[0]
        Q, R, T = _blocks(one, point)
        bias = one.bias.values if "bias" in one else 0.0
        for name in chosen:
            v = one.readout.sel(head=point.head_of(name)).transpose("time", "student").values
            scaled = v * np.asarray(point.test_scale)
            here = fields(point, laws, biases, Q, R, T, scaled, bias, name)
            task = list(ds.task.values).index(name)
            out[(*place, slice(None), task)] = wrong(here, point.activation, nodes)
            last = Fields(here.M[-1:], here.C[-1:], here.v[-1:], here.label)
            coarse = wrong(last, point.activation, max(nodes // 2, 2))
            off = np.fmax(off, np.abs(coarse - out[(*place, -1, task)]).max())
    error = ds.generalization_error
    found = xr.DataArray(out, dims=error.dims, coords=error.coords)
    text = "probability that the sign of the output is not that of the label"
    return named(found, "misclassification", text).assign_attrs(nodes_error=float(off))


def _blocks(one: xr.Dataset, problem: Problem) -> tuple[Any, Any, Any]:
    """Q, R and T of every group of inputs."""
    grouped = problem.groups is not None
    suffix = "_group" if grouped else ""
    dims = {"Q": ("student", "student_other"), "R": ("student", "teacher")}
    Q, R = (
        one[name + suffix].transpose("time", *(["group"] if grouped else []), *core).values
        for name, core in dims.items()
    )
    T = one["T" + suffix].values
    if not grouped:
        Q, R, T = Q[:, np.newaxis], R[:, np.newaxis], T[np.newaxis]
    return Q, R, T
