"""The code of an activation as kernels see it: a constant where its type says which it is."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from odekit_kernels.committee.activations import Code
from odekit_kernels.simd import native

__all__ = ["code_of", "row_of_kind"]


def code_of(activation: Any) -> int:
    """The bare code."""
    return int(activation.code if isinstance(activation, Code) else activation)


def row_of_kind(kind: Any) -> int | None:
    """The code that one of numba's types stands for; None where it is a bare number."""
    found: int | None = getattr(getattr(kind, "instance_class", None), "row", None)
    return found


@native(code_of, lambda activation: types.int64)  # noqa: ARG005
def _code_of(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    row = row_of_kind(kinds[0])
    if row is None:
        return context.cast(builder, arguments[0], kinds[0], types.int64)
    return ir.Constant(ir.IntType(64), row)
