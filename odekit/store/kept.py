"""A result that cannot go where it was to go is kept elsewhere, and said."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from odekit.base.errors import StoreError
from odekit.store.netcdf import save

if TYPE_CHECKING:
    import xarray as xr

NAMES = 100
"""Other names that are tried beside the target."""


def save_or_keep(ds: xr.Dataset, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Save a result that took long to make; if that fails, under another name or elsewhere.

    Parameters
    ----------
    ds : Dataset
    path : path
        As for `odekit.save`.
    overwrite : bool

    Returns
    -------
    Path
        The file or folder that was asked for.

    Raises
    ------
    StoreError
        If the result is not there; it says where it is instead.
    """
    try:
        return save(ds, path, overwrite)
    except (StoreError, OSError, MemoryError) as error:
        reason = error.reason if isinstance(error, StoreError) else str(error)
        for other in _other_places(Path(path)):
            try:
                kept = save(ds, other)
            except (StoreError, OSError, MemoryError):
                continue
            raise StoreError(path, reason, f"The result is kept in {kept}.") from error
        remedy = "No other folder took the result either: it is lost."
        raise StoreError(path, reason, remedy) from error


def _other_places(path: Path) -> Iterator[Path]:
    """Another name beside it; then the folder one is in, one's own, and that of temporary files."""
    folders = (path.parent, Path.cwd(), Path(os.path.expanduser("~")), Path(tempfile.gettempdir()))  # noqa: PTH111
    for folder in dict.fromkeys(f.absolute() for f in folders):
        names = (f"{path.stem}-kept{i or ''}{path.suffix}" for i in range(NAMES))
        free = next((folder / n for n in names if not os.path.lexists(folder / n)), None)
        if free is not None:
            yield free
