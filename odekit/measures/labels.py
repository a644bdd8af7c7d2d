"""Names and attributes of what the measures return."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def named(array: xr.DataArray, name: str, text: str) -> xr.DataArray:
    """The array with a name and the attributes of a dataset's variable."""
    result = array.rename(name)
    # Those of the variables it was made from say what it no longer is.
    result.attrs = {"long_name": text, "units": "1"}
    return result
