"""Functions of `scipy.special`, for numba to compile what calls them.

Those of one real number have an entry in C, `scipy.special.cython_special`.
"""

from __future__ import annotations

import ctypes
import re
import sys
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["know_special_functions"]

_MODULE = "scipy.special.cython_special"
_REAL = re.compile(r'"double \(double, int \w+\)"')


def know_special_functions() -> None:
    """Tell numba of them, once, if anything has imported `scipy.special`."""
    if "scipy.special" in sys.modules:
        _register()


@lru_cache
def _register() -> None:
    from scipy import special

    for name, entry in _entries().items():
        function = getattr(special, name, None)
        if isinstance(function, np.ufunc):
            _overload(function, entry)


def _entries() -> dict[str, str]:
    """The entry of every function of one real number, by its name in `scipy.special`."""
    from scipy.special import cython_special

    capsules: dict[str, Any] = dict(cython_special.__pyx_capi__)
    real = [name for name in capsules if _REAL.search(str(capsules[name]))]
    return {re.sub(r"^__pyx_fuse_\d+", "", name): name for name in real}


def _overload(function: Any, entry: str) -> None:
    from numba import extending, types

    numba: Any = extending
    address = numba.get_cython_function_address(_MODULE, entry)
    call = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int)(address)

    @numba.overload(function, strict=False)  # type: ignore[untyped-decorator]
    def typed(x: Any) -> Any:
        if isinstance(x, types.Float):
            return lambda x: call(x, 0)
        return None
