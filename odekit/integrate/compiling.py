"""Compilation of kernels: said aloud where that is wanted, and stopped between two functions.

Numba tells when it compiles, and tells nothing where a kernel comes from the cache. A function that
is being compiled cannot be stopped: most of that is one call of LLVM. Where a core is free a second
process compiles parts of it (`helper`).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba import typeof
from numba.core import event

from odekit.integrate import helper
from odekit.integrate.helper import Helper
from odekit_kernels._jit import SUFFIX, cache_directory, when_missing
from odekit_kernels._parts import Part, file_of, parts_of

NOTICE = (
    "odekit: compiling kernels for this processor, once after an installation: usually some ten "
    "seconds, up to a minute for sweeps"
)

Call = tuple[Any, tuple[Any, ...]]
"""A kernel, and the arguments that it is going to have."""

_local = threading.local()
_lock = threading.Lock()
_wanted = 0
_said = False
_helper: Helper | None = None
_following: Callable[[], Call] | None = None


class _Listener(event.Listener):
    def on_start(self, _event: Any) -> None:
        """A function was not in the cache."""
        _stop()
        _say()

    def on_end(self, _event: Any) -> None:
        """Nothing."""


def _stop() -> None:
    stop: Callable[[], None] | None = getattr(_local, "stop", None)
    try:
        if stop is not None:
            stop()
    except BaseException:
        _dismiss()
        raise


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


def _missing(function: Callable[..., Any], types: Any, file: Path) -> None:
    """Wait for what the helper compiles; share a kernel in parts with it."""
    if _helper is not None and _helper.begun(file):
        _helper.wait(file, _stop)
        return
    parts = parts_of(function, types) if _wanted else ()
    hired = begin() if parts else None
    if hired is None:
        return
    hired.share(parts, _later())
    for part in parts:
        of = file_of(part)
        if of is not None and not hired.begun(of):
            part.function.compile(part.types)


def begin() -> Helper | None:
    """Have a helper that waits for work, where there can be one."""
    global _helper
    with _lock:
        if _helper is None or _helper.busy:
            _dismiss()
            with contextlib.suppress(OSError):
                _helper = Helper() if helper.possible() else None
        return _helper


def _dismiss() -> None:
    global _helper
    gone, _helper = _helper, None
    if gone is not None:
        gone.close()


def _later() -> list[Part]:
    if _following is None:
        return []
    function, arguments = _following()
    return [Part(function, tuple(map(typeof, arguments)))]


when_missing(_missing)


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say on stderr that kernels are being compiled, once in a process, as it begins.

    A helper is at work within alone.
    """
    global _wanted, _following
    with _lock:
        _wanted += 1
    try:
        yield
    finally:
        with _lock:
            _wanted -= 1
            if not _wanted:
                _following = None
                _dismiss()


def ahead(make: Callable[[], Call]) -> None:
    """Say what is going to be called after the next kernel: a helper may begin with it."""
    global _following
    if _wanted:  # else nothing would let go of it
        _following = make


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
