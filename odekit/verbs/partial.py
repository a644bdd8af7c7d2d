"""A sweep that is not finished, as far as it is: the ``.part`` folder of its store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from odekit.store.checkpoint import PROBLEM_FILE
from odekit.store.netcdf import MAX_BYTES
from odekit.store.zarrcheck import is_zarr
from odekit.store.zarrstore import PART, open_folder

if TYPE_CHECKING:
    import xarray as xr


def part_of(path: Path) -> Path | None:
    """The unfinished sweep that a path names, itself or as the store that is to be."""
    beside = path.with_name(path.name + PART)
    for folder in [path] if path.exists() else [beside]:
        if (folder / PROBLEM_FILE).is_file() and is_zarr(folder / "data"):
            return folder
    return None


def open_part(folder: Path, max_bytes: int = MAX_BYTES) -> xr.Dataset:
    """What is finished, lazily; the rest is NaN, with a status that says so."""
    return open_folder(folder / "data", max_bytes, complete=False)
