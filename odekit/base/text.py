"""One text, and one checksum, for equal data."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def canonical_json(data: Any, *, sort: bool = True) -> str:
    """One text for equal data: sorted keys, no blanks, shortest exact floats, ASCII, no NaN.

    Where the order of keys means something, as that of heads and tasks does for a dataset, leave it
    with ``sort=False``.

    Examples
    --------
    >>> canonical_json({"b": 0.1, "a": np.arange(2)})
    '{"a":[0,1],"b":0.1}'
    """
    return json.dumps(data, sort_keys=sort, separators=(",", ":"), allow_nan=False, default=_plain)


def plain_text(values: Any) -> Any:
    """Text of any type as numpy's own of fixed length."""
    return values.astype(object).astype(np.str_)


def array_digest(values: Any) -> str:
    """SHA-256 of an array: of its type, shape and bytes, or of its text.

    Examples
    --------
    >>> array_digest(np.zeros(3)) == array_digest(np.zeros((3, 1)))
    False
    """
    if values.dtype.kind in "UOT":
        return hashlib.sha256(canonical_json(values.tolist()).encode()).hexdigest()
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    found = hashlib.sha256(f"{little.dtype.str}{values.shape}".encode())
    found.update(little.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


MOST_LETTERS = 60


def brief(value: Any) -> str:
    """A value in one line: of a large array its dims or shape and extent.

    Examples
    --------
    >>> brief(0.5), brief(np.arange(3.0)), brief(np.arange(100.0))
    ('0.5', '[0.0, 1.0, 2.0]', 'array of (100,), 0 to 99')
    """
    if not hasattr(value, "ndim"):
        return repr(value)
    array = np.asarray(value)
    dims = getattr(value, "dims", ())
    said = repr(array.tolist())
    if not dims and len(said) <= MOST_LETTERS:
        return said
    shape = str(array.shape)[1:-1]
    if dims:
        shape = ", ".join(f"{d}: {n}" for d, n in zip(dims, array.shape, strict=True))
    return f"array of ({shape}), {array.min():.4g} to {array.max():.4g}"


MOST_DIGITS = 6


def carried(value: float, tolerance: float = 0.0) -> str:
    """A number with as many digits as a tolerance carries, six at most.

    Examples
    --------
    >>> carried(3.575674e-6, 1e-8), carried(0.1234567, 1e-8), carried(3e-12, 1e-8)
    ('3.58e-06', '0.123457', '0 within 1e-08')
    """
    size = abs(value)
    if not 0.0 < tolerance < np.inf or not np.isfinite(value):
        return f"{value:.{MOST_DIGITS}g}"
    if size <= tolerance:
        return f"0 within {tolerance:.0e}"
    digits = int(np.clip(np.floor(np.log10(size / tolerance)) + 1, 1, MOST_DIGITS))
    return f"{value:.{digits}g}"


def complaint(error: Exception) -> str:
    """What a compiler says, of many lines, in one short one.

    Examples
    --------
    >>> complaint(ValueError("Failed in pipeline\\n\\nUnknown attribute 'q'\\nDuring: typing"))
    "Unknown attribute 'q'"
    """
    lines = [line.strip() for line in str(error).splitlines()]
    noise = ("Failed in", "During", "File", "<source", "-", ">>>", "^", "raised", "def ", "No impl")
    said = [line for line in lines if line and not line.startswith(noise)]
    return " ".join(said)[:300]
