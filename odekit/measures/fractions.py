"""How many of some draws have a property, and how well that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from odekit.base.checks import number
from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    import xarray as xr


def fraction(found: xr.DataArray, dim: str = "draw", confidence: float = 0.95) -> xr.Dataset:
    """Fraction of draws of which something is true, with its binomial errors.

    Parameters
    ----------
    found : DataArray of bool, or of 0, 1 and NaN, dims (…, draw)
        Such as ``measures.specialised(run).isel(time=-1)``, or any comparison of a measure. Draws
        with NaN do not count.
    dim : str
        The dim of the draws.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    Dataset, dims (…)
        ``fraction`` k/n; ``std_error`` √(p(1 − p)/n); ``low`` and ``high``, Wilson's interval,
        which is no point where no draw or every one has the property; ``draws`` n. NaN where n = 0.

    Raises
    ------
    ProblemError
        If the dim is not there, or the values are others.

    Examples
    --------
    >>> import xarray as xr, odekit as ok
    >>> found = ok.measures.fraction(xr.DataArray([0.1, 0.9, 0.3, 0.2], dims="draw") < 0.5)
    >>> float(found.fraction), round(float(found.low), 3), round(float(found.high), 3)
    (0.75, 0.301, 0.954)
    """
    import xarray as xr

    if dim not in found.dims:
        raise ProblemError("dim", f"must be one of {found.dims}", repr(dim), "Name that of draws.")
    level = float(
        np.asarray(number("confidence", confidence, "be in (0, 1)", lambda x: (x > 0) & (x < 1)))
    )
    values = found.astype(float)
    if not bool((values.isnull() | (values == 0) | (values == 1)).all()):
        other = values.where((values != 0) & (values != 1)).max()
        raise ProblemError("found", "must be true or false", f"{float(other):g}", "Compare it.")
    n, k = values.count(dim), values.sum(dim)
    p = (k / n).where(n > 0)
    ends = [xr.apply_ufunc(_wilson, k, n, level, side, vectorize=True) for side in (0, 1)]
    made = {
        "fraction": p.assign_attrs(long_name=f"fraction of {dim}s"),
        "std_error": ((p * (1 - p) / n) ** 0.5).assign_attrs(
            long_name="standard error of the fraction"
        ),
        "low": ends[0].assign_attrs(long_name="lower end of Wilson's interval"),
        "high": ends[1].assign_attrs(long_name="upper end of Wilson's interval"),
        "draws": n.assign_attrs(long_name=f"{dim}s that count"),
    }
    return xr.Dataset(made).drop_vars("time", errors="ignore").assign_attrs(confidence=level)


def _wilson(k: float, n: int, confidence: float, side: int) -> float:
    from scipy.stats import binomtest

    if not n:
        return float("nan")
    interval = binomtest(int(k), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval[side])
