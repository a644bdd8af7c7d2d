"""Lazy variables of a Zarr folder, whose errors say which chunk of which folder is at fault."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import StoreError
from odekit.store.zarrmanifest import DAMAGED

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["guarded"]


class _Guarded:
    """What a Dask array reads a variable through."""

    def __init__(self, path: Path, name: str, variable: xr.Variable) -> None:
        self.path, self.name, self.variable = path, name, variable
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim

    def __getitem__(self, key: Any) -> Any:
        try:
            return np.asarray(self.variable[key].values)
        # What the libraries raise on damage differs by where it is: all of it means the same.
        except Exception as error:
            where = ", ".join(f"{s.start}:{s.stop}" if isinstance(s, slice) else "…" for s in key)
            reason = f"`{self.name}`[{where}] could not be read ({error})"
            raise StoreError(self.path, reason, DAMAGED) from error


def guarded(path: Path, name: str, variable: xr.Variable, chunks: tuple[int, ...]) -> Any:
    """A variable that is not yet read as a Dask array in its chunks."""
    import dask.array

    read: Any = dask.array.from_array  # type: ignore[attr-defined, unused-ignore]
    meta = np.empty((0,) * variable.ndim, dtype=variable.dtype)
    source = _Guarded(path, name, variable)
    return read(source, chunks=chunks, name=False, asarray=False, fancy=False, meta=meta)
