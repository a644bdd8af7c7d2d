"""When a curve first reaches a level or its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from odekit.base.checks import as_floats, is_labelled
from odekit.base.errors import ProblemError
from odekit.dataset.variable import named
from odekit.measures.again import NotAgain, from_rows
from odekit.measures.crossings import Crossing, first_in_rows, first_of_problem

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats


Of: TypeAlias = "str | Callable[[xr.Dataset], xr.DataArray] | None"


def escape_time(curve: xr.DataArray | xr.Dataset, level: Any, of: Of = None) -> xr.DataArray:
    """Time at which a curve is first above a level.

    Parameters
    ----------
    curve : DataArray, dims (…, time), or Dataset
        Any variable of a dataset over ``time``, or a curve of `forgetting` or `transfer`, whose
        clock is then the time since the switch. Or a result, with `of`.
    level : float or DataArray
        A number for each run, or for all.
    of : str or callable, optional
        Of a result: the name of its variable, or a function of the dataset that returns the curve.

    Returns
    -------
    DataArray, dims (…)
        Of a curve by linear interpolation between rows. Of a result of theory to the accuracy of
        its run, whatever its rows: the problem is solved again, three times, with rows where it
        matters. The time of the first row, 0 of a whole run, where the curve starts above; ∞ where
        it never is; NaN where it has no values.

    Raises
    ------
    ProblemError
        If the curve has no ``time``, the level is no finite number, or a result is given without
        `of`.

    Warns
    -----
    UserWarning
        If a result of theory cannot be solved again: its rows decide.

    Notes
    -----
    Times of linear modes between 400 geometrically spaced rows over three decades are within 2e-4
    of `odekit.linear.time_to`, between 200 within 2.3e-3: the error falls with the square of the
    distance. Those of a result, solved with rtol=1e-8, are within 1e-7.

    Examples
    --------
    >>> import numpy as np, xarray as xr, odekit as ok
    >>> time = np.linspace(0.0, 4.0, 5)
    >>> curve = xr.DataArray(time**2, dims="time", coords={"time": time}, name="square")
    >>> float(ok.measures.escape_time(curve, 6.5))
    2.5
    """
    time, name = _first(_escaping, curve, of, level=level)
    return named(time, "escape_time", f"time at which {name} is first above a level")


def hitting_time(
    curve: xr.DataArray | xr.Dataset, target: Any, eps: Any, of: Of = None
) -> xr.DataArray:
    """Time at which a curve is first within a distance of its target, |target − curve| < eps.

    Parameters
    ----------
    curve, of
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
    time, name = _first(_hitting, curve, of, target=target, eps=eps)
    return named(time, "hitting_time", f"time at which {name} is first near its target")


def _first(
    crossing: Crossing, curve: xr.DataArray | xr.Dataset, of: Of, **given: Any
) -> tuple[xr.DataArray, Any]:
    """A time from each trajectory's values and times, and the name of what it is of."""
    import xarray as xr

    _check_given(given)
    if not isinstance(curve, xr.Dataset):
        if of is not None:
            raise ProblemError("of", "must be left out of a curve", repr(of)[:80], "")
        return first_in_rows(crossing, curve, given), curve.name
    read = _reader(of)
    rows = read(curve)
    try:
        return first_of_problem(crossing, curve, read, given), rows.name
    except NotAgain as reason:
        from_rows(reason, "this time")
        return first_in_rows(crossing, rows, given), rows.name


def _check_given(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        array = as_floats(name, value, "a number or a labelled array of numbers")
        if array.ndim and not is_labelled(value):
            shape = f"an array of shape {array.shape}"
            raise ProblemError(name, "must be a number, or labelled", shape, "Name its dims.")
        if is_labelled(value) and "time" in value.dims:
            raise ProblemError(name, "must not change with time", f"dims {value.dims}", "")


def _reader(of: Of) -> Callable[[xr.Dataset], xr.DataArray]:
    """What reads the curve from a dataset."""
    if callable(of):
        return of
    if not isinstance(of, str):
        rule = "must name a variable of the result, or be a function of it"
        raise ProblemError("of", rule, repr(of)[:80], 'of="generalization_error"')

    def read(ds: xr.Dataset) -> xr.DataArray:
        if of not in ds or "time" not in ds[of].dims:
            known = ", ".join(str(name) for name, v in ds.data_vars.items() if "time" in v.dims)
            raise ProblemError("of", f"must be over time, one of {known}", repr(of), "")
        return ds[of]

    return read


def _escaping(values: Floats, level: float) -> tuple[Floats, float]:
    return values, level


def _hitting(values: Floats, target: float, eps: float) -> tuple[Floats, float]:
    off = values - target
    # From its own side of the target the curve comes down to eps, or passes at once.
    return -np.sign(off[:1]) * off, -eps
