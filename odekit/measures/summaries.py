"""Numbers taken from a curve: its initial rate, its maximum, its mean, its final value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count, positive, single
from odekit.base.errors import ProblemError
from odekit.dataset.variable import named
from odekit.measures.again import NotAgain, from_rows
from odekit.measures.curves import change, trained_task
from odekit.measures.slopes import slopes

if TYPE_CHECKING:
    import xarray as xr

FIRST_ROWS = 4.0
"""The initial rate is fitted to rows up to this many times the first one's time since the switch:
some 30 rows of a default grid, on which a quartic is exact to 1e-7 at rates of order 1."""
UNRESOLVED = 0.05
"""Relative disagreement of two fits above which the rows do not resolve an initial rate."""
NEGLIGIBLE = 1e-9
"""Change of an error that is within a run's tolerance: curves this flat have the rate they have."""


def initial_rate(
    curve: xr.DataArray | xr.Dataset,
    span: float | None = None,
    degree: int = 4,
    *,
    rows: int | None = None,
    task: str | Sequence[str] | None = None,
    switch: int = 1,
) -> xr.DataArray:
    """Slope of a curve just after the switch.

    Of a dataset of theory it is dε/dt as the phase begins, from the equations: the derivative of
    the error along the right-hand side, in the state at the switch, to which its problem is solved
    again; the rows do not matter. That is the initial rate of `forgetting`, and minus that of
    `transfer`.

    Of a curve, or of a simulation, a polynomial is fitted to the rows with
    0 < time_since_switch <= span, its constant free, so that the jump of a copied head is no part
    of the slope.

    Parameters
    ----------
    curve : Dataset or DataArray
        A result; or a curve, as `forgetting` and `transfer` return it.
    span : float, optional
        By default four times the first row's time and at least five rows: on the default grid of a
        run that is t <= 0.04, where the quartic has a relative error of about 1e-7. Give a longer
        one for the noise of simulations.
    degree : int
        Of the polynomial; lower it to average over noise.
    rows : int, optional
        In place of a slope at the switch itself, the mean one over the first so many steps from row
        to row, (y_n − y_0)/(t_n − t_0): what papers report of logarithms of errors. NaN where a
        trajectory has fewer. Rows are those of the dataset, which lie differently after each switch
        where the switches of a sweep differ, be it in the last digits of a threshold.
    task : str or sequence of str, optional
        Of a dataset: by default the task trained in the phase before the switch.
    switch : int
        Of a dataset: index of the phase that begins at the switch.

    Returns
    -------
    DataArray
        Without ``time``. NaN where a trajectory never reached the switch and, of curves, where the
        rows do not resolve it: with fewer than two of them and, unless `span` is given, where a
        polynomial of one degree less disagrees by 5 %.

    Warns
    -----
    UserWarning
        If a dataset of theory cannot be solved again: its rows decide.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.2, 0.0]], T=[[1.0, 0.0], [0.0, 1.0]]),
    ...     heads={"a": [1.0], "b": [1.0]},
    ...     tasks={"a": ok.Task(readout=[1.0, 0.0]), "b": ok.Task(readout=[0.0, 1.0])},
    ...     phases=[ok.Phase("a", 20.0, 0.5), ok.Phase("b", 20.0, 0.5)],
    ... )
    >>> float(ok.measures.initial_rate(ok.solve(problem)).round(4))
    0.0109
    """
    import xarray as xr

    if rows is not None:
        return _rate_of_rows(curve, count("rows", rows, most=10**9), span, task, switch)
    order = count("degree", degree, most=12)
    wide = None if span is None else single(positive, "span", span)
    if isinstance(curve, xr.Dataset):
        return _rate_of_dataset(curve, wide, order, task, switch)
    _check_curve(curve)
    slope = _along_time(lambda y, t: _slope(y, t, wide, order), curve)
    return named(slope, f"{curve.name}_initial_rate", f"initial rate of {curve.name}")


def _rate_of_rows(
    curve: xr.DataArray | xr.Dataset,
    rows: int,
    span: float | None,
    task: str | Sequence[str] | None,
    switch: int,
) -> xr.DataArray:
    import xarray as xr

    if span is not None:
        raise ProblemError("span", "must be left out with `rows`", span, "Either says how long.")
    if isinstance(curve, xr.Dataset):
        chosen = trained_task(curve, switch - 1, "initial_rate") if task is None else task
        curve = change(curve, chosen, switch, None).rename("error")
    _check_curve(curve)

    def mean(values: Floats, since: Floats) -> float:
        good = np.flatnonzero(np.isfinite(values) & np.isfinite(since))
        if good.size <= rows:
            return float("nan")
        first, last = good[0], good[rows]
        return float((values[last] - values[first]) / (since[last] - since[first]))

    text = f"mean rate of {curve.name} over the first {rows} rows"
    return named(_along_time(mean, curve), f"{curve.name}_initial_rate", text)


def _rate_of_dataset(
    ds: xr.Dataset,
    span: float | None,
    degree: int,
    task: str | Sequence[str] | None,
    switch: int,
) -> xr.DataArray:
    chosen = trained_task(ds, switch - 1, "initial_rate") if task is None else task
    curve = change(ds, chosen, switch, None)
    try:
        rate = slopes(ds, switch).sel(task=chosen if isinstance(chosen, str) else list(chosen))
    except NotAgain as reason:
        from_rows(reason, "initial_rate")
        rate = _along_time(lambda y, t: _slope(y, t, span, degree), curve)
    return named(rate, "initial_rate", "rate of the error just after the switch")


def maximum(curve: xr.DataArray) -> xr.DataArray:
    """Largest value of a curve, or of any variable over ``time``.

    Returns
    -------
    DataArray
        Without ``time``; NaN for trajectories that never reached the switch. The coordinate
        ``time_since_switch`` (``time`` for a variable that has no switch) says when.
    """
    when = clock(curve)
    best = curve.max("time")
    time = _along_time(_time_of_maximum, curve).assign_attrs(curve[when].attrs)
    found = named(best, f"{curve.name}_maximum", f"maximum of {curve.name}")
    return found.assign_coords({when: time})


def final(curve: xr.DataArray) -> xr.DataArray:
    """Last value of a curve, or of any variable over ``time``.

    Curves of `forgetting` and `transfer` have the ends of their trajectories, between rows too; of
    other variables it is that of the last row (errors at the very ends of phases are
    ``ds.phase_end_error``). For trajectories that stopped early it is the last one they reached:
    mask them by ``ds.status == 0`` where that matters.

    Returns
    -------
    DataArray
        Without ``time``.
    """
    last = _along_time(_last_value, curve)
    return named(last, f"{curve.name}_final", f"final value of {curve.name}")


def time_mean(curve: xr.DataArray) -> xr.DataArray:
    """Mean of a curve, or of any variable, over the time of its rows, by the trapezoidal rule.

    Returns
    -------
    DataArray
        Without ``time``; of a single row its value, NaN where there is none.

    Examples
    --------
    >>> import numpy as np, xarray as xr, odekit as ok
    >>> time = [0.0, 1.0, 3.0]
    >>> curve = xr.DataArray([0.0, 1.0, 1.0], dims="time", coords={"time": time}, name="y")
    >>> float(ok.measures.time_mean(curve).round(4))
    0.8333
    """
    mean = _along_time(_mean_over_time, curve)
    return named(mean, f"{curve.name}_mean", f"mean over time of {curve.name}")


# ------------------------------------------------------------------------------------------ helpers


def _check_curve(curve: xr.DataArray) -> None:
    if "time_since_switch" not in curve.coords or "time" not in curve.dims:
        raise ProblemError(
            "curve",
            "must have the dim `time` and the coordinate `time_since_switch`",
            f"dims {curve.dims}, coordinates {list(curve.coords)}",
            "Give what `forgetting` or `transfer` returned.",
        )


def clock(curve: xr.DataArray) -> str:
    """The coordinate that says when: time since the switch where there is one."""
    if "time" not in curve.dims or "time" not in curve.coords:
        raise ProblemError(
            "curve",
            "must have the dim `time` with its coordinate",
            f"dims {curve.dims}",
            "Give a curve, or a variable of the dataset over time.",
        )
    return "time_since_switch" if "time_since_switch" in curve.coords else "time"


def _along_time(function: Any, curve: xr.DataArray) -> xr.DataArray:
    """A number from each trajectory's values and times."""
    import xarray as xr

    when = clock(curve)
    times = xr.DataArray(curve[when].values, dims=curve[when].dims)

    number: xr.DataArray = xr.apply_ufunc(
        function,
        curve.drop_vars(["time_since_switch", "time"], errors="ignore"),
        times,
        input_core_dims=[["time"], ["time"]],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return number.rename(None)


def _slope(values: Floats, since: Floats, span: float | None, degree: int) -> float:
    good = (since > 0) & np.isfinite(values)
    values, since = values[good], since[good]
    if not since.size:
        return float("nan")
    limit = max(FIRST_ROWS * since[0], since[min(5, since.size) - 1]) if span is None else span
    near = since <= limit
    if near.sum() < 2:
        return float("nan")
    values, since = values[near], since[near]
    order = min(degree, since.size - 1)
    slope = _fit(values, since, order)
    if span is not None or order == 1:
        return slope
    doubt = abs(_fit(values, since, order - 1) - slope)
    small = doubt <= UNRESOLVED * abs(slope) or doubt * since[-1] <= NEGLIGIBLE
    return slope if small else float("nan")


def _fit(values: Floats, since: Floats, degree: int) -> float:
    """Slope at 0 of a polynomial fitted by least squares."""
    scale = since[-1]
    powers = np.vander(since / scale, degree + 1, increasing=True)
    return float(np.linalg.lstsq(powers, values, rcond=None)[0][1] / scale)


def _time_of_maximum(values: Floats, since: Floats) -> float:
    return float(since[np.nanargmax(values)]) if np.isfinite(values).any() else float("nan")


def _mean_over_time(values: Floats, since: Floats) -> float:
    good = np.isfinite(values) & np.isfinite(since)
    y, t = values[good], since[good]
    if y.size < 2:
        return float(y[0]) if y.size else float("nan")
    return float(np.trapezoid(y, t) / (t[-1] - t[0]))


def _last_value(values: Floats, since: Floats) -> float:
    good = values[np.isfinite(values) & np.isfinite(since)]
    return float(good[-1]) if good.size else float("nan")
