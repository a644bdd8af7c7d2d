"""Checks of single values: every public argument passes through one of these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    import xarray as xr

    Number = float | xr.DataArray
    Array = np.ndarray[Any, np.dtype[np.float64]] | xr.DataArray

MAX_UNITS = 1024
"""Most student units or fixed vectors: (2·1024)² doubles already fill 32 MiB per moment matrix."""

MAX_NUMBERS = 2**28
"""Most numbers in one array: 2 GiB."""


_LABELS = (
    "time student student_other teacher teacher_other head task phase_index time_since_switch "
    "replica group"
)
_VARIABLES = (
    "Q R T readout generalization_error phase status t_last n_steps n_rhs n_jac phase_end "
    "phase_end_error phase_outcome method test_error quadrature_nodes quadrature_error "
    "Q_group R_group T_group group_fraction misclassification"
)
RESERVED = frozenset(f"{_LABELS} {_VARIABLES}".split())
"""Names in the result that no sweep axis may take."""


def axis_name(argument: str, name: object) -> str:
    """A name that a sweep axis may have: it becomes a dim of the result and of its file."""
    plain = isinstance(name, str) and name.isidentifier() and name.isascii()
    if not plain or name in RESERVED or str(name).startswith("problem_"):
        raise ProblemError(
            argument,
            "must have sweep dims with plain names that nothing in the result has",
            repr(name),
            f"Rename the dim; not problem_... and not one of {', '.join(sorted(RESERVED))}.",
        )
    return str(name)


def is_labelled(value: object) -> TypeGuard[xr.DataArray]:
    """Whether a value is an `xarray.DataArray`, without importing xarray."""
    return hasattr(value, "dims") and hasattr(value, "coords") and hasattr(value, "transpose")


def agree(argument: str, values: Iterable[Any], core: Collection[str] = ()) -> None:
    """Refuse labelled arrays that xarray would align, with points that are lost or NaN."""
    labelled = [value for value in values if is_labelled(value)]
    if len(labelled) < 2:
        return
    import xarray as xr

    try:
        xr.align(*labelled, join="exact", copy=False, exclude=set(core))
    except ValueError as error:
        raise ProblemError(
            argument,
            "must agree in the lengths and coordinates of the sweep axes that they share",
            str(error),
            "Align the arrays, or rename a dim that is another axis.",
        ) from None


def has_core(value: Any, dim: str, rank: int) -> bool:
    """Whether a labelled array has a dim, or another value so many axes."""
    if is_labelled(value):
        return dim in value.dims
    try:
        return np.ndim(value) == rank
    except ValueError:  # of unequal lengths: whatever checks it refuses it
        return False


def _check_dims(argument: str, value: xr.DataArray) -> None:
    if len(set(value.dims)) < len(value.dims):
        raise ProblemError(
            argument, "must not name a dim twice", f"dims {value.dims}", "Rename one of them."
        )
    if not value.size:
        empty = {d: n for d, n in value.sizes.items() if not n}
        raise ProblemError(
            argument, "must have at least one entry along every dim", f"sizes {empty}", ""
        )


def as_floats(argument: str, value: object, what: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Turn a value into a float64 array of finite numbers, or raise naming the argument."""
    if is_labelled(value):
        _check_dims(argument, value)
    raw: Any = value.values if is_labelled(value) else value
    if getattr(raw, "size", 0) > MAX_NUMBERS:  # a broadcast view is small until it is copied
        size = f"an array of shape {raw.shape}"
        raise ProblemError(argument, f"must hold at most {MAX_NUMBERS} numbers", size, "")
    if np.ma.is_masked(raw):
        raise ProblemError(argument, "must have no masked entries", _short(raw), "Leave them out.")
    try:
        given = np.asarray(raw)
        if given.dtype.kind not in "iuf":
            raise TypeError
        array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ProblemError(
            argument, f"must be {what}", _short(value), "Give plain real numbers."
        ) from None
    if not np.isfinite(array).all():
        raise ProblemError(
            argument, "must be finite", _short(array), "Replace the NaN or infinite entries."
        )
    return array


def number(
    argument: str,
    value: object,
    rule: str = "be a number",
    valid: Callable[[Any], Any] | None = None,
    remedy: str = "",
) -> Number:
    """A finite number, or a labelled array of them over sweep dims, that satisfies `valid`."""
    array = as_floats(argument, value, "a number or a labelled array of numbers")
    if array.ndim and not is_labelled(value):
        raise ProblemError(
            argument,
            "must be one number",
            f"an array of shape {array.shape}",
            "To sweep over it, give an xarray.DataArray with named dims.",
        )
    if valid is not None and not np.all(valid(array)):
        worst = array[~np.asarray(valid(array))].ravel()[0] if array.ndim else array
        raise ProblemError(argument, f"must {rule}", f"{float(worst):g}", remedy)
    if is_labelled(value) and array.ndim:
        return _relabel(argument, value, array, ())
    return float(array)


def single(check: Callable[..., Number], argument: str, value: object, *rule: Any) -> float:
    """What a check of numbers lets pass, if it is not swept."""
    found = check(argument, value, *rule)
    if is_labelled(found):
        raise ProblemError(
            argument,
            "must be one number",
            f"an array with dims {found.dims}",
            "Call once for each of its values.",
        )
    return float(found)


def nonnegative(argument: str, value: object, remedy: str = "") -> Number:
    """A number >= 0."""
    return number(argument, value, "be >= 0", lambda x: x >= 0, remedy or "Drop the sign.")


def positive(argument: str, value: object, remedy: str = "") -> Number:
    """A number > 0."""
    return number(argument, value, "be > 0", lambda x: x > 0, remedy or "Give a number above zero.")


def interval(argument: str, value: object) -> tuple[float, float]:
    """Two numbers, from low to high."""
    ends = as_floats(argument, value, "two numbers, low and high")
    if ends.shape != (2,) or not ends[0] < ends[1]:
        raise ProblemError(argument, "must be two numbers from low to high", _short(value), "")
    return float(ends[0]), float(ends[1])


def count(argument: str, value: object, most: int = MAX_UNITS, least: int = 1) -> int:
    """An integer between `least` and `most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise ProblemError(argument, "must be an integer", _short(value), "Give a whole number.")
    if not least <= value <= most:
        raise ProblemError(
            argument,
            f"must be between {least} and {most}",
            str(value),
            "The equations are for few units; the input dimension is a separate argument."
            if value > most
            else "Give a larger number.",
        )
    return int(value)


def array(
    argument: str,
    value: object,
    dims: Sequence[str],
    shape: Sequence[int | None],
    remedy: str = "",
) -> Array:
    """An array over the core `dims`, or a labelled array that has sweep dims before them.

    A None in `shape` leaves that length free.
    """
    floats = as_floats(argument, value, f"an array over {tuple(dims)}")
    if is_labelled(value):
        missing = [d for d in dims if d not in value.dims]
        if missing:
            raise ProblemError(
                argument,
                f"must have the dims {tuple(dims)}",
                f"dims {value.dims}",
                f"Rename or add {missing}; every other dim is a sweep axis.",
            )
        for dim in dims:
            _check_order(argument, value, dim)
        sweep = [d for d in value.dims if d not in dims]
        value = value.transpose(*sweep, *dims)
        floats = np.asarray(value.values, dtype=np.float64)
    core = floats.shape[floats.ndim - len(dims) :]
    wrong_rank = floats.ndim != len(dims) and not is_labelled(value)
    if wrong_rank or any(s is not None and s != c for s, c in zip(shape, core, strict=False)):
        lengths = ", ".join("any" if s is None else str(s) for s in shape)
        wanted = f"({lengths},)" if len(shape) == 1 else f"({lengths})"
        raise ProblemError(
            argument, f"must have shape {wanted} over {tuple(dims)}", str(floats.shape), remedy
        )
    if is_labelled(value) and floats.ndim > len(dims):
        return _relabel(argument, value, floats, tuple(dims))
    return readonly(floats)


def _check_order(argument: str, value: xr.DataArray, dim: str) -> None:
    """Labels of units are dropped, so that units in another order would be mixed up."""
    if dim not in value.coords or value.coords[dim].dtype.kind not in "iuf":
        return
    labels, count = value.coords[dim].values, np.arange(value.sizes[dim])
    if np.array_equal(np.sort(labels), count) and not np.array_equal(labels, count):
        raise ProblemError(
            argument,
            f"must have its entries along {dim!r} in the order of their labels",
            f"labels {labels[:8].tolist()}",
            f"To take them in this order as the new 0, 1, …, drop them: .drop_vars({dim!r}).",
        )


def readonly(array: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mark an array read-only, so that a frozen problem stays what it was."""
    array.setflags(write=False)
    return array


def choice(argument: str, value: object, allowed: Sequence[str]) -> str:
    """One of a set of words."""
    if not isinstance(value, str) or value not in allowed:
        listed = ", ".join(repr(a) for a in allowed)
        raise ProblemError(argument, f"must be one of {listed}", repr(value), "")
    return value


def _relabel(
    argument: str, value: xr.DataArray, floats: np.ndarray[Any, Any], core: tuple[str, ...]
) -> xr.DataArray:
    """A read-only copy that keeps the sweep dims' coordinates and drops those of core dims."""
    import xarray as xr

    for dim in value.dims:
        if dim not in core:
            axis_name(argument, dim)
    coords = {
        d: _coordinate(argument, value.coords[d])
        for d in value.dims
        if d in value.coords and d not in core
    }
    return xr.DataArray(readonly(floats), dims=value.dims, coords=coords)


def _coordinate(argument: str, coord: xr.DataArray) -> xr.DataArray:
    """A coordinate of numbers, text or booleans, which files can hold; each of one type."""
    values = coord.values
    if values.dtype.kind in "OT" and all(isinstance(x, str) for x in values):
        coord = coord.copy(data=values.astype(object).astype(np.str_))
        values = coord.values
    where = f"along {coord.name!r}"
    if values.dtype.kind not in "biufU" or (
        values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8)
    ):
        whole = bool(values.size) and all(isinstance(x, int) for x in values.flat)
        raise ProblemError(
            argument,
            f"must have a coordinate of numbers, text or booleans {where}",
            "whole numbers beyond 64 bits" if whole else f"values of type {values.dtype}",
            "Convert the coordinate to text, `[str(x) for x in ...]`, or to numbers, or drop it.",
        )
    if values.dtype.kind == "U" and not all(is_unicode(x) for x in values):
        rule = f"must have a coordinate of valid Unicode without NUL {where}"
        raise ProblemError(argument, rule, _short(values), "Name them by other texts.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ProblemError(
            argument, f"must have a finite coordinate along {coord.name!r}", _short(values), ""
        )
    return coord


def is_unicode(text: str) -> bool:
    """Whether files can hold a text: half of a surrogate pair and NUL are no letters."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _short(value: object) -> str:
    """A value for an error message, cut to one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def label(argument: str, value: object) -> str:
    """A name: it becomes a label in the dataset, hence ASCII and not empty."""
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise ProblemError(
            argument, "must be named by non-empty printable ASCII text", repr(value), "Rename it."
        )
    if len(value) > 128:
        raise ProblemError(argument, "must have a name of at most 128 letters", value[:40], "")
    return value


def text(argument: str, value: object) -> str:
    """A line for people."""
    if not isinstance(value, str):
        raise ProblemError(argument, "must be text", repr(value)[:80], "")
    return value


def mapping(argument: str, value: Any) -> Mapping[str, Any]:
    """A mapping from names that holds something."""
    if not isinstance(value, Mapping) or not value:
        raise ProblemError(
            argument,
            "must be a non-empty mapping from names",
            repr(value)[:80],
            f'Write {argument}={{"main": ...}}.',
        )
    return value


def flag(argument: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ProblemError(argument, "must be True or False", repr(value), "")
    return bool(value)
