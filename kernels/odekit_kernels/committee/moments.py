"""The functions of `activations`, each of the activation whose code is the first argument.

Of a code in its own type (`activations.Code`) only its function is compiled into the caller; of a
bare number a chain of comparisons, one a row of the table.
"""

# ruff: noqa: ARG001 - the ends of a chain have the arguments of its links

from __future__ import annotations

from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np

from odekit_kernels._jit import alternatives, inner
from odekit_kernels.committee import activations
from odekit_kernels.committee.codes import code_of, row_of_kind
from odekit_kernels.lanes.values import fill, put

__all__ = [
    "chain",
    "diffusion",
    "diffusion_gradient",
    "drive",
    "drive_gradient",
    "drive_in_lanes",
    "norms_in_lanes",
    "power_in_lanes",
    "second",
    "second_gradient",
    "second_in_lanes",
    "self_slope_in_lanes",
]


UNKNOWN = "activation: no compiled moments for this code"


def chain(
    name: str,
    end: Any = None,
    folder: str = activations.__name__,
    module: str = __name__,
) -> Any:
    """The function of this name of every activation, and `end` for all other codes.

    Parameters
    ----------
    name : str
        Of a function that every file of the folder has.
    end : kernel, optional
        Called with the code too; where there is none, all other codes raise an error.
    folder : str
        `activations`, or a folder in it for what only some have: `means`.
    module : str
        Where the function will stand under its name.

    Returns
    -------
    callable
        Takes the code, and then the function's arguments.
    """
    # Written out with the arguments by name, for numba has no list of functions: as closures in
    # closures, with arguments in a tuple, a right-hand side took 7 % more at K = P = 2, and lanes
    # of linear units rounded otherwise. Kernels come from the cache on disk only where all that
    # they call is a function of a module, and no two there may have one name.
    names: dict[str, Any] = {"__name__": module, "end": end, "code_of": code_of}
    rest, lines, alone = "", [" code = code_of(activation)"], []
    for code, row in enumerate(activations.TABLE):
        if folder != activations.__name__ and not row.means:
            continue
        function = getattr(import_module(f"{folder}.{row.name}"), name)
        names[row.name] = function
        rest = ", ".join(signature(getattr(function, "py_func", function)).parameters)
        call = f"return {row.name}({rest})"
        lines += [f" if code == {code}:", f"  {call}"]
        alone += [f"def {name}_of_{code}(activation, {rest}):", f" {call}"]
    lines.append(f" return end(activation, {rest})" if end else f" raise ValueError({UNKNOWN!r})")
    exec("\n".join([f"def {name}(activation, {rest}):", *lines, *alone]), names)
    every = names[name]

    def choose(activation: Any, *rest: Any) -> Any:
        return names.get(f"{name}_of_{row_of_kind(activation)}", every)

    alternatives(every, strict=False)(choose)
    return every


# In lanes codes are checked as plans are made; on a device nothing could be raised. Arguments are
# named: numba's CUDA target takes no `*rest`.


@inner
def unknown_pair(activation: Any, M: Any, m: Any, a: Any, b: Any) -> Any:
    """NaN."""
    return fill(M, np.nan)


@inner
def unknown_one(activation: Any, M: Any, m: Any, a: Any) -> Any:
    """NaN."""
    return fill(M, np.nan)


@inner
def unknown_drive(activation: Any, M: Any, m: Any) -> None:
    """NaN for D_k and E_ka."""
    for k in range(m.K):
        put(M, m.own + k, np.nan)
    for i in range(m.K * m.D):
        put(M, m.E + i, np.nan)


@inner
def no_norms(activation: Any, M: Any, m: Any) -> None:
    """Nothing."""


second = chain("second")
drive = chain("drive")
diffusion = chain("diffusion")
second_gradient = chain("second_gradient")
drive_gradient = chain("drive_gradient")
diffusion_gradient = chain("diffusion_gradient")
norms_in_lanes = chain("norms_in_lanes", no_norms)
second_in_lanes = chain("second_in_lanes", unknown_pair)
drive_in_lanes = chain("drive_in_lanes", unknown_drive)
power_in_lanes = chain("power_in_lanes", unknown_pair)
self_slope_in_lanes = chain("self_slope_in_lanes", unknown_one)
