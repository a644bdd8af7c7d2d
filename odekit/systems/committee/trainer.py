"""The compiled training loop for an activation: built in, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from odekit.systems.committee.activations import COMPILED, Activation
from odekit_kernels._jit import FLAGS, NO_JIT
from odekit_kernels.committee import activations as moments
from odekit_kernels.committee.sgd import plain as sgd_plain
from odekit_kernels.committee.sgd import steps as sgd

CODES = {
    "erf": moments.ERF,
    "linear": moments.LINEAR,
    "relu": moments.RELU,
    "tanh": sgd.TANH,
    "gelu": sgd.GELU,
    "softplus": sgd.SOFTPLUS,
    "quadratic": sgd.QUADRATIC,
}
MOST_LOOPS = 8
"""Loops around a user's own functions that are kept: each took seconds to compile."""

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
    value : callable
        g on arrays.
    """

    g: Any
    dg: Any
    train: Callable[..., None]
    squared_slopes: Callable[..., None]
    value: Function


def trainer(activation: Any) -> Trainer:
    """Loops for a name of an activation, or an object with function and derivative.

    A function that numba compiles runs inside the compiled loop; for any other the passes over the
    weights are compiled, and the response of the units, K + P numbers a sample, is in NumPy.
    """
    if isinstance(activation, str) and activation in COMPILED:
        code: Any = CODES[activation]
        return Trainer(code, code, sgd.train, sgd.squared_slopes, _named(activation))
    if isinstance(activation, str):
        activation = Activation.shipped(activation)
    if isinstance(activation, Activation) and activation.is_shipped:
        code = CODES.get(activation.name, activation.slope)
        return Trainer(code, code, sgd.train, sgd.squared_slopes, activation.function)
    return _own(activation.function, activation.derivative)


@lru_cache(MOST_LOOPS)
def _own(g: Function, dg: Function) -> Trainer:
    compiled = _compiled(g), _compiled(dg)
    if None in compiled:
        return Trainer(g, dg, sgd_plain.train_plain, sgd_plain.squared_slopes_plain, g)
    # A cache would hold a copy for each session, since every session's function is another.
    return Trainer(*compiled, _fresh(sgd.train), _fresh(sgd.squared_slopes), g)


def _named(activation: str) -> Function:
    functions: dict[str, Function] = {
        "erf": _erf,
        "linear": lambda z: z,
        "relu": lambda z: np.maximum(z, 0.0),
    }
    return functions[activation]


def _erf(z: Any) -> Any:
    from scipy.special import erf

    return erf(z * np.sqrt(0.5))


def _compiled(function: Function) -> Any:
    """The function compiled from double to double, or None where numba cannot or differs."""
    import numba

    if NO_JIT:
        return None
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
