"""When a curve first reaches a level or its target."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats, is_labelled
from odekit.base.errors import ProblemError
from odekit.dataset.variable import named
from odekit.measures.summaries import clock

if TYPE_CHECKING:
    import xarray as xr


def escape_time(curve: xr.DataArray, level: Any) -> xr.DataArray:
    """Time at which a curve is first above a level.

    Parameters
    ----------
    curve : DataArray, dims (…, time)
        Any variable of a dataset over ``time``, or a curve of `forgetting` or `transfer`, whose
        clock is then the time since the switch.
    level : float or DataArray
        A number for each run, or for all.

    Returns
    -------
    DataArray, dims (…)
        By linear interpolation between rows. The time of the first row, 0 of a whole run, where the
        curve starts above; ∞ where it never is; NaN where it has no values.

    Raises
    ------
    ProblemError
        If the curve has no ``time``, or the level is no finite number.

    Notes
    -----
    With 400 geometrically spaced rows over three decades the times of linear modes are within 7e-4
    of `odekit.linear.time_to`, with 200 within 2.3e-3.

    Examples
    --------
    >>> import numpy as np, xarray as xr, odekit as ok
    >>> time = np.linspace(0.0, 4.0, 5)
    >>> curve = xr.DataArray(time**2, dims="time", coords={"time": time}, name="square")
    >>> float(ok.measures.escape_time(curve, 6.5))
    2.5
    """
    time = _first(_escape, curve, level=level)
    return named(time, "escape_time", f"time at which {curve.name} is first above a level")


def hitting_time(curve: xr.DataArray, target: Any, eps: Any) -> xr.DataArray:
    """Time at which a curve is first within a distance of its target, |target − curve| < eps.

    Parameters
    ----------
    curve : DataArray, dims (…, time)
        As of `escape_time`.
    target : float or DataArray
        A number for each run, or for all.
    eps : float or DataArray
        > 0.

    Returns
    -------
    DataArray, dims (…)
        As of `escape_time`. A curve that passes its target between two rows has hit it there.

    Raises
    ------
    ProblemError
        If the curve has no ``time``, or `target` or `eps` is no finite number, or eps <= 0.

    Examples
    --------
    >>> import numpy as np, xarray as xr, odekit as ok
    >>> time = np.linspace(0.0, 4.0, 5)
    >>> curve = xr.DataArray(time**2, dims="time", coords={"time": time}, name="square")
    >>> float(ok.measures.hitting_time(curve, target=9.0, eps=2.5))
    2.5
    """
    distance = as_floats("eps", eps, "a number or a labelled array of numbers")
    if not np.all(distance > 0):
        raise ProblemError("eps", "must be > 0", f"{distance.min():g}", "It is a distance.")
    time = _first(_hit, curve, target=target, eps=eps)
    return named(time, "hitting_time", f"time at which {curve.name} is first near its target")


def _first(crossing: Callable[..., float], curve: xr.DataArray, **given: Any) -> xr.DataArray:
    """A time from each trajectory's values and times."""
    import xarray as xr

    when = clock(curve)
    for name, value in given.items():
        array = as_floats(name, value, "a number or a labelled array of numbers")
        if array.ndim and not is_labelled(value):
            shape = f"an array of shape {array.shape}"
            raise ProblemError(name, "must be a number, or labelled", shape, "Name its dims.")
        if is_labelled(value) and "time" in value.dims:
            raise ProblemError(name, "must not change with time", f"dims {value.dims}", "")
    found: xr.DataArray = xr.apply_ufunc(
        crossing,
        curve.drop_vars(["time_since_switch", "time"], errors="ignore"),
        xr.DataArray(curve[when].values, dims=curve[when].dims),
        *given.values(),
        input_core_dims=[["time"], ["time"], *([] for _ in given)],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return found


def _escape(values: Floats, times: Floats, level: float) -> float:
    values, times = _known(values, times)
    over = np.flatnonzero(values > level)
    return _between(times, values, over, level)


def _hit(values: Floats, times: Floats, target: float, eps: float) -> float:
    values, times = _known(values, times)
    off = values - target
    side = np.sign(off[:1])
    # From its own side of the target the curve comes down to eps, or passes at once.
    inside = np.flatnonzero(side * off < eps)
    return _between(times, side * off, inside, eps)


def _known(values: Floats, times: Floats) -> tuple[Floats, Floats]:
    good = np.isfinite(values) & np.isfinite(times)
    return values[good], times[good]


def _between(times: Floats, values: Floats, rows: Any, level: float) -> float:
    """When a level is passed before the first of some rows."""
    if not times.size:
        return float("nan")
    if not rows.size:
        return float("inf")
    i = int(rows[0])
    if i == 0:
        return float(times[0])
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(times[i - 1] + share * (times[i] - times[i - 1]))
