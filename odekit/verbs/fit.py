"""Numbers of a problem from curves: least squares on the gradients of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import choice, count, positive, single
from odekit.base.errors import ProblemError
from odekit.dataset.result import prepare
from odekit.integrate.options import SolverOptions, check_integrator, output_times
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.problem.names import get
from odekit.problem.names import replace as with_number

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats

USUAL = {
    "learning_rate": 0.0,
    "noise_std": 0.0,
    "duration": 1e-12,
    "weight_decay": 0.0,
    "strength": 0.0,
}
"""Lower bounds of numbers that have no sign."""


@dataclass(frozen=True)
class Fit:
    """What `odekit.fit` found.

    Attributes
    ----------
    problem : Problem
        With the numbers that fit best.
    dataset : Dataset
        ``value``, ``std`` and ``covariance`` along ``parameter`` (and ``parameter_other``);
        ``cost`` (half the sum of squares), ``degrees`` of freedom, ``n_runs``, ``message``.
    """

    problem: Any
    dataset: xr.Dataset


def fit(
    problem: AnyProblem,
    data: xr.DataArray | xr.Dataset,
    *,
    free: Sequence[str],
    error: Any = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    loss: str = "linear",
    integrator: str | None = "DOP853",
    rtol: float = 1e-8,
    atol: float = 1e-11,
    max_runs: int = 200,
) -> Fit:
    """The numbers of a problem with which its run fits a curve best, and their covariance.

    Parameters
    ----------
    problem : Problem
        Without sweep dims; its own numbers are where the search begins.
    data : DataArray or Dataset
        What was measured, over ``time`` (cumulative, steps/N) and dims of the quantity: of an array
        its name says which (``generalization_error``, ``R``, ``Q``, ``readout``), of a dataset its
        ``generalization_error`` counts. Tasks are matched by their labels; a task may be left out.
        NaN is left out.
    free : sequence of str
        Numbers by name, as in `odekit.sensitivity`.
    error : float or DataArray, optional
        Standard deviation of the data. With it the covariance is that of these errors; without, all
        are taken as equal, and their size from the residuals.
    bounds : dict of str to (float, float), optional
        Rates, penalties and noise are >= 0 by default.
    loss : {"linear", "soft_l1", "huber"}
        As in `scipy.optimize.least_squares`.
    integrator, rtol, atol
        As in `odekit.sensitivity`.
    max_runs : int

    Returns
    -------
    Fit

    Raises
    ------
    ProblemError
        If a name has no derivative, or the data do not fit to the problem.

    Examples
    --------
    >>> import odekit as ok
    >>> def problem(rate):
    ...     return ok.Problem(
    ...         state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
    ...         heads={"main": [1.0]},
    ...         tasks={"main": ok.Task(readout=[1.0])},
    ...         phases=[ok.Phase("main", duration=10.0, learning_rate=rate)],
    ...     )
    >>> curve = ok.solve(problem(0.7)).generalization_error
    >>> found = ok.fit(problem(0.5), curve, free=["phases[0].learning_rate"])
    >>> round(found.problem.phases[0].learning_rate, 6)
    0.7
    """
    from scipy.optimize import least_squares

    if not isinstance(problem, AnyProblem):
        raise ProblemError("problem", "must be a Problem", repr(problem)[:80])
    if axes(problem):
        raise ProblemError("problem", "must have no sweep dims", ", ".join(axes(problem)))
    check_integrator(integrator)
    choice("loss", loss, ("linear", "soft_l1", "huber"))
    names = [free] if isinstance(free, str) else list(free)
    options = SolverOptions(rtol=rtol, atol=atol)
    curve = _Curve(problem, data, error, names)
    how = curve.tools.Accuracy(integrator, options.rtol, options.atol)
    low, high = _limits(names, bounds)
    x0 = np.array([float(get(problem, name, "free")) for name in names])
    outside = [name for name, x, a, b in zip(names, x0, low, high, strict=True) if not a <= x <= b]
    if outside:
        raise ProblemError("bounds", "must hold the problem's own numbers", ", ".join(outside))

    def residuals(x: Floats) -> Floats:
        return curve.at(x, how)[0]

    def slopes(x: Floats) -> Floats:
        return curve.at(x, how)[1]

    least: Any = least_squares  # its stubs know the losses by their literal names
    result = least(
        residuals,
        x0,
        jac=slopes,
        bounds=(low, high),
        x_scale="jac",
        loss=loss,
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-14,
        max_nfev=count("max_runs", max_runs, most=10**6),
    )
    words = {"free": names, "rtol": rtol, "atol": atol, "loss": loss}
    return _found(curve, result, words, known=error is not None)


def _limits(names: Sequence[str], bounds: Any) -> tuple[Floats, Floats]:
    given = dict(bounds or {})
    for name in given:
        if name not in names:
            raise ProblemError("bounds", "must name free numbers", repr(name))
    usual = [
        next((low for word, low in USUAL.items() if name.endswith(word)), -np.inf) for name in names
    ]
    pairs = [given.get(name, (low, np.inf)) for name, low in zip(names, usual, strict=True)]
    low, high = (np.array([float(pair[i]) for pair in pairs]) for i in (0, 1))
    if not (low < high).all():
        raise ProblemError("bounds", "must increase", str(given))
    return low, high


class _Curve:
    """Data, and residuals of a run with their derivatives."""

    def __init__(self, problem: AnyProblem, data: Any, error: Any, names: list[str]) -> None:
        self.problem, self.names = problem, names
        self.tools = problem.system.sensitivities()
        array = data["generalization_error"] if hasattr(data, "data_vars") else data
        name = getattr(array, "name", None)
        if "time" not in getattr(array, "dims", ()):
            raise ProblemError("data", "must be labelled over time", repr(array)[:80])
        self.asked = self.tools.check(problem, [str(name)], names)
        (reading,) = self.asked.readings
        self.quantity, dims = str(name), reading.dims
        labels = problem.system.labels(problem)
        extra = set(array.dims) - {"time", *dims}
        if extra or set(dims) - set(array.dims):
            raise ProblemError("data", f"must have the dims {('time', *dims)}", str(array.dims))
        for dim in dims:
            if dim in labels and dim in array.coords:
                if not set(array[dim].values.tolist()) <= set(labels[dim]):
                    raise ProblemError("data", f"must have a {dim} of the problem", str(array[dim]))
                array = array.reindex({dim: labels[dim]})
        ordered = array.transpose("time", *dims)
        if ordered.shape[1:] != reading.shape:
            raise ProblemError("data", f"must have shape (time, {reading.shape})", ordered.shape)
        total = float(sum(phase.duration for phase in problem.phases))
        self.times = output_times("data", ordered["time"].values, total)
        self.values = np.asarray(ordered.values, dtype=float).reshape(self.times.size, -1)
        self.good = np.isfinite(self.values)
        if self.good.sum() <= len(names):
            rule = f"must hold more numbers than the {len(names)} that are free"
            raise ProblemError("data", rule, int(self.good.sum()))
        self.error = _errors(error, ordered)[self.good]
        self.kept: tuple[bytes, Any] | None = None
        self.runs = 0

    def with_numbers(self, x: Floats) -> AnyProblem:
        """The problem with these numbers."""
        changed = self.problem
        for name, value in zip(self.names, x, strict=True):
            changed = with_number(changed, name, float(value), "free")
        return changed

    def at(self, x: Floats, how: Any) -> tuple[Floats, Floats]:
        """Residuals and their derivatives, both over the errors of the data."""
        key = x.tobytes()
        if self.kept is None or self.kept[0] != key:
            answer = self.tools.differentiate(
                self.with_numbers(x), self.asked, self.times, how, "forward", estimate=False
            )
            self.runs += 1
            residual = (answer.fine.values - self.values)[self.good] / self.error
            slope = answer.fine.slopes[self.good] / self.error[:, np.newaxis]
            if not np.isfinite(residual).all():
                raise ProblemError("data", "must end before the run does", str(self.times[-1]))
            self.kept = key, (residual, slope)
        found: tuple[Floats, Floats] = self.kept[1]
        return found


def _errors(error: Any, data: xr.DataArray) -> Floats:
    """Standard deviations of the data, (times, …)."""
    if error is None:
        return np.ones((data.sizes["time"], data.size // data.sizes["time"]))
    if hasattr(error, "dims"):
        given = error.broadcast_like(data).transpose(*data.dims).values
    else:
        given = np.full(data.shape, single(positive, "error", error))
    if not (np.asarray(given) > 0).all():
        raise ProblemError("error", "must be > 0", str(np.nanmin(given)))
    return np.asarray(given, dtype=float).reshape(data.sizes["time"], -1)


def _found(curve: _Curve, result: Any, words: Any, *, known: bool) -> Fit:
    import xarray as xr

    best = curve.with_numbers(result.x)
    about = prepare(best, ("odekit_fit", words), "least squares on differential equations")
    degrees = int(result.fun.size - result.x.size)
    # The pseudo-inverse: what the data do not tell has an infinite variance, said as NaN.
    _, s, Vt = np.linalg.svd(result.jac, full_matrices=False)
    told = s > 1e-12 * s.max(initial=0.0)
    covariance = (Vt[told].T / s[told] ** 2) @ Vt[told]
    blind = (np.abs(Vt[~told]) > 1e-6).any(axis=0)
    covariance[blind] = covariance[:, blind] = np.nan
    if not known:
        covariance *= 2.0 * result.cost / max(degrees, 1)

    def said(text: str) -> dict[str, str]:
        return {"long_name": text}

    one, two = ("parameter",), ("parameter", "parameter_other")
    variables = {
        "value": (one, result.x, said("best value")),
        "std": (one, np.sqrt(np.diagonal(covariance)), said("standard deviation")),
        "covariance": (two, covariance, said("covariance")),
        "cost": ((), float(result.cost), said("half the sum of squares")),
        "degrees": ((), degrees, said("degrees of freedom")),
        "n_runs": ((), curve.runs, said("runs")),
        "message": ((), str(result.message), {"long_name": "how the search ended"}),
    }
    coords = {"parameter": curve.names, "parameter_other": curve.names}
    return Fit(best, xr.Dataset({**variables, **about.kept}, coords, about.attrs))
