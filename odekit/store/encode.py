"""From a dataset to what every netCDF reader understands, or an error before there is a file.

Numbers stay as they are, bit by bit; text becomes characters in UTF-8 (type ``char``, with one
more dimension), because variable-length strings break Octave and older R. Attributes are
numbers or text: True and False become 1 and 0, None is left out, dictionaries and lists with
text become one JSON text.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["CHECKSUMS", "Encoded", "Item", "checksum", "encode"]

CHECKSUMS = "odekit_checksums"
"""Global attribute with a checksum of each variable; only the file has it."""

_NAME = re.compile(r"\w[\w.+@-]*")
# Names that the netCDF and HDF5 libraries or readers by convention give a meaning of their own.
_RESERVED = {
    *("_FillValue", "_Encoding", "_Unsigned", "_NCProperties", "_Netcdf4Dimid"),
    *("_Netcdf4Coordinates", "_nc3_strict", "_IsNetcdf4", "_SuperblockVersion"),
    *("CLASS", "NAME", "DIMENSION_LIST", "DIMENSION_LABELS", "REFERENCE_LIST"),
    *("scale_factor", "add_offset", "coordinates", CHECKSUMS),
}

Refuse = Callable[[str], Exception]


@dataclass(frozen=True)
class Item:
    """One variable as the file holds it."""

    name: str
    dims: tuple[str, ...]
    values: Any
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Encoded:
    """A whole file, ready to be written without a decision left."""

    sizes: dict[str, int]
    items: list[Item]
    attrs: dict[str, Any]


def checksum(dims: tuple[str, ...], values: Any) -> str:
    """CRC-32 of a variable's dimensions, type, shape and values.

    Examples
    --------
    >>> checksum(("x",), np.zeros(2)) == checksum(("x",), np.array([0.0, -0.0]))
    False
    """
    head = repr((dims, values.dtype.str, values.shape)).encode()
    body = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return f"crc32:{zlib.crc32(body.data, zlib.crc32(head)):08x}"


def encode(ds: xr.Dataset, refuse: Refuse) -> Encoded:
    """Make all decisions about a file.

    Parameters
    ----------
    ds : Dataset
        The data.
    refuse : callable
        Makes the error to raise from what is wrong.

    Returns
    -------
    Encoded
    """
    for dim in ds.dims:
        _check_name("the dimension", dim, refuse)
    sizes = {str(d): n for d, n in ds.sizes.items()}
    items = [_item(str(name), v, sizes, refuse) for name, v in ds.variables.items()]
    attrs = _attributes("the dataset", ds.attrs, refuse)
    _note_coordinates(ds, items, attrs)
    sums = {item.name: checksum(item.dims, item.values) for item in items}
    attrs[CHECKSUMS] = json.dumps(sums).encode()
    return Encoded(sizes, items, attrs)


def _item(name: str, variable: xr.Variable, sizes: dict[str, int], refuse: Refuse) -> Item:
    _check_name("the variable", name, refuse)
    dims = tuple(str(d) for d in variable.dims)
    if len(set(dims)) != len(dims):
        raise refuse(f"the variable `{name}` has a dimension twice: {dims}; rename one")
    attrs = _attributes(f"the variable `{name}`", variable.attrs, refuse)
    values = _numbers_or_text(name, variable.values, refuse)
    if values.dtype.kind == "U":
        values = _characters(name, values, refuse)
        dims = (*dims, _character_dim(values.shape[-1], sizes))
        attrs["_Encoding"] = b"utf-8"
    return Item(name, dims, values, attrs)


def _note_coordinates(ds: xr.Dataset, items: list[Item], attrs: dict[str, Any]) -> None:
    """Say which variables are coordinates, as CF and xarray do: where their dimensions fit."""
    extra = [str(c) for c in ds.coords if c not in ds.dims]
    unclaimed = set(extra)
    for item in items:
        if item.name in ds.coords:
            continue
        fitting = [c for c in extra if set(ds[c].dims) <= set(item.dims)]
        unclaimed -= set(fitting)
        if fitting:
            item.attrs["coordinates"] = " ".join(fitting).encode()
    if unclaimed:
        attrs["coordinates"] = " ".join(c for c in extra if c in unclaimed).encode()


def _check_name(what: str, name: object, refuse: Refuse) -> None:
    if not isinstance(name, str):
        raise refuse(f"{what} {name!r} must be named by text, not by {type(name).__name__}")
    plain = unicodedata.normalize("NFC", name) == name and len(name.encode()) <= 256
    if not (_NAME.fullmatch(name) and plain):
        raise refuse(f"{what} {name!r} must be named by letters, digits and _ . + @ -; rename it")


# ----------------------------------------------------------------------------------------- values


def _numbers_or_text(name: str, values: Any, refuse: Refuse) -> Any:
    kind = values.dtype.kind
    if kind == "b":
        return values.astype(np.int8)
    if kind in "iu" or (kind == "f" and values.dtype.itemsize in (4, 8)):
        native = values.dtype.newbyteorder("=")
        # An explicit "<" is the same order where it is native, but netCDF4 warns of it.
        return values.astype(native, copy=False).view(native)
    if kind == "U":
        return values
    if kind in "OT" and all(isinstance(v, str) for v in values.flat):
        return values.astype(np.str_)
    remedy = {
        "c": "save its `.real` and `.imag` parts",
        "f": 'convert it with `.astype("float64")`',
        "M": "convert it to numbers with a unit",
        "m": "convert it to numbers with a unit",
        "O": "convert it to numbers or text, or drop it (a MultiIndex: `reset_index`)",
    }.get(kind, "convert it to numbers or text, or drop it")
    raise refuse(f"the variable `{name}` of type {values.dtype} fits no netCDF type; {remedy}")


def _characters(name: str, texts: Any, refuse: Refuse) -> Any:
    """Array of single bytes with one more dimension, as long as the longest text."""
    try:
        encoded = np.char.encode(texts, "utf-8") if texts.size else texts.astype("S1")
    except UnicodeEncodeError as error:
        raise refuse(f"the variable `{name}` holds text that is not valid Unicode") from error
    width = max(encoded.dtype.itemsize, 1)
    encoded = np.ascontiguousarray(encoded, dtype=f"S{width}")
    return encoded.reshape((*texts.shape, 1)).view("S1").reshape((*texts.shape, width))


def _character_dim(width: int, sizes: dict[str, int]) -> str:
    """Name a dimension for `width` characters, and note it among the sizes."""
    name = f"string{width}"
    while sizes.get(name, width) != width:
        name += "_"
    sizes[name] = width
    return name


# ------------------------------------------------------------------------------------- attributes


def _attributes(owner: str, attrs: Mapping[Any, Any], refuse: Refuse) -> dict[str, Any]:
    clean = {}
    for name, value in attrs.items():
        what = f"the attribute `{name}` of {owner}"
        _check_name(f"an attribute of {owner},", name, refuse)
        if name in _RESERVED:
            raise refuse(f"{what} has a name that netCDF uses for itself; rename it")
        if value is not None:
            clean[name] = _attribute(what, value, refuse)
    return clean


def _attribute(what: str, value: Any, refuse: Refuse) -> Any:
    """Represent one attribute: bytes stand for text, all else is a number or an array of them."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, str):
        return _text(what, value, refuse)
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, Integral) and not isinstance(value, np.generic):
        if not -(2**63) <= int(value) < 2**63:
            raise refuse(f"{what} is an integer beyond 64 bits; store it as text")
        return int(value)
    if isinstance(value, float | np.number) and _is_plain_number(np.asarray(value).dtype):
        return value
    if isinstance(value, np.ndarray | list | tuple) and len(value):
        array = np.asarray(value) if _is_flat(value) else None
        if array is not None and array.dtype.kind == "b":
            return array.astype(np.int8)
        if array is not None and array.ndim == 1 and _is_plain_number(array.dtype):
            return array
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict | list | tuple):
        return _text(what, _json(what, value, refuse), refuse)
    raise refuse(f"{what} is a {type(value).__name__}; make it a number or text")


def _is_plain_number(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8))


def _is_flat(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return all(isinstance(v, bool | int | float | np.number | np.bool_) for v in value)


def _json(what: str, value: Any, refuse: Refuse) -> str:
    def plain(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        raise TypeError(f"{type(item).__name__} in it has no place in JSON")

    try:
        return json.dumps(value, allow_nan=False, default=plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise refuse(f"{what} cannot be written as JSON ({error})") from error


def _text(what: str, value: str, refuse: Refuse) -> bytes:
    if "\0" in value:
        raise refuse(f"{what} holds a NUL character; take it out")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise refuse(f"{what} is not valid Unicode") from error
