"""What users may give for numbers and arrays, for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import ArrayLike

Number: TypeAlias = "float | np.floating[Any] | np.integer[Any] | xr.DataArray"
"""A number, or a labelled array of them that is swept over."""
Values: TypeAlias = "ArrayLike | xr.DataArray"
"""An array, or a labelled one with the dims of a sweep besides."""
