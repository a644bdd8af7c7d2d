"""The sizes that are swept most, written into the equations as they are compiled.

At K = P = 2 a loop has two to four passes, and what goes with loops took a quarter of the time of a
right-hand side. With its sizes known the compiler writes them all out; other sizes, whose loops are
longer, share one version.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from odekit_kernels.committee.activations import ERF, KINDS
from odekit_kernels.simd import native

__all__ = ["SIZES", "has_sizes", "with_sizes"]

SIZES = {"online": 1, "K": 2, "P": 2, "D": 4, "H": 1, "S": 1, "c": 0, "G": 0, "V": 0, "n": 9}
"""Two units, two teachers, one task: of a `CommitteePlan`."""


def has_sizes(m: Any) -> bool:
    """Whether a plan is of erf and has these sizes."""
    return type(m.activation) is KINDS[ERF] and all(getattr(m, n) == x for n, x in SIZES.items())


def with_sizes(m: Any) -> Any:
    """A plan with these sizes, in the compiled kernels as constants."""
    return m._replace(**SIZES)


@native(with_sizes, lambda m: m if isinstance(m, types.BaseNamedTuple) else None)
def _with_sizes(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    plan, fields = arguments[0], kinds[0].instance_class._fields
    for name, size in SIZES.items():
        constant = ir.Constant(ir.IntType(64), size)
        plan = builder.insert_value(plan, constant, fields.index(name))
    return plan
