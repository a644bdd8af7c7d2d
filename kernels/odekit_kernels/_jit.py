"""The `kernel` decorator: numba's ``njit`` with this package's flags and a disk cache of its own.

Numba's ``cache=True`` looks at the file of the function alone, so that after an edit to a helper
in another file the old code keeps running. Here a directory's name is a hash over *all* sources
of the package, the versions and the flags: any change starts on an empty directory.

A cache file is a pickle, and code: whoever can write it runs as us. The directory is therefore
private (mode 0700), a directory or file that is not ours alone is not used, and a file whose
checksum is wrong is compiled anew. Where no such directory can be had nothing is cached.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import pickle
import re
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, cast, overload

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from numba import extending, types
from numba.core.compiler_lock import global_compiler_lock

from odekit_kernels import _linked

__all__ = [
    "FLAGS",
    "NO_JIT",
    "SUFFIX",
    "alternatives",
    "cache_directory",
    "inner",
    "kernel",
    "outer",
    "read_file",
    "sources_are_those_loaded",
    "when_missing",
    "write_file",
]

_config: Any = numba.config

NO_JIT = bool(_config.DISABLE_JIT)
"""Whether ``NUMBA_DISABLE_JIT`` makes every kernel a plain Python function."""

FLAGS: dict[str, Any] = {
    "error_model": "numpy", "fastmath": {"contract"}, "nogil": True, "no_cfunc_wrapper": True,
}  # fmt: skip
"""Options of every kernel. Only FMA contraction: NaN and inf must go through unharmed."""

_PACKAGE = __name__.rpartition(".")[0]
_ROOT = Path(__file__).resolve().parent
_MAGIC = b"odekit-kernel-1\n"
SUFFIX = ".kernel"
"""Of the files of compiled kernels."""
_DIRECTORY_NAME = re.compile(r"[0-9a-f]{32}")
_DAY = 86_400.0
_UNUSED_DAYS = 30
# Settings of numba that change the machine code and that numba's own cache key leaves out.
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


# ------------------------------------------------------------------------------ sources and hash


def _source_files() -> list[Path]:
    return sorted(_ROOT.rglob("*.py"))


def _stamp() -> tuple[tuple[str, int, int], ...] | None:
    """Path, time and size of every source: has any been edited since this process read it?"""
    try:
        stats = [(path, path.stat()) for path in _source_files()]
    except OSError:
        return None
    return tuple((str(path), info.st_mtime_ns, info.st_size) for path, info in stats)


def _fingerprint() -> str | None:
    """Hash of all that decides the machine code, or None where the sources cannot be read."""
    digest = hashlib.sha256()
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    settings = tuple((name, repr(getattr(_config, name, None))) for name in _SETTINGS)
    flags = sorted((k, sorted(v) if isinstance(v, set) else v) for k, v in FLAGS.items())
    digest.update(repr((versions, settings, flags)).encode())
    try:
        for path in _source_files():
            text = path.read_bytes()
            name = path.relative_to(_ROOT).as_posix()
            digest.update(f"\0{name}\0{len(text)}\0".encode() + text)
    except OSError:
        return None
    return digest.hexdigest()[:32]


# At import, so that the hash belongs to the sources this process is about to load.
_LOADED_STAMP = _stamp()
_LOADED_FINGERPRINT = _fingerprint()


def sources_are_those_loaded() -> bool:
    """Whether no source was edited since this process read it."""
    return _stamp() == _LOADED_STAMP


# ----------------------------------------------------------------------------- private directory


def _parent_directory() -> Path:
    """Where this user's caches lie."""
    if _config.CACHE_DIR:
        return Path(_config.CACHE_DIR)
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises without a home
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and to be ignored.
    return Path(given) if os.path.isabs(given) else home / ".cache"  # noqa: PTH117


def _is_ours_alone(info: os.stat_result) -> bool:
    """Whether this user owns it and nobody else may write it."""
    if not hasattr(os, "getuid"):
        return True  # Windows: the user's profile has an access list of its own
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _private(path: Path) -> bool:
    """Make the directory `path` (0700), and say whether it is one that only this user writes."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    info = path.lstat()
    return stat.S_ISDIR(info.st_mode) and _is_ours_alone(info)


@functools.cache
def cache_directory() -> Path | None:
    """Directory of this version's compiled kernels, or None where there is none to be trusted.

    It is made on the first call; ``NUMBA_CACHE_DIR`` names another parent than the user's cache
    folder.

    Returns
    -------
    Path or None
        ``<parent>/odekit/<hash>``, of mode 0700.
    """
    if _LOADED_FINGERPRINT is None:
        return None
    try:
        base = (_parent_directory() / "odekit").absolute()
        base.parent.mkdir(parents=True, exist_ok=True)
        directory = base / _LOADED_FINGERPRINT
        if not (_private(base) and _private(directory)):
            return None
        tempfile.TemporaryFile(dir=directory).close()
    except OSError:
        return None
    _prune(directory)
    return directory


def _prune(current: Path) -> None:
    """Once a day, mark `current` as used and remove its siblings unused for 30 days."""
    mark = current / "last_used"
    now = time.time()
    with contextlib.suppress(OSError):
        if mark.exists() and now - mark.stat().st_mtime < _DAY:
            return
        mark.touch()
        for sibling in list(current.parent.iterdir()):
            if sibling != current and _DIRECTORY_NAME.fullmatch(sibling.name):
                _remove_if_unused(sibling, now - _UNUSED_DAYS * _DAY)


def _remove_if_unused(directory: Path, since: float) -> None:
    """Remove a directory of ours and the files that we put there; leave it if it has others."""
    with contextlib.suppress(OSError):
        info = directory.lstat()
        if not (stat.S_ISDIR(info.st_mode) and _is_ours_alone(info)):
            return
        mark = directory / "last_used"
        if max(info.st_mtime, mark.stat().st_mtime if mark.exists() else 0.0) > since:
            return
        for path in list(directory.iterdir()):
            if path.suffix in (SUFFIX, ".tmp") or path == mark:
                path.unlink()
        directory.rmdir()


# ------------------------------------------------------------------------------------ cache files


def read_file(path: Path) -> bytes | None:
    """Payload of a cache file; None where it is absent, not ours alone, or damaged."""
    try:
        with path.open("rb") as file:
            if not _is_ours_alone(os.fstat(file.fileno())):
                return None
            data = file.read()
    except OSError:
        return None
    start = len(_MAGIC) + 32
    payload = data[start:]
    if data[:start] != _MAGIC + hashlib.sha256(payload).digest():
        return None
    return payload


def write_file(path: Path, payload: bytes) -> None:
    """Write a cache file in one step: another process sees all of it or nothing."""
    handle, name = tempfile.mkstemp(suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


Missing = Callable[[Callable[..., Any], Any, Path], None]
_missing: Missing | None = None


def when_missing(call: Missing | None) -> None:
    """Have a function called with what is not in the cache, its signature and where it would be.

    What it leaves there is taken; what it raises is not heard.
    """
    global _missing
    _missing = call


def _cacheable(function: Callable[..., Any]) -> bool:
    """Whether the sources hashed above are all that `function` is made of."""
    ours = function.__module__ == _PACKAGE or function.__module__.startswith(_PACKAGE + ".")
    return ours and function.__closure__ is None and "<locals>" not in function.__qualname__


def _is_foreign(kind: Any) -> bool:
    """Whether a type of numba's is, or holds, a named tuple whose class lies outside the package.

    What it stands for may lie there too: the equations of a plan (`integrators.registry`).
    """
    own = getattr(kind, "instance_class", None)
    if own is not None and not f"{own.__module__}.".startswith(f"{_PACKAGE}."):
        return True
    return any(map(_is_foreign, getattr(kind, "types", ())))


def _make_cache(function: Callable[..., Any]) -> Any:
    """Cache of one dispatcher, on numba's private interface (`numba.core.caching`)."""
    from numba.core.caching import _Cache
    from numba.core.serialize import dumps

    pickled: Callable[[Any], bytes] = dumps

    class KernelCache(_Cache):
        """One file for each function, signature and processor."""

        @property
        def cache_path(self) -> str | None:
            directory = cache_directory()
            return None if directory is None else str(directory)

        def file(self, sig: Any, codegen: Any) -> Path | None:
            """Where it is kept, None where it is not."""
            key = f"{function.__module__}:{function.__qualname__}:{sig}"
            # A function as an argument: its sources may lie outside the package.
            if "Dispatcher" in key or " at 0x" in key or not sources_are_those_loaded():
                return None
            if any(map(_is_foreign, getattr(sig, "args", sig))):
                return None
            directory = cache_directory()
            key += repr((codegen.magic_tuple(), function.__code__.co_code))
            name = f"{function.__name__}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
            return None if directory is None else directory / (name + SUFFIX)

        # Whatever goes wrong with a cache, the remedy is to compile: hence the wide excepts.
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            with contextlib.suppress(Exception):
                target_context.refresh()
                path = self.file(sig, target_context.codegen())
                payload = None if path is None else read_file(path)
                if payload is None and path is not None and _missing is not None:
                    _missing(function, sig, path)
                    payload = read_file(path)
                if payload is not None:
                    stored, reduced = pickle.loads(payload)
                    if stored == sig:
                        return _linked.rebuild(target_context, reduced)
            return None

        def save_overload(self, sig: Any, data: Any) -> None:
            with contextlib.suppress(Exception):
                if data.library.has_dynamic_globals or any(not x.can_cache for x in data.lifted):
                    return
                path = self.file(sig, data.codegen)
                if path is not None:
                    write_file(path, pickled((sig, data._reduce())))

        def enable(self) -> None:
            """Nothing: always enabled."""

        def disable(self) -> None:
            """Nothing: numba calls it nowhere."""

        def flush(self) -> None:
            """Nothing: a changed source has another directory."""

    return KernelCache()


# -------------------------------------------------------------------------------------- compiling

OBJECTS = 50_000
"""Objects that a compilation makes before the collector looks for garbage among all others."""

_local = threading.local()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


# Python keeps frames in pieces of 16 kB, and makes and drops one at each call that crosses the end
# of the last: 130,000 times in a compilation, whose calls lie deep. All fit behind a large frame.
_in_one_piece = FunctionType(_call.__code__.replace(co_stacksize=2**17), globals())


def _with_room(compile_one: Callable[[Any], Any], sig: Any) -> Any:
    """Compile with few looks for garbage, a sixth of the time, and frames in one piece, a tenth."""
    if getattr(_local, "compiling", False):
        return compile_one(sig)
    with global_compiler_lock:
        before = gc.get_threshold()
        _local.compiling = True
        try:
            gc.set_threshold(max(before[0], OBJECTS) if before[0] else 0, *before[1:])
            return _in_one_piece(compile_one, sig)
        finally:
            gc.set_threshold(*before)
            _local.compiling = False


# -------------------------------------------------------------------------------------- decorator


def _take_numbers(dispatcher: Any) -> None:
    """Let it be compiled for whole numbers, and not once more for each that is written in a call.

    What a number is the compiler sees all the same where it puts the function into its caller.
    """
    template, plain = dispatcher.get_call_template, cast(Any, types.unliteral)

    def get_call_template(args: Any, kws: Any) -> Any:
        named = {name: plain(kind) for name, kind in dict(kws).items()}
        return template(tuple(map(plain, args)), named)

    dispatcher.get_call_template = get_call_template


def _compile(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    dispatcher = numba.njit(**{**FLAGS, **options})(function)
    if not NO_JIT:
        _take_numbers(dispatcher)
        dispatcher.compile = functools.partial(_with_room, dispatcher.compile)
    if NO_JIT or not _cacheable(function):
        return dispatcher
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        cache = _make_cache(function)
        if hasattr(dispatcher, "_cache"):
            dispatcher._cache = cache
    return dispatcher


@overload
def kernel(function: Callable[..., Any], /) -> Any: ...
@overload
def kernel(function: None = None, /, **options: Any) -> Callable[[Callable[..., Any]], Any]: ...
def kernel(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Compile a module-level function with the package's flags and cache it on disk.

    Parameters
    ----------
    function : callable
        A plain function at the top level of a module of this package. Any other is compiled all
        the same, and not cached.
    **options
        More options of ``numba.njit``, such as ``inline="always"``; they win over `FLAGS`.

    Returns
    -------
    numba dispatcher, or the function itself where ``NUMBA_DISABLE_JIT`` is set.

    Examples
    --------
    >>> @kernel
    ... def square(x):
    ...     return x * x
    >>> square(3.0)
    9.0
    """
    if function is not None:
        return _compile(function, options)
    return lambda f: _compile(f, options)


# For every function of arrays that another kernel calls. Counting references and passing 30 arrays
# from call to call took 2.1 of 2.3 µs per right-hand side at K = P = 2. Nothing is allocated below
# `rhs`, so there is nothing to count; and wrappers for Python took a third of the compile time.
_WITHIN: dict[str, Any] = {"_nrt": False, "no_cpython_wrapper": True}
_LINKED: dict[str, Any] = {"pipeline_class": _linked.PIPELINE} if _linked.PIPELINE else {}
inner = kernel(forceinline=True, **_WITHIN, **_LINKED)

# For those that are called rarely, or from many places: a call of their own instead of a copy.
outer = kernel(**_WITHIN, **_LINKED)


def alternatives(function: Any, **options: Any) -> Any:
    """Decorate what chooses, by numba's types of the arguments, the function that is compiled.

    `function` itself is what runs where nothing is compiled; the chosen ones are plain functions
    of module level with its arguments.
    """
    overload: Any = extending.overload
    within = {**FLAGS, **_WITHIN, **_LINKED, "forceinline": True}
    return overload(function, jit_options=within, **options)
