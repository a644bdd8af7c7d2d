"""Compilation of kernels: said aloud where that is wanted, and stopped between two functions.

Numba tells when it compiles, and tells nothing where a kernel comes from the cache. A function that
is being compiled cannot be stopped: most of that is one call of LLVM.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba.core import event

from odekit_kernels._jit import SUFFIX, cache_directory

NOTICE = (
    "odekit: compiling kernels for this processor, once after an installation: usually half a "
    "minute, up to two for sweeps"
)

_local = threading.local()
_lock = threading.Lock()
_wanted = 0
_said = False


class _Listener(event.Listener):
    def on_start(self, _event: Any) -> None:
        """A function was not in the cache."""
        stop: Callable[[], None] | None = getattr(_local, "stop", None)
        if stop is not None:
            stop()
        _say()

    def on_end(self, _event: Any) -> None:
        """Nothing."""


def _say() -> None:
    global _said
    with _lock:
        if _said or not _wanted or sys.stderr is None:
            return
        _said = True
    with contextlib.suppress(OSError, ValueError):
        print(NOTICE, file=sys.stderr, flush=True)


_register: Callable[..., None] = event.register
_register("numba:compile", _Listener())


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say on stderr that kernels are being compiled, once in a process, as it begins."""
    global _wanted
    with _lock:
        _wanted += 1
    try:
        yield
    finally:
        with _lock:
            _wanted -= 1


@contextlib.contextmanager
def stoppable(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in this thread before every function is compiled; what it raises ends that."""
    before = getattr(_local, "stop", None)
    _local.stop = stop
    try:
        yield
    finally:
        _local.stop = before


def kept() -> tuple[Path | None, int]:
    """The folder of compiled kernels, None where none is to be had, and how many are there."""
    folder = cache_directory()
    return folder, 0 if folder is None else sum(1 for _ in folder.glob(f"*{SUFFIX}"))
