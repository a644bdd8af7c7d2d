"""Kernels of a CUDA device on disk, in the private directory of `_jit`, for other processes.

Numba's own cache of such kernels looks at the file of the function alone, and cannot take functions
that have a plan in their closure, as these have. All of this is private to numba: where a version
has another interface, and where anything goes wrong, kernels are compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import sys
from pathlib import Path
from typing import Any

import numba

from odekit_kernels import _jit
from odekit_kernels.integrators.registry import as_it_is, equations_of

__all__ = ["cached"]

DEVICE = "device"
"""What the names of these files begin with."""


def cached(dispatcher: Any, m: Any, more: Any = None) -> Any:
    """Let a device's kernel be kept on disk, if all that it is made of is known.

    Parameters
    ----------
    dispatcher : numba.cuda kernel
        Of a function in whose closure a plan, and what else is given, is all that its sources do
        not tell.
    m : named tuple
        That plan.
    more : object, optional
        What else there is, of numbers, texts and this package's types: `repr` tells all of it.

    Returns
    -------
    numba.cuda kernel
        The same.
    """
    if hasattr(dispatcher, "_cache") and hasattr(dispatcher, "py_func") and _known(m):
        dispatcher._cache = _DeviceCache(dispatcher, m, more)
    return dispatcher


def _known(m: Any) -> bool:
    """Whether numbers and this package's sources are all that the equations of a plan are."""
    given = equations_of(type(m))
    package = f"{__name__.partition('.')[0]}."
    ours = all(f"{f.__module__}.".startswith(package) for f in (*given, type(m)))
    return ours and given.static is as_it_is


def _version() -> str:
    """Of numba's CUDA target, which may be a package of its own."""
    return str(getattr(sys.modules.get("numba_cuda"), "__version__", numba.__version__))


class _DeviceCache:
    """One file for each function, plan, signature and kind of device."""

    def __init__(self, dispatcher: Any, m: Any, more: Any) -> None:
        self.function, self.plan, self.more = dispatcher.py_func, m, more
        self.target: Any = sys.modules[type(dispatcher).__module__]

    def file(self, sig: Any, target_context: Any) -> Path | None:
        """Where a kernel is kept; None where it cannot be."""
        directory = _jit.cache_directory()
        if directory is None or not _jit.sources_are_those_loaded():
            return None
        kind = type(self.plan)
        name = f"{self.function.__module__}:{self.function.__qualname__}"
        plan = f"{kind.__module__}:{kind.__qualname__}:{tuple(self.plan)!r}"
        # Toolkit, and compute capability of the device.
        magic = target_context.codegen().magic_tuple()
        key = repr((name, plan, self.more, str(sig), magic, _version()))
        if " at 0x" in key:  # an address says nothing to another process
            return None
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        return directory / f"{DEVICE}-{self.function.__name__}-{digest}{_jit.SUFFIX}"

    # Whatever goes wrong with a cache, the remedy is to compile: hence the wide excepts.
    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """A kernel that was kept, or None."""
        with contextlib.suppress(Exception):
            target_context.refresh()
            path = self.file(sig, target_context)
            payload = None if path is None else _jit.read_file(path)
            if payload is not None:
                stored, states = pickle.loads(payload)
                if stored == str(sig):
                    return self.target._Kernel._rebuild(**states)
        return None

    def save_overload(self, sig: Any, kernel: Any) -> None:
        """Keep a kernel."""
        with contextlib.suppress(Exception):
            if getattr(kernel, "launch_config_sensitive", False):
                return
            path = self.file(sig, kernel.target_context)
            if path is not None:
                payload = self.target.serialize.dumps((str(sig), kernel._reduce_states()))
                _jit.write_file(path, payload)

    def enable(self) -> None:
        """Nothing: always enabled."""

    def disable(self) -> None:
        """Nothing: numba calls it nowhere."""

    def flush(self) -> None:
        """Nothing: a changed source has another directory."""
