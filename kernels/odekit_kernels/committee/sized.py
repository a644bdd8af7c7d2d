"""The sizes that are swept most, written into the equations as they are compiled.

At K = P = 2 a loop has two to four passes, and what goes with loops took a quarter of the time of a
right-hand side. With its sizes known the compiler writes them all out; other sizes, whose loops are
longer, share one version. Where blocks of memory begin is known too: what one line stores and the
next one loads then stays in registers, which took another tenth.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from odekit_kernels.committee.activations import ERF, KINDS
from odekit_kernels.simd import native

__all__ = ["PLACES", "SIZES", "STEPS", "has_sizes", "with_places", "with_sizes"]

SIZES = {"online": 1, "K": 2, "P": 2, "D": 4, "H": 1, "S": 1, "c": 0, "G": 0, "V": 0, "n": 9}
"""Two units, two teachers, one task: of a `CommitteePlan`."""
PLACES: dict[str, int] = {}
"""Where blocks of such a plan begin in a group's memory; `memory` fills it."""
STEPS: dict[str, int] = {}
"""The same of those that the integrators have."""


def has_sizes(m: Any) -> bool:
    """Whether a plan is of erf and has these sizes."""
    return type(m.activation) is KINDS[ERF] and all(getattr(m, n) == x for n, x in SIZES.items())


def with_sizes(m: Any) -> Any:
    """A plan with these sizes, in the compiled kernels as constants."""
    return m._replace(**SIZES, **PLACES)


def with_places(m: Any) -> Any:
    """The same with the places of the integrators."""
    return m._replace(**SIZES, **PLACES, **STEPS)


def _define(function: Any, *known: dict[str, int]) -> None:
    @native(function, lambda m: m if isinstance(m, types.BaseNamedTuple) else None)
    def _generate(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
        plan, fields = arguments[0], kinds[0].instance_class._fields
        for name, number in (pair for one in known for pair in one.items()):
            constant = ir.Constant(ir.IntType(64), number)
            plan = builder.insert_value(plan, constant, fields.index(name))
        return plan


_define(with_sizes, SIZES, PLACES)
_define(with_places, SIZES, PLACES, STEPS)
