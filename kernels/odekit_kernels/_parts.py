"""Kernels in parts, so that two processes compile one: numba compiles one function at a time.

A part is a function that the kernel calls, with the types of its arguments. Processes claim parts,
compile what they claimed, and leave it in the cache.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from numba.core.registry import cpu_target

from odekit_kernels._jit import cache_directory

__all__ = ["Order", "Part", "claim", "field", "file_of", "help_out", "in_parts", "parts_of"]


class Part(NamedTuple):
    """A function, and numba's types of its arguments."""

    function: Any
    types: tuple[Any, ...]


class Order(NamedTuple):
    """What a helper is told.

    Attributes
    ----------
    cache : str
        Folder in which compiled kernels are to be kept.
    claims : str
        Folder of the claims.
    jobs : list of tuple
        Number of the claim, module and name of a function, and types.
    """

    cache: str
    claims: str
    jobs: list[tuple[int, str, str, tuple[Any, ...]]]


_known: dict[Any, Callable[..., Sequence[Part]]] = {}


def in_parts(kernel: Any) -> Callable[[Callable[..., Sequence[Part]]], Any]:
    """Decorate what gives the parts of a kernel, by numba's types of the kernel's arguments."""

    def keep(parts: Callable[..., Sequence[Part]]) -> Any:
        _known[getattr(kernel, "py_func", kernel)] = parts
        return parts

    return keep


def parts_of(function: Any, types: tuple[Any, ...]) -> Sequence[Part]:
    """Parts of a plain function of Python's that is a kernel; none of most."""
    found = _known.get(function)
    return () if found is None else found(*types)


def field(kind: Any, name: str) -> Any:
    """Type of a field of a named tuple."""
    return kind.types[kind.fields.index(name)]


def file_of(part: Part) -> Path | None:
    """Where a part is kept in the cache; None where it is not."""
    file = getattr(getattr(part.function, "_cache", None), "file", None)
    found: Path | None = file and file(part.types, part.function.targetctx.codegen())
    return found


def claim(claims: str, number: int) -> bool:
    """Claim one of the parts; False if another process has."""
    try:
        os.close(os.open(Path(claims, str(number)), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def help_out() -> None:
    """Do as another process says by standard input, and end when that process does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    cpu_target.typing_context.refresh()  # a fifth of a second, best spent before there is work
    cpu_target.target_context.refresh()
    source = sys.stdin.buffer
    try:
        order: Order = pickle.load(source)
    except EOFError:
        return
    threading.Thread(target=_end_with, args=[source, order.claims], daemon=True).start()
    if str(cache_directory()) != order.cache:
        return
    for number, module, name, types in order.jobs:
        if claim(order.claims, number):
            getattr(import_module(module), name).compile(types)


def _end_with(source: Any, claims: str) -> None:
    source.read()
    shutil.rmtree(claims, ignore_errors=True)
    os._exit(0)
