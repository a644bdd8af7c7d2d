"""Blocks of a group's memory under indices of their own: ``C[a, b]`` for ``get(M, ...)``.

A view is where a block begins and how many columns it has; nothing is copied. What it gives and
takes are values (`lanes.values`): of eight lanes, or of one trajectory on a device or in a single
run. `alone` narrows it to the numbers of one lane. On the CPU a view costs nothing beside `get`:
the compiler takes it apart, and the same instructions remain (tests/test_views.py).

    C = matrix(M, m.C, m.K, m.D)
    total = total + C[k, l] * v[l]
    C[k, l] = total
"""

# ruff: noqa: ARG001 - numba reads a function's arguments from its signature

from __future__ import annotations

import operator
from typing import Any

from numba import extending, types
from numba.core import cgutils

from odekit_kernels._jit import alternatives
from odekit_kernels.lanes.values import get, pick, place, put
from odekit_kernels.simd import native

__all__ = ["alone", "matrix", "vector"]

_extending: Any = extending
_cgutils: Any = cgutils
FIELDS = ("memory", "first", "rows", "columns", "lane")


class View:
    """A view where nothing is compiled."""

    def __init__(self, memory: Any, first: int, rows: int, columns: int, ndim: int) -> None:
        self.memory, self.first, self.rows, self.columns = memory, first, rows, columns
        self.ndim = ndim
        self.lane: int | None = None

    def _place(self, index: Any) -> Any:
        i, j = index if self.ndim == 2 else (0, index)
        return self.first + i * self.columns + j

    def __getitem__(self, index: Any) -> Any:
        """A value, or a number of one lane."""
        at = self._place(index)
        return get(self.memory, at) if self.lane is None else pick(self.memory, at, self.lane)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Set a value, or a number of one lane."""
        if self.lane is None:
            put(self.memory, self._place(index), value)
        else:
            place(self.memory, self._place(index), self.lane, value)

    def __len__(self) -> int:
        """Entries of a vector, rows of a matrix."""
        return self.rows if self.ndim == 2 else self.columns


def vector(memory: Any, first: int, length: int) -> Any:
    """View of a block of `length` values that begins at `first`."""
    return View(memory, first, 1, length, 1)


def matrix(memory: Any, first: int, rows: int, columns: int) -> Any:
    """View of a block of rows x columns values, row-major, that begins at `first`."""
    return View(memory, first, rows, columns, 2)


def alone(view: Any, lane: int) -> Any:
    """The numbers of one lane of a view."""
    own = View(view.memory, view.first, view.rows, view.columns, view.ndim)
    own.lane = lane
    return own


# ------------------------------------------------------------------------------------------- native


class ViewType(types.Type):
    """Numba's type of a view: of a memory, with one index or two, of values or of one lane."""

    def __init__(self, memory: Any, ndim: int, single: bool) -> None:
        self.memory, self.ndim, self.single = memory, ndim, single
        super().__init__(name=f"View({memory}, {ndim}, {single})")


@_extending.register_model(ViewType)
class _ViewModel(extending.models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        numbers = [(name, types.int64) for name in FIELDS[1:]]
        super().__init__(dmm, fe_type, [("memory", fe_type.memory), *numbers])  # type: ignore[no-untyped-call]


for _name in FIELDS:
    _extending.make_attribute_wrapper(ViewType, _name, f"_{_name}")


def _is_memory(kind: Any) -> bool:
    doubles = isinstance(kind, types.Array) and kind.dtype == types.float64
    return bool(doubles and kind.layout == "C" and kind.ndim in (1, 2))


def _integers(*kinds: Any) -> bool:
    return all(isinstance(kind, types.Integer) for kind in kinds)


def _made(context: Any, builder: Any, kind: Any, **fields: Any) -> Any:
    made = _cgutils.create_struct_proxy(kind)(context, builder)
    for name, value in fields.items():
        setattr(made, name, value)
    return made._getvalue()


def _whole(context: Any, builder: Any, kind: Any, number: Any) -> Any:
    return context.cast(builder, number, kind, types.int64)


@native(
    vector,
    lambda memory, first, length: (
        ViewType(memory, 1, False) if _is_memory(memory) and _integers(first, length) else None
    ),
)
def _vector(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    memory, *numbers = arguments
    first, length = (_whole(context, builder, *x) for x in zip(kinds[1:], numbers, strict=True))
    one = context.get_constant(types.int64, 1)
    parts = {"first": first, "rows": one, "columns": length, "lane": one}
    return _made(context, builder, ViewType(kinds[0], 1, False), memory=memory, **parts)


@native(
    matrix,
    lambda memory, first, rows, columns: (
        ViewType(memory, 2, False)
        if _is_memory(memory) and _integers(first, rows, columns)
        else None
    ),
)
def _matrix(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    memory, *numbers = arguments
    whole = [_whole(context, builder, *x) for x in zip(kinds[1:], numbers, strict=True)]
    parts = dict(zip(("first", "rows", "columns"), whole, strict=True))
    kind = ViewType(kinds[0], 2, False)
    return _made(context, builder, kind, memory=memory, lane=whole[0], **parts)


@native(
    alone,
    lambda view, lane: (
        ViewType(view.memory, view.ndim, True)
        if isinstance(view, ViewType) and _integers(lane)
        else None
    ),
)
def _alone(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    given = _cgutils.create_struct_proxy(kinds[0])(context, builder, value=arguments[0])
    parts = {name: getattr(given, name) for name in ("memory", "first", "rows", "columns")}
    lane = _whole(context, builder, kinds[1], arguments[1])
    return _made(
        context, builder, ViewType(kinds[0].memory, kinds[0].ndim, True), lane=lane, **parts
    )


@alternatives(len, strict=False)
def _len(view: Any) -> Any:
    if not isinstance(view, ViewType):
        return None
    return (lambda view: view._rows) if view.ndim == 2 else (lambda view: view._columns)


@alternatives(operator.getitem, strict=False)
def _getitem(view: Any, index: Any) -> Any:
    if not isinstance(view, ViewType):
        return None
    return _READ[view.ndim, view.single]


@alternatives(operator.setitem, strict=False)
def _setitem(view: Any, index: Any, value: Any) -> Any:
    if not isinstance(view, ViewType):
        return None
    return _WRITE[view.ndim, view.single]


_READ: dict[tuple[int, bool], Any] = {
    (1, False): lambda view, index: get(view._memory, view._first + index),
    (2, False): lambda view, index: get(
        view._memory, view._first + index[0] * view._columns + index[1]
    ),
    (1, True): lambda view, index: pick(view._memory, view._first + index, view._lane),
    (2, True): lambda view, index: pick(
        view._memory, view._first + index[0] * view._columns + index[1], view._lane
    ),
}
_WRITE: dict[tuple[int, bool], Any] = {
    (1, False): lambda view, index, value: put(view._memory, view._first + index, value),
    (2, False): lambda view, index, value: put(
        view._memory, view._first + index[0] * view._columns + index[1], value
    ),
    (1, True): lambda view, index, value: place(
        view._memory, view._first + index, view._lane, value
    ),
    (2, True): lambda view, index, value: place(
        view._memory, view._first + index[0] * view._columns + index[1], view._lane, value
    ),
}
