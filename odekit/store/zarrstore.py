"""Datasets in Zarr folders: laid out empty, filled region by region, opened lazily.

Numbers are stored as they are, without compression (it would gain little on them), with a checksum
for each chunk; text as variable-length UTF-8, which has a specification in Zarr 3, unlike numpy's
fixed-length text.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import OdekitError, ProblemError, StoreError
from odekit.base.text import plain_text
from odekit.dataset.assemble import variables_in
from odekit.dataset.common import SWEPT_TEXT
from odekit.dataset.provenance import problem_of
from odekit.store.files import beside, check_folder_target, remove_stale
from odekit.store.zarrcheck import Grid, check_manifest, check_tree, counts_of, is_leftover
from odekit.store.zarrguard import guarded
from odekit.store.zarrmanifest import DAMAGED, MANIFEST, write

if TYPE_CHECKING:
    import xarray as xr

MOST_CHUNK = 64 * 2**20
"""Largest chunk of a variable that is written whole."""
PART = ".part"
_BARE = (
    "was written by an earlier odekit and carries no manifest: damage within a chunk is noticed, "
    "but not one chunk in the place of another. To add one, open it and save it again."
)


def need_zarr() -> None:
    """Refuse early where the libraries are not installed."""
    try:
        import dask.array  # noqa: F401
        import zarr  # noqa: F401
    except ImportError as error:
        raise StoreError(
            "Zarr", f"needs a library that is not installed ({error.name})",
            "Install them: `pip install 'odekit[sweep]'`.",
        ) from None  # fmt: skip


def _text() -> Any:
    return np.dtypes.StringDType()


# ----------------------------------------------------------------------------------------- write


def lay_out(path: Path, ds: xr.Dataset, chunks: Mapping[str, Sequence[int]]) -> None:
    """Write coordinates, attributes and small variables, and make room for the others.

    Parameters
    ----------
    path : Path
        A folder that does not exist.
    ds : Dataset
        Variables in `chunks` may be broadcast from one value, which is what regions hold until
        they are written.
    chunks : mapping
        Shapes of the chunks of the variables that `write_region` will write.
    """
    import dask.array

    full: Any = dask.array.full
    ready = ds.copy()
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        data: Any = variable.data if name in chunks else variable.values
        own = encoding[str(name)] = _encoding(str(name), variable, chunks)
        if name in chunks:
            value = data[(0,) * data.ndim]
            text = data.dtype.kind == "U"
            dtype = _text() if text else data.dtype
            own["fill_value"] = str(value) if text else value
            room = full(data.shape, own["fill_value"], dtype=dtype, chunks=own["chunks"])
            ready[name] = (variable.dims, room, variable.attrs)
        elif data.dtype.kind in "UOT":
            ready[name] = (variable.dims, data.astype(_text()), variable.attrs)
    _to_zarr(ready, path, mode="w-", compute=False, encoding=encoding)


def _encoding(
    name: str, variable: xr.Variable, chunks: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    from zarr.codecs import Crc32cCodec

    own: dict[str, Any] = {"compressors": [Crc32cCodec()], "filters": [], "_FillValue": None}
    shape = chunks.get(name) or whole_chunk(variable.shape, variable.dtype.itemsize)
    return {**own, "chunks": tuple(max(n, 1) for n in shape)}


def whole_chunk(shape: Sequence[int], item: int) -> tuple[int, ...]:
    """Chunk of a variable that is written at once: all of it, or pieces of its first axes."""
    left, chunk = max(MOST_CHUNK // max(item, 1), 1), []
    for size in reversed(shape):
        chunk.append(max(min(size, left), 1))
        left = max(left // max(size, 1), 1)
    return tuple(reversed(chunk))


@dataclass(frozen=True)
class RegionWriter:
    """Writes blocks of a sweep into a folder that was laid out; any process can use it.

    Parameters
    ----------
    path : str
        The folder, absolute: workers need to see it by the same name.
    dims : dict of str to tuple of str
        Core dims of every variable.
    """

    path: str
    dims: Mapping[str, tuple[str, ...]]

    def __call__(self, region: Mapping[str, slice], arrays: Mapping[str, Any]) -> None:
        """Write arrays, whose first dims are those of the region, in its order."""
        import xarray as xr

        if not Path(self.path).is_dir():
            remedy = "Workers must see the same file system."
            raise StoreError(self.path, "is not to be seen from this worker", remedy)
        variables = {}
        for name, values in arrays.items():
            dims = (*region, *self.dims[name])
            # As objects: versions of xarray differ in the type by which they know stored text.
            stored = values.astype(object) if values.dtype.kind == "U" else values
            variables[name] = (dims, stored)
        _to_zarr(xr.Dataset(variables), Path(self.path), mode="r+", region=dict(region))


def _to_zarr(ds: xr.Dataset, path: Path, **options: Any) -> None:
    shared: Any = {"consolidated": False, "zarr_format": 3, "write_empty_chunks": True}
    try:
        ds.to_zarr(path, **shared, **options)
    except OSError as error:
        remedy = "Is the folder writable, and is there space on the disk?"
        raise StoreError(path, f"could not be written ({error})", remedy) from error


def add_attributes(path: Path, attrs: Mapping[str, Any]) -> None:
    """Add global attributes to a folder that was laid out."""
    import zarr

    zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False).attrs.update(attrs)


def edit_variable(path: Path, name: str, change: Callable[[Any], None]) -> None:
    """Change a variable of a folder in place, all of it at once."""
    import zarr

    array: Any = zarr.open_array(path / name, mode="r+", zarr_format=3)
    values = np.array(array[...])
    change(values)
    array[...] = values


def publish(written: Path, target: Path, overwrite: bool) -> None:
    """Put a finished folder at its place: what is there is absent, the old one or the new one."""
    for file in written.rglob("*"):
        if is_leftover(file):
            file.unlink(missing_ok=True)
    # Where writing it once failed, as on a full disk, half of one is there.
    shutil.rmtree(written / MANIFEST, ignore_errors=True)
    counts = counts_of(check_tree(written, max_bytes=2**62))
    try:
        write(written, counts)
    except OSError as error:
        raise StoreError(target, f"could not be written ({error})") from error
    if hasattr(os, "sync"):
        os.sync()
    check_folder_target(target, overwrite)
    old = target.with_name(f".{target.name}.{secrets.token_hex(6)}.old")
    try:
        if target.exists():
            target.rename(old)
        written.rename(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            old.rename(target)
        raise StoreError(target, f"could not be written ({error})") from error
    shutil.rmtree(old, ignore_errors=True)


def save(ds: xr.Dataset, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write a dataset to a Zarr folder, whole or not at all."""
    need_zarr()
    target = check_folder_target(path, overwrite)
    for name, variable in ds.variables.items():
        if name == MANIFEST or variable.dtype.kind not in "biufUT" or not str(name).isidentifier():
            reason = f"the variable `{name}` of type {variable.dtype} has no place in it"
            raise StoreError(path, reason, "Convert it to numbers or text, or drop it.")
    written = beside(target)
    try:
        remove_stale(target)
        lay_out(written, ds.compute(), {})
        publish(written, target, overwrite)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    return target


# ------------------------------------------------------------------------------------------ open


def open_folder(
    path: Path, max_bytes: int, complete: bool = True, verify: bool = True
) -> xr.Dataset:
    """Open a folder lazily, as Dask arrays in its chunks; see `odekit.open`."""
    import xarray as xr

    need_zarr()
    grids = check_tree(path, max_bytes, complete)
    if complete and verify and not check_manifest(path, grids):
        warnings.warn(f"{path}: {_BARE}", stacklevel=3)
    try:
        ds: xr.Dataset = xr.open_zarr(
            path,
            chunks=None,
            drop_variables=[MANIFEST],
            consolidated=False,
            zarr_format=3,
            decode_times=False,
            decode_timedelta=False,
            mask_and_scale=False,
        )
        ds = _as_solved(_lazy(path, ds, grids))
    except OdekitError:
        raise
    # What the libraries raise on damage differs by where it is: all of it means the same.
    except Exception as error:
        raise StoreError(path, f"could not be read ({error})", DAMAGED) from error
    try:
        problem_of(ds)
    except ProblemError as error:
        remedy = "Solve it again from its scenario."
        raise StoreError(path, f"does not hold its problem unharmed ({error})", remedy) from error
    return ds


def _lazy(path: Path, ds: xr.Dataset, grids: dict[str, Grid]) -> xr.Dataset:
    """The dataset as written, with Dask arrays for what is not yet read."""
    ds.attrs.pop(MANIFEST, None)
    late = {n: v for n, v in ds.variables.items() if n not in ds.indexes}
    arrays = {
        n: (v.dims, guarded(path, str(n), v, grids[str(n)].chunk), v.attrs) for n, v in late.items()
    }
    coords = {n: a for n, a in arrays.items() if n in ds.coords}
    return ds.assign({n: a for n, a in arrays.items() if n not in coords}).assign_coords(coords)


def _as_solved(ds: xr.Dataset) -> xr.Dataset:
    """Types and attributes as in memory, with longer texts: JSON and open lengths change some."""
    known = variables_in(ds)
    changed: dict[str, Any] = {}
    for name, variable in ds.variables.items():
        attrs = dict(variable.attrs)
        if "flag_values" in attrs and variable.dtype.kind in "iu":
            attrs["flag_values"] = np.array(attrs["flag_values"], dtype=variable.dtype)
        data = variable.data
        if variable.dtype.kind in "OT":
            lazy = str(name) in known and name not in ds.coords
            data = data.astype(SWEPT_TEXT) if lazy else plain_text(variable.values)
        if data is not variable.data or "flag_values" in attrs:
            changed[str(name)] = (variable.dims, data, attrs)
    for variable in ds.variables.values():
        variable.encoding = {}
    ds = ds.assign({n: v for n, v in changed.items() if n not in ds.coords})
    ds = ds.assign_coords({n: v for n, v in changed.items() if n in ds.coords})
    # A folder has no order of its own: that of the registry, then by name.
    order = [*known, *sorted(map(str, ds.data_vars))]
    return ds[list(dict.fromkeys(n for n in order if n in ds.data_vars))]
