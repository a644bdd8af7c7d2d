"""The memory of a group of trajectories of a declared system."""

from __future__ import annotations

from collections import namedtuple
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.lanes.memory import MACHINERY, lay_out, machinery
from odekit_kernels.outside.functions import RATES, carried

__all__ = ["DeclaredPlan", "Wiring", "Work", "constants", "make_plan", "make_work", "static"]

KNOWN = ["S", "P", "rhs", "judge", "slopes"]
BLOCKS = ["share", "parameters", "watched", "at", "given", "out"]
_numbers = count()
_namedtuple: Any = namedtuple
DeclaredPlan: Any = _namedtuple("DeclaredPlan", [*KNOWN, *BLOCKS, *MACHINERY])
"""Sizes, functions, and the first index of each block, besides those of `MACHINERY`.

S : tasks of the mixture; P : numbers of their parameters; rhs, judge, slopes : the functions, from
`functions.carry`; share, parameters : probability of each task, and its parameters (S, P);
watched : parameters of watched tasks (W, P); at, given, out : state, parameters with the learning
rates, and derivative or error of one trajectory, contiguous.
"""


class Wiring(NamedTuple):
    """Nothing: sizes are part of the types of records. An engine's batch has a wiring all the same.

    Attributes
    ----------
    nothing : ndarray, shape (0,)
    """

    nothing: NDArray[np.float64]


class Work(NamedTuple):
    """What Jacobians of single trajectories are computed in.

    Attributes
    ----------
    memory : ndarray, shape (plan.size,)
    square : ndarray, shape (n, n)
    """

    memory: NDArray[np.float64]
    square: NDArray[np.float64]


def make_work(plan: Any) -> Work:
    """Allocate it."""
    return Work(np.zeros(plan.size), np.zeros((plan.n, plan.n)))


def make_plan(
    n: int,
    P: int,
    functions: tuple[int, ...],
    tasks: int = 1,
    watched: int = 0,
    stages: int = 0,
) -> Any:
    """Lay out the memory of a group.

    Parameters
    ----------
    n, P : int
        Numbers in the state, and in the parameters without the learning rates.
    functions : tuple of int
        Right-hand side, error, and Jacobian or 0, from `functions.carry`.
    tasks, watched : int
        Tasks of the mixture, and those whose errors end a phase.
    stages : int
        Stages of the integrator.
    """
    sizes = {
        **machinery(n, watched, stages),
        "share": tasks,
        "parameters": tasks * P,
        "watched": watched * P,
        "at": n,
        "given": P + len(RATES),
        "out": n,
    }
    known = {**dict(zip(KNOWN, (tasks, P, *functions), strict=True)), "n": n, "W": watched}
    blocks = [name for name in DeclaredPlan._fields if name not in (*known, "size")]
    return DeclaredPlan(**known, **lay_out(blocks, sizes))


def constants(m: Any) -> dict[str, NDArray[np.int64]]:
    """Constants of a phase by name, in the order of a row: where each goes in a group's memory."""
    return {
        "share": m.share + np.arange(m.S),
        "parameters": m.parameters + np.arange(m.S * m.P).reshape(m.S, m.P),
        "eta_w": np.asarray(m.eta_w),
        "eta_v": np.asarray(m.eta_v),
        "watched": m.watched + np.arange(m.W * m.P).reshape(m.W, m.P),
        "level": m.level + np.arange(m.W),
    }


def static(m: Any) -> Any:
    """The same plan as a type of its own, which carries the functions: for a device."""
    functions = {"rhs_of": carried(m.rhs), "judge_of": carried(m.judge)}
    if functions["rhs_of"].entry is None:
        return m
    if m.slopes != 0:
        functions["slopes_of"] = carried(m.slopes)
    own: Any = type(f"Static{next(_numbers)}", (DeclaredPlan,), functions)
    return own(*m._replace(rhs=0, judge=0, slopes=int(m.slopes != 0)))
