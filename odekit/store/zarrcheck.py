"""What a Zarr folder declares and holds, looked at before any library reads data from it.

Only what odekit writes passes: no other codec (some run code), no links, no sizes that the files do
not bear out.
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from odekit.base.errors import StoreError
from odekit.dataset.provenance import SCHEMA_VERSION
from odekit.store.zarrmanifest import CRC_BYTES, DAMAGED, MANIFEST, METADATA, compare, gather, read

MOST_METADATA = 64 * 2**20
CODECS = ("bytes", "vlen-utf8", "crc32c")
ITEM_BYTES = {
    "bool": 1,
    **{f"{kind}{8 * n}": n for kind in ("int", "uint") for n in (1, 2, 4, 8)},
    "float32": 4,
    "float64": 8,
}
FOREIGN = "odekit opens what it has written; try `xarray.open_zarr` if you trust it."


class Grid(NamedTuple):
    """How a variable is cut into chunks: how many along each dim, and the entries of each."""

    counts: tuple[int, ...]
    chunk: tuple[int, ...]


def is_zarr(path: Path) -> bool:
    """Whether a folder is the root of a Zarr store."""
    return path.is_dir() and any((path / n).exists() for n in (METADATA, ".zgroup", ".zmetadata"))


def check_tree(path: Path, max_bytes: int, complete: bool = True) -> dict[str, Grid]:
    """Refuse a folder that is not just what odekit writes.

    Parameters
    ----------
    path : Path
    max_bytes : int
        Most memory that one chunk, or all variables that are loaded at once, may take.
    complete : bool
        Whether every chunk must be there.

    Returns
    -------
    dict of str to Grid
        Of each variable; without the manifest.

    Raises
    ------
    StoreError
    """
    root = _metadata(path, path)
    attrs = root.get("attributes")
    if root.get("node_type") != "group" or not isinstance(attrs, dict):
        raise StoreError(path, "is Zarr, but not of odekit", FOREIGN)
    given = attrs.get("odekit_schema_version")
    if not isinstance(given, int) or "odekit_problem" not in attrs:
        raise StoreError(path, "is Zarr, but not of odekit", FOREIGN)
    if given > SCHEMA_VERSION:
        reason = f"has layout {given}, and this odekit knows up to {SCHEMA_VERSION}"
        raise StoreError(path, reason, "Update odekit: `pip install --upgrade odekit`.")
    whole, grids = 0, {}
    for entry in sorted(path.iterdir()):
        if entry.name == METADATA:
            continue
        if entry.is_symlink() or not entry.is_dir():
            raise StoreError(path, f"holds `{entry.name}`, which is no variable", FOREIGN)
        loaded, grids[entry.name] = _check_array(path, entry, max_bytes, complete)
        whole += loaded
    if whole > max_bytes:
        reason = f"declares {whole} bytes of coordinates, more than the {max_bytes} allowed"
        raise StoreError(path, reason, "If you trust it, raise `max_bytes`.")
    grids.pop(MANIFEST, None)
    return grids


def counts_of(grids: dict[str, Grid]) -> dict[str, tuple[int, ...]]:
    """How many chunks each variable has along its dims."""
    return {name: grid.counts for name, grid in grids.items()}


def check_manifest(path: Path, grids: dict[str, Grid]) -> bool:
    """Refuse a folder that is not what was written; whether it has a manifest that tells."""
    wanted = read(path)
    attrs = _metadata(path, path)["attributes"]
    if wanted is None and MANIFEST in attrs:
        raise StoreError(path, "has lost its manifest", DAMAGED)
    if wanted is not None:
        compare(path, wanted, gather(path, counts_of(grids)))
    return wanted is not None


def _metadata(path: Path, node: Path) -> dict[str, Any]:
    file = node / METADATA
    try:
        about = file.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_METADATA:
            raise StoreError(path, f"`{file.name}` of `{node.name}` is no ordinary file", FOREIGN)
        data = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(path, f"could not be read ({error})", DAMAGED) from error
    if not isinstance(data, dict) or data.get("zarr_format") != 3:
        raise StoreError(path, "is not Zarr of version 3", FOREIGN)
    return data


def _check_array(path: Path, folder: Path, max_bytes: int, complete: bool) -> tuple[int, Grid]:
    """Check one variable; bytes of it that opening loads, and its chunks."""
    data = _metadata(path, folder)
    try:
        shape, chunk, dims, item = _declared(data)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"the variable `{folder.name}` is stored as odekit does not ({error})"
        raise StoreError(path, reason, FOREIGN) from error
    most = math.prod(chunk) * (item or 1)
    if most > max_bytes:
        reason = f"`{folder.name}` declares chunks of {most} bytes, more than {max_bytes}"
        raise StoreError(path, reason, "If you trust it, raise `max_bytes`.")
    counts = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    _check_files(path, folder, counts, math.prod(chunk), item, complete, max_bytes)
    loaded = dims == (folder.name,) or folder.name.startswith(("problem_", MANIFEST))
    return (math.prod(shape) * (item or 1) if loaded else 0), Grid(counts, chunk)


def _declared(data: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...], Any, int | None]:
    """Shape, chunk, dims and bytes of an item (None for text), if all is as odekit writes it."""
    kind = data["data_type"]
    if data["node_type"] != "array" or not (kind in ITEM_BYTES or kind == "string"):
        raise ValueError(f"type {kind!r}"[:60])
    names = [c["name"] for c in data["codecs"]]
    if names != ["vlen-utf8" if kind == "string" else "bytes", "crc32c"]:
        raise ValueError(f"codecs {names}"[:80])
    if data["codecs"][0].get("configuration", {}).get("endian", "little") != "little":
        raise ValueError("big-endian numbers")
    grid, keys = data["chunk_grid"], data["chunk_key_encoding"]
    separator = keys.get("configuration", {}).get("separator", "/")
    if grid["name"] != "regular" or keys["name"] != "default" or separator != "/":
        raise ValueError("another grid of chunks")
    if data.get("storage_transformers"):
        raise ValueError("transformers of storage")
    shape, chunk = data["shape"], grid["configuration"]["chunk_shape"]
    dims = data.get("dimension_names") or []
    sizes = all(type(n) is int and n >= 0 for n in shape) and all(
        type(n) is int and n >= 1 for n in chunk
    )
    if not sizes or not len(shape) == len(chunk) == len(dims):
        raise ValueError("sizes that do not fit")
    return tuple(shape), tuple(chunk), tuple(dims), ITEM_BYTES.get(kind)


def _check_files(
    path: Path,
    folder: Path,
    counts: tuple[int, ...],
    items: int,
    item: int | None,
    complete: bool,
    max_bytes: int,
) -> None:
    """Every chunk is an ordinary file of the size that it must have, and nothing else is there."""
    found = 0
    for parent, folders, files in os.walk(folder):
        inside = Path(parent)
        for name in (*folders, *files):
            place, about = inside / name, (inside / name).lstat()
            if not stat.S_ISDIR(about.st_mode) and not stat.S_ISREG(about.st_mode):
                raise StoreError(path, f"holds a link or device, {place.name}", FOREIGN)
        for name in files:
            place = inside / name
            if place == folder / METADATA or (not complete and is_leftover(place)):
                continue
            key = place.relative_to(folder).parts
            if not _fits(key, counts):
                raise StoreError(path, f"holds `{folder.name}/{'/'.join(key)}`, no chunk", FOREIGN)
            _check_size(path, place, items, item, max_bytes)
            found += 1
    if found > math.prod(counts) or (complete and found < math.prod(counts)):
        reason = f"`{folder.name}` has {found} of {math.prod(counts)} chunks"
        raise StoreError(path, reason, DAMAGED)


def is_leftover(file: Path) -> bool:
    """Whether a file is one that zarr renames once it is written, and did not get to."""
    return file.suffix == ".partial"


def _fits(key: tuple[str, ...], counts: tuple[int, ...]) -> bool:
    numbers = key[1:]
    plain = key[0] == "c" and all(n.isascii() and n.isdigit() for n in numbers)
    return (
        plain
        and len(numbers) == len(counts)
        and all(str(int(n)) == n and int(n) < c for n, c in zip(numbers, counts, strict=True))
    )


def _check_size(path: Path, file: Path, items: int, item: int | None, max_bytes: int) -> None:
    size = file.stat().st_size
    if item is not None:
        good = size == items * item + CRC_BYTES
    else:
        with file.open("rb") as opened:
            good = int.from_bytes(opened.read(4), "little") == items and size <= max_bytes
    if not good:
        name = file.relative_to(path).as_posix()
        raise StoreError(path, f"the chunk `{name}` has not the size that it must have", DAMAGED)
