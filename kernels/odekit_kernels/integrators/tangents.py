"""States with their derivatives by parameters as one larger system: right-hand sides with tangents.

A trajectory's n numbers are followed by S_0, …, the derivatives of them by as many parameters, n
numbers each. The right-hand side is written out from the equations' own source, and the tangents
are derivatives of its lines (`differentiated`): what they share is computed once, and a loop over
the directions does the rest (`straight`). A direction is that of the state, S_j, and that of the
constants, which lies in memory after the plan's own numbers. Integrators advance the whole like any
other system.
"""

# ruff: noqa: ARG001 - every system has the same functions, with all arguments

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.integrators import registry
from odekit_kernels.integrators.differentiated import depends_on_direction, tangents
from odekit_kernels.integrators.straight import Straight, address_of, run, straightened
from odekit_kernels.integrators.symbols import LEAVES, NORMAL, NotSymbolic, Y, traced
from odekit_kernels.lanes.memory import MACHINERY, lay_out, machinery

__all__ = ["Tangents", "Wired", "with_tangents"]

MOST_LINES = 6000
"""Lines of a right-hand side from which there are no tangents. With tangents the 620 of erf at
K = P = 2 become 2,300 and compile in 2 s, the 5,200 at 4 become 12,700, in 7 s."""
GROWTH = 5
"""How many times as many there are with tangents, at most."""
OWN = {"n", "W", "eta_w", "eta_v", "level", "error", "size"}
"""Of the integrators' fields, sizes and those that stay where the plan without has them."""


class Wired(NamedTuple):
    """Wiring of a plan with tangents.

    Attributes
    ----------
    base : named tuple
        The plan without, its state the first n numbers of that with tangents.
    own : named tuple
        Its wiring.
    lines : int
        See `straight.run`.
    width : int
        Constants of a trajectory.
    """

    base: Any
    own: Any
    lines: int
    width: int


class Tangents(NamedTuple):
    """A system with tangents.

    Attributes
    ----------
    plan : named tuple
        Of n (1 + count) numbers.
    places : ndarray of int64, shape (count, width)
        Where the derivatives of the constants by each parameter go in memory.
    base : named tuple
    lines : int
        See `Wired`.
    """

    plan: Any
    places: NDArray[np.int64]
    base: Any
    lines: int

    def wire(self, wiring: Any) -> Wired:
        """What goes into a batch in place of the wiring of the plan without."""
        return Wired(self.base, wiring, self.lines, self.places.shape[1])


# ---------------------------------------------------------------------------------------- the lines


def lines_of(m: Any, w: Any, places: Any, flags: tuple[bool, ...]) -> Straight:
    """Lines of a right-hand side with tangents.

    Raises
    ------
    NotSymbolic
        Where there are none, or too many.
    """
    equations = registry.equations_of(type(m)).rhs
    lines, outputs = traced(equations, m, w, flags, MOST_LINES, LEAVES | NORMAL)
    lines.most = GROWTH * MOST_LINES
    inputs = {Y + i: ("by state", i) for i in range(m.n)}
    inputs |= {int(place): ("by constant", i) for i, place in enumerate(places)}
    slopes = tangents(lines, outputs, inputs)
    symbols = lines.needed(outputs + slopes)
    by_direction = depends_on_direction(symbols)
    shared = [x for x, own in zip(symbols, by_direction, strict=True) if not own]
    single = [x for x, own in zip(symbols, by_direction, strict=True) if own]
    return straightened(m.n, shared, single, outputs, slopes)


@dataclass(frozen=True)
class _Asked:
    """What lines depend on, and what tells whether that is the same."""

    key: tuple[Any, ...]
    m: Any = field(compare=False)
    w: Any = field(compare=False)
    places: Any = field(compare=False)
    flags: tuple[bool, ...] = field(compare=False)


def _told(x: Any) -> Any:
    """The same with arrays as what can be compared."""
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes()
    return tuple(map(_told, x)) if isinstance(x, tuple) else x


@lru_cache(maxsize=64)
def _address(asked: _Asked) -> int | None:
    """Number of compiled lines, or None; phases of all chunks of a sweep ask for the same."""
    try:
        return address_of(lines_of(asked.m, asked.w, asked.places, asked.flags))
    except NotSymbolic:
        return None


# ------------------------------------------------------------------------------- what is registered


def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any) -> None:
    """See `registry.rhs`."""
    run(M, w.lines, y, dy, w.base.size, w.width, m.n // w.base.n - 1)


def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """See `registry.errors`."""
    registry.errors(M, w.base, w.own, y)


def jacobian(M: Any, m: Any, b: Any, row: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    """See `registry.jacobian`."""
    raise ValueError("tangents have no Jacobian: explicit integrators advance them")


def at_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    """See `registry.at_corner`."""
    return registry.at_corner(M, w.base, w.own, small, lane)


_ONE_AT_A_TIME = threading.Lock()


def _kind(plan: Any) -> Any:
    """A type of plans of its own: of a plan of one type with tangents."""
    with _ONE_AT_A_TIME:
        return _kind_of(plan)


def _kind_of(plan: Any) -> Any:
    module = hashlib.sha256(plan.__module__.encode()).hexdigest()[:8]
    name = f"{plan.__name__}{module}WithTangents"
    if name not in globals():
        kind = type(name, (plan,), {"__slots__": (), "__module__": __name__})
        registry.register(
            kind,
            rhs=rhs,
            errors=errors,
            jacobian=jacobian,
            at_corner=at_corner,
            tolerance=registry.equations_of(plan).tolerance,
        )
        globals()[name] = kind  # so that kernels of it can be kept on disk
    return globals()[name]


# ----------------------------------------------------------------------------------------- the plan


def with_tangents(
    m: Any, w: Any, places: Any, count: int, stages: int, moves: bool, trains: bool, decays: bool
) -> Tangents | None:
    """A system with derivatives of its state by parameters.

    Parameters
    ----------
    m : named tuple
        Plan of a registered system, of whole numbers, made for no stages.
    w : named tuple
        What all trajectories share, on the host: what is in it becomes part of the code.
    places : ndarray of int64, shape (width,)
        Where each constant goes in memory (`Batch.places`).
    count : int
        Parameters.
    stages : int
        Stages of the integrator.
    moves, trains, decays : bool
        As for `registry.rhs`.

    Returns
    -------
    Tangents or None
        None where the right-hand side cannot be written out, or is too long.
    """
    flags = (bool(moves), bool(trains), bool(decays))
    lines = _address(_Asked(_told((type(m), m, w, places, flags)), m, w, places, flags))
    if lines is None:
        return None
    n, width = m.n * (1 + count), len(places)
    first = m.size + count * width
    fields = [name for name in MACHINERY if name not in OWN]
    found = lay_out(fields, machinery(n, m.W, stages))
    moved = {name: first + place for name, place in found.items()}
    plan = _kind(type(m))(**m._asdict() | moved | {"n": n})
    own = m.size + np.arange(count * width).reshape(count, width)
    return Tangents(plan, own, m._replace(y=plan.y), lines)
