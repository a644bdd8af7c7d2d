"""The compiled training loop for an activation: built in, or a function of the user's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from odekit.systems.committee.activations import COMPILED, Activation
from odekit.systems.committee.special import know_special_functions
from odekit_kernels._jit import FLAGS, NO_JIT
from odekit_kernels.committee.chain import plain as chain_plain
from odekit_kernels.committee.chain import steps as chain
from odekit_kernels.committee.sgd import plain as sgd_plain
from odekit_kernels.committee.sgd import steps as sgd
from odekit_kernels.committee.sgd import units

MOST_LOOPS = 8
"""Loops around a user's own functions that are kept: each took seconds to compile."""

SLOW = (
    "numba cannot compile this activation: every step of a simulation calls it in Python, tens of "
    "microseconds. Functions of numpy, math and scipy.special, imported outside of it, compile."
)

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Trainer:
    """Training and sampling loops with an activation in them.

    Attributes
    ----------
    g, dg : int, float or callable
        What the loops take for the activation and its derivative.
    train, squared_slopes : callable
        As in `odekit_kernels.committee.sgd.steps`.
    train_chain : callable
        `train` of `odekit_kernels.committee.chain.steps`.
    value : callable
        g on arrays.
    """

    g: Any
    dg: Any
    train: Callable[..., None]
    squared_slopes: Callable[..., None]
    train_chain: Callable[..., None]
    value: Function


def trainer(activation: Any) -> Trainer:
    """Loops for a name of an activation, or an object with function and derivative.

    A function that numba compiles runs inside the compiled loop; for any other the passes over the
    weights are compiled, and the response of the units, K + P numbers a sample, is in NumPy.
    """
    if isinstance(activation, str) and activation in COMPILED:
        return _shipped(units.CODES[activation], functions_of(activation)[0])
    if isinstance(activation, str):
        activation = Activation.shipped(activation)
    if isinstance(activation, Activation) and activation.is_shipped:
        code = units.CODES.get(activation.name, activation.slope)
        return _shipped(code, activation.function)
    return _own(activation.function, activation.derivative)


def _shipped(code: Any, value: Function) -> Trainer:
    return Trainer(code, code, sgd.train, sgd.squared_slopes, chain.train, value)


@lru_cache(MOST_LOOPS)
def _own(g: Function, dg: Function) -> Trainer:
    compiled = _compiled(g), _compiled(dg)
    if None in compiled:
        if not NO_JIT:
            warnings.warn(SLOW, UserWarning, stacklevel=2)
        plain = sgd_plain.train_plain, sgd_plain.squared_slopes_plain, chain_plain.train_plain
        return Trainer(g, dg, *plain, g)
    # A cache would hold a copy for each session, since every session's function is another.
    loops = _fresh(sgd.train), _fresh(sgd.squared_slopes), _fresh(chain.train)
    return Trainer(*compiled, *loops, g)


def functions_of(activation: str) -> tuple[Function, Function]:
    """g and g' on arrays, of an activation with a code in the kernels."""
    code = units.CODES[activation]

    def both(z: Any) -> tuple[Any, Any]:
        flat = np.ascontiguousarray(z, dtype=float).ravel()
        out = np.empty_like(flat), np.empty_like(flat)
        units.values(code, code, flat, *out)
        return out[0].reshape(np.shape(z)), out[1].reshape(np.shape(z))

    return (lambda z: both(z)[0]), (lambda z: both(z)[1])


def _compiled(function: Function) -> Any:
    """The function compiled from double to double, or None where numba cannot or differs."""
    import numba

    if NO_JIT:
        return None
    know_special_functions()
    probes = (-1.3, 0.0, 0.4, 2.1)
    try:
        # Ufuncs are known to numba as they are; `item` is for arrays that have no axis.
        known: Any = function if isinstance(function, np.ufunc) else numba.njit(**FLAGS)(function)
        compiled: Any = numba.njit(**FLAGS)(lambda z: known(z).item())
        found = [compiled(z) for z in probes]
    except Exception:  # numba fails in many ways on what it does not know
        return None
    expected = [float(function(np.array([z]))[0]) for z in probes]
    double = compiled.nopython_signatures[0].return_type == numba.float64
    return compiled if double and np.allclose(found, expected, rtol=1e-12, atol=1e-12) else None


def _fresh(loop: Any) -> Any:
    import numba

    flags = {**FLAGS, "_nrt": False}
    return numba.njit(**flags)(loop.py_func)
