"""Save a dataset to one netCDF-4 file that other tools open, and open it again, exactly.

A file is written beside its target and takes the target's place in one step, so that whatever
happens there is the old file or the new one. Opening distrusts: a file that is damaged, from a
newer odekit, of absurd size, or that reaches for other files is refused.
"""

from __future__ import annotations

import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from odekit.base.errors import OdekitError, ProblemError, StoreError
from odekit.dataset.assemble import variables_in
from odekit.dataset.provenance import SCHEMA_VERSION, problem_of
from odekit.store.encode import CHECKSUMS, Encoded, Item, checksum, encode
from odekit.store.files import (
    as_path,
    check_folder_target,
    check_target,
    remove_stale,
    write_atomic,
)
from odekit.store.h5scan import is_hdf5, strangeness
from odekit.store.zarrcheck import is_zarr
from odekit.store.zarrstore import PART, open_folder
from odekit.store.zarrstore import save as save_folder

__all__ = ["LOCK", "MAX_BYTES", "open", "save"]

LOCK = threading.RLock()
"""netCDF4 is not thread-safe: everything that touches it holds this lock."""

MAX_BYTES = 8 * 2**30
"""Most memory that the variables of a file may claim."""

# Below, compressing makes files larger; above, the checksum of each chunk is part of the file.
_COMPRESS_FROM = 64 * 1024


_STRANGE = (
    "It is damaged, or made by another program: odekit writes nothing such. Take a copy, or solve "
    "the problem again; where it came from elsewhere, do not trust it."
)

# ------------------------------------------------------------------------------------------- save


def save(ds: xr.Dataset, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write a dataset to a netCDF-4 file, or to a Zarr folder if the name ends in ``.zarr``.

    Parameters
    ----------
    ds : Dataset
        A result of odekit; variables and attributes of one's own may have been added. Booleans
        become 0 and 1, attributes that are dictionaries one JSON text, attributes of None are
        left out, and an attribute that is an array of one number becomes that number.
    path : str or path
        The file; its folder must exist.
    overwrite : bool
        Whether a file that is there may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StoreError
        If the dataset cannot be represented, or the file not be written. There is then no new
        file, and an old one is unharmed.
    """
    suffix = as_path(path).suffix
    zarr = suffix == ".zarr"
    target = check_folder_target(path, overwrite) if zarr else check_target(path, overwrite)
    if suffix not in (".nc", ".zarr"):
        reason = f"is named {suffix or 'without an ending'}"
        raise StoreError(path, reason, "Name it .nc, a netCDF file, or .zarr, a Zarr folder.")
    if not isinstance(ds, xr.Dataset):
        given = type(ds).__name__
        raise StoreError(
            path, f"only a Dataset can be saved, not a {given}", "Try `.to_dataset()`."
        )
    try:
        problem_of(ds)
    except ProblemError as error:
        remedy = "Keep the attributes of the dataset that `solve` returned, or use `to_netcdf`."
        raise StoreError(
            path, f"the dataset does not say what it solves ({error})", remedy
        ) from None
    if zarr:
        return save_folder(ds, target, overwrite)
    encoded = encode(ds, lambda reason: StoreError(path, reason))
    with LOCK:
        write_atomic(target, lambda temporary: _write(encoded, temporary))
    return target


def _write(encoded: Encoded, path: Path) -> None:
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.set_fill_off()
        file.setncatts(encoded.attrs)
        for name, size in encoded.sizes.items():
            file.createDimension(name, size)
        for item in encoded.items:
            _write_item(file, item)


def _write_item(file: Any, item: Item) -> None:
    large = item.values.nbytes >= _COMPRESS_FROM
    options = {"compression": "zlib", "complevel": 4, "fletcher32": True} if large else {}
    variable = file.createVariable(
        item.name, item.values.dtype, item.dims, fill_value=False, **options
    )
    variable.set_auto_maskandscale(False)
    variable.set_auto_chartostring(False)
    variable.setncatts(item.attrs)
    if item.values.size:
        variable[...] = item.values


# ------------------------------------------------------------------------------------------- open


def open(
    path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, verify: bool = True
) -> xr.Dataset:
    """Read a file that `save` wrote; all of it, so that the file is closed when this returns.

    A Zarr folder is opened lazily instead: its variables are Dask arrays, read where they are used.

    Parameters
    ----------
    path : str or path
        The file.
    max_bytes : int
        Most memory that its variables may claim: a small file can declare any size. Of a Zarr
        folder: its coordinates, and each chunk.
    verify : bool
        Whether to refuse a file in which a variable differs from what was saved, by damage or by
        an edit with another program, or that has lost its checksums.

    Returns
    -------
    Dataset

    Raises
    ------
    StoreError
        If it is no file of odekit, damaged, edited, of a newer version, larger than `max_bytes`,
        or refers to other files (external links, external or virtual storage).
    """
    path = as_path(path)
    remove_stale(path)
    if is_zarr(path):
        return open_folder(path, max_bytes, verify=verify)
    _check_outside(path)
    with LOCK:
        try:
            with netCDF4.Dataset(os.path.abspath(path), "r") as file:  # noqa: PTH100
                _check_inside(file, path, max_bytes)
                ds, checksums = _read(file)
        except OdekitError:
            raise
        # What the libraries raise on damage differs by where it is: all of it means the same.
        except Exception as error:
            remedy = "It is damaged or incomplete: take a copy, or solve the problem again."
            raise StoreError(path, f"could not be read ({error})", remedy) from error
    _check_content(ds, path)
    if verify:
        _check_sums(ds, checksums, path)
    return ds


def _check_outside(path: Path) -> None:
    """What can be seen without the HDF5 library opening the file."""
    part = path if path.suffix == PART else path.with_name(path.name + PART)
    if (part / "data").is_dir() and (part == path or not path.exists()):
        remedy = "The call or command that writes it goes on from there."
        raise StoreError(path, f"is not finished (see {part.name})", remedy)
    if path.is_dir():
        raise StoreError(path, "is a folder", "Name a file in it.")
    if not path.exists():
        raise StoreError(path, "does not exist", "Check the name and the folder.")
    if not path.is_file():
        raise StoreError(path, "is not a regular file", "Name an ordinary file.")
    try:
        known, found = is_hdf5(path), strangeness(path)
    except (OSError, ValueError) as error:
        raise StoreError(path, f"could not be read ({error})", "Check its permissions.") from error
    if not known:
        raise StoreError(path, "is not a netCDF-4 file", "odekit opens what `odekit.save` wrote.")
    if found:
        raise StoreError(path, f"holds {found}", _STRANGE)


def _check_inside(file: Any, path: Path, max_bytes: int) -> None:
    """What the file declares, before any of it is loaded."""
    given = file.getncattr("odekit_schema_version") if _has(file, "odekit_schema_version") else None
    if not isinstance(given, int | np.integer) or not _has(file, "odekit_problem"):
        raise StoreError(
            path, "is netCDF, but not of odekit", "Open it with `xarray.open_dataset`."
        )
    if given > SCHEMA_VERSION:
        reason = f"has layout {given}, and this odekit knows up to {SCHEMA_VERSION}"
        raise StoreError(path, reason, "Update odekit: `pip install --upgrade odekit`.")
    declared = sum(_declared(v) for v in file.variables.values())
    if declared > max_bytes:
        reason = f"declares {declared} bytes of data, more than the {max_bytes} allowed"
        raise StoreError(path, reason, "If you trust it, raise `max_bytes`.")


def _has(file: Any, name: str) -> bool:
    return name in file.ncattrs()


def _declared(variable: Any) -> int:
    """Bytes that loading a variable may take: all of it, or one chunk where that is larger."""
    chunks = variable.chunking()
    chunk = 1 if isinstance(chunks, str) else math.prod(chunks)
    return int(max(math.prod(variable.shape), chunk)) * int(variable.dtype.itemsize)


def _read(file: Any) -> tuple[xr.Dataset, dict[str, bool]]:
    """Load everything, and compare each variable that has a checksum with it."""
    file.set_auto_maskandscale(False)
    file.set_auto_chartostring(False)
    attrs = _read_attributes(file)
    wanted = json.loads(attrs.pop(CHECKSUMS, "{}"))
    if not isinstance(wanted, dict):
        raise ValueError(f"`{CHECKSUMS}` is a {type(wanted).__name__}")
    coords = set(attrs.pop("coordinates", "").split())
    variables, same = {}, {}
    for name, source in file.variables.items():
        values = np.asarray(source[...])
        if name in wanted:
            same[name] = checksum(source.dimensions, values) == wanted[name]
        own = _read_attributes(source)
        coords |= set(own.pop("coordinates", "").split())
        variables[name] = _decoded(source.dimensions, values, own)
    ds = xr.Dataset(variables, attrs=attrs)
    return ds.set_coords([name for name in variables if name in coords]), same


def _read_attributes(owner: Any) -> dict[str, Any]:
    attrs = {name: owner.getncattr(name) for name in owner.ncattrs()}
    return {
        name: value.item() if isinstance(value, np.int64 | np.float64) else value
        for name, value in attrs.items()
    }


def _decoded(dims: tuple[str, ...], values: Any, attrs: dict[str, Any]) -> xr.Variable:
    """Undo `encode` for one variable: characters become text again."""
    encoding = {k: attrs.pop(k) for k in ("_FillValue", "_Encoding") if k in attrs}
    if values.dtype.kind == "O":
        values = values.astype(np.str_)
    elif values.dtype.kind == "S" and values.ndim:
        width, dims = values.shape[-1], dims[:-1]
        joined = np.ascontiguousarray(values).view(f"S{width}") if values.size else values[..., :1]
        values = np.char.decode(joined.reshape(values.shape[:-1]), "utf-8")
    # Only notes for xarray's own writer: values are as they are in the file.
    kept = {k: v for k, v in encoding.items() if k == "_FillValue"}
    return xr.Variable(dims, values, attrs, encoding=kept)


def _check_content(ds: xr.Dataset, path: Path) -> None:
    try:
        problem_of(ds)
    except ProblemError as error:
        remedy = "Solve it again from its scenario."
        raise StoreError(path, f"does not hold its problem unharmed ({error})", remedy) from error


def _check_sums(ds: xr.Dataset, checksums: dict[str, bool], path: Path) -> None:
    """Every variable of odekit's has a checksum, and the right one; users may add their own."""
    remedy = "If you edited it on purpose, open it with `verify=False` and save it again."
    changed = [f"`{name}`" for name, same in checksums.items() if not same]
    if changed:
        reason = f"{', '.join(changed)} is not what was saved: the file is damaged, or was edited"
        raise StoreError(path, reason, remedy)
    bare = [f"`{name}`" for name in variables_in(ds) if name in ds and name not in checksums]
    if bare:
        reason = f"has lost the checksums of {', '.join(bare[:4])}{', …' * (len(bare) > 4)}"
        raise StoreError(path, reason, remedy)
