"""Names in a dataset of fluctuations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

FLUCTUATIONS = "odekit_fluctuations"
"""Attribute of a dataset that holds predicted fluctuations: the N that they are of."""
STD, SHIFT, RELIABLE = "_std", "_shift", "reliable"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEVEL = 0.05
"""Spread, against what bends the equations, up to which it is small."""


def spreads(ds: xr.Dataset) -> xr.Dataset:
    """The standard deviations by the names of what they are of."""
    names = [str(n) for n in ds.data_vars if str(n).endswith(STD) and n != "escape_time_std"]
    return ds[names].rename({name: name.removesuffix(STD) for name in names})
