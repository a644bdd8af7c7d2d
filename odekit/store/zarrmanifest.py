"""What a Zarr folder held when it was finished: a checksum of every chunk and document.

Each chunk file ends in a checksum of its own, which tells damage when it is read, but not that two
chunks were exchanged; the documents ``zarr.json`` have none. The manifest lists both. It is an
array of the store, the bytes of a JSON text, so that other readers meet nothing that is not Zarr;
the attribute of its name says in the root that there is one.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from odekit.base.errors import StoreError

__all__ = ["MANIFEST", "compare", "gather", "read", "write"]

MANIFEST = "odekit_manifest"
METADATA = "zarr.json"
CRC_BYTES = 4
DAMAGED = "It is damaged or incomplete: take a copy, or solve the problem again."
_VERSION = 1
_EDITED = (
    "It is damaged, or was edited: take a copy, or solve the problem again. If you edited it on "
    "purpose, open it with `verify=False` and save it again."
)

Counts = Mapping[str, tuple[int, ...]]
"""Chunks of each variable along each of its dims."""


def gather(path: Path, counts: Counts) -> dict[str, Any]:
    """The manifest of a folder as it is.

    Returns
    -------
    dict
        ``documents``: checksum by folder, "" for the root; ``chunks``: by variable the checksums of
        its chunks in C order, 8 hexadecimal digits each, "." for one that is not there.
    """
    documents = {name: f"{zlib.crc32(_bytes(path, name)):08x}" for name in ("", *counts)}
    chunks = {name: "".join(_ends(path / name, shape)) for name, shape in counts.items()}
    return {"version": _VERSION, "documents": documents, "chunks": chunks}


def _bytes(path: Path, name: str) -> bytes:
    return (path / name / METADATA).read_bytes()


def _ends(folder: Path, counts: tuple[int, ...]) -> Iterator[str]:
    """The last bytes of every chunk file: its checksum."""
    for place in np.ndindex(counts):
        file = folder.joinpath("c", *map(str, place))
        try:
            with file.open("rb") as opened:
                opened.seek(-CRC_BYTES, 2)
                yield opened.read().hex()
        except OSError:
            yield "." * 8


def write(path: Path, counts: Counts) -> None:
    """Put the manifest into a finished folder that has none."""
    import zarr
    from zarr.codecs import Crc32cCodec

    group = zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)
    group.attrs[MANIFEST] = _VERSION
    text = np.frombuffer(json.dumps(gather(path, counts)).encode(), np.uint8)
    array = group.create_array(
        MANIFEST,
        shape=text.shape,
        dtype=text.dtype,
        chunks=text.shape,
        compressors=[Crc32cCodec()],
        filters=[],
        dimension_names=[f"{MANIFEST}_bytes"],
        attributes={"long_name": "checksums of every chunk and document, JSON"},
    )
    array[...] = text


def read(path: Path) -> dict[str, Any] | None:
    """The manifest that a folder holds; None where it holds none.

    Raises
    ------
    StoreError
        If it is no manifest of a version that is known here.
    """
    if not (path / MANIFEST).exists():
        return None
    try:
        found = json.loads((path / MANIFEST / "c" / "0").read_bytes()[:-CRC_BYTES])
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(path, f"its manifest could not be read ({error})", DAMAGED) from error
    if not isinstance(found, dict) or found.get("version") != _VERSION:
        raise StoreError(path, "its manifest is of another kind", DAMAGED)
    return found


def compare(path: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Refuse a folder that is not what its manifest says.

    Raises
    ------
    StoreError
        With the first differences.
    """
    changed = list(_differences(wanted, found))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        reason = f"is not what was written: {', '.join(changed[:3])}{more}"
        raise StoreError(path, reason, _EDITED)


def _differences(wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for part in ("documents", "chunks"):
        then, now = wanted.get(part), found[part]
        if not isinstance(then, dict):
            yield f"the manifest lists no {part}"
            continue
        yield from (f"`{name}` is missing" for name in then if name not in now)
        yield from (f"`{name}` was added" for name in now if name not in then)
    if wanted == found:
        return
    for name, sum_ in found["documents"].items():
        if wanted["documents"].get(name, sum_) != sum_:
            yield f"`{f'{name}/' if name else ''}{METADATA}` has changed"
    for name, sums in found["chunks"].items():
        then = str(wanted["chunks"].get(name, sums))
        off = [i for i in range(len(sums) // 8) if sums[8 * i :][:8] != then[8 * i :][:8]]
        if off or len(then) != len(sums):
            yield f"{len(off)} of {len(sums) // 8} chunks of `{name}` are others"
