"""What people and programs need to know about one variable of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.status import Flag

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Variable:
    """One variable of the dataset, in all that people and programs need to know about it.

    Parameters
    ----------
    name, long_name, units : str
        As in the file. Everything here is a pure number; time alone says so by units of "1", which
        plots of xarray would write at every axis.
    dims : tuple of str
        Core dimensions; those of a sweep come before them.
    dtype : str
        Numpy's name, or "str".
    symbol, equation : str
        What the papers call it, and the equation that it follows.
    flags : type, optional
        Enumeration of the values that an integer variable takes.
    comment : str
        What its name in words leaves out.
    required : bool
        Whether every dataset has it.
    coordinate : bool
        Whether it labels the dimension of its name.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    long_name: str
    symbol: str = ""
    equation: str = ""
    units: str = ""
    flags: type[Flag] | None = None
    comment: str = ""
    required: bool = True
    coordinate: bool = False

    def attributes(self) -> dict[str, Any]:
        """Attributes of the variable in a dataset."""
        attrs: dict[str, Any] = {"long_name": self.long_name}
        if self.units:
            attrs["units"] = self.units
        if self.comment:
            attrs["comment"] = self.comment
        if self.symbol:
            attrs["symbol"] = self.symbol
        if self.equation:
            attrs["equation"] = self.equation
        if self.flags is not None:
            attrs["flag_values"] = np.array([int(f) for f in self.flags], dtype=self.dtype)
            attrs["flag_meanings"] = self.flags.flag_meanings()
        return attrs


def coordinate(name: str, dtype: str, long_name: str, **more: Any) -> Variable:
    """A variable that labels the dimension of its name."""
    return Variable(name, (name,), dtype, long_name, coordinate=True, **more)


def named(array: xr.DataArray, name: str, text: str) -> xr.DataArray:
    """The array with a name and the attributes of a dataset's variable."""
    result = array.rename(name)
    # Those of the variables it was made from say what it no longer is.
    result.attrs = {"long_name": text}
    return result
