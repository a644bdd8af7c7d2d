"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path

from odekit.base.errors import StoreError

_STALE_SECONDS = 86_400.0


def check_target(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """The file to write, links resolved; refuses early what cannot work later.

    Raises
    ------
    StoreError
        If the path is a folder or no regular file, its folder does not exist, or the file does and
        may not be replaced.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise StoreError(path, "is a folder", "Name a file in it, such as `run.nc`.")
    if _is_taken(path, overwrite) and not path.is_file():
        raise StoreError(path, "is not a regular file", "Name an ordinary file.")
    return path


def check_folder_target(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """As `check_target`, for a result that is a folder; one that is replaced must be Zarr."""
    path = Path(os.path.realpath(path))
    if _is_taken(path, overwrite) and not (path / "zarr.json").is_file():
        raise StoreError(path, "is something else than a Zarr folder", "Choose another name.")
    return path


def _is_taken(path: Path, overwrite: bool) -> bool:
    """Whether there is something to be replaced; refuses where that, or writing, is not allowed."""
    if not path.parent.is_dir():
        raise StoreError(path, "its folder does not exist", f"Create {path.parent} first.")
    if not os.access(path.parent, os.W_OK):
        raise StoreError(path, "its folder may not be written to", "Choose another folder.")
    if path.exists() and not overwrite:
        remedy = "Choose another name, or replace it with `overwrite=True` (`--overwrite`)."
        raise StoreError(path, "exists already", remedy)
    return path.exists()


def write_atomic(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside the target, and put it there once it is on the disk.

    Raises
    ------
    StoreError
        If that fails; there is then no new file, and an old one is unharmed.
    """
    # Hidden and with a suffix of its own: nobody's *.nc finds a half-written file.
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.tmp")
    try:
        _remove_stale(target)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        write(temporary)
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    except (OSError, RuntimeError) as error:
        remedy = "Is the folder writable, and is there space on the disk?"
        raise StoreError(target, f"could not be written ({error})", remedy) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_stale(target: Path) -> None:
    """Remove what writes of this file left when they were killed, a day ago or more."""
    for path in target.parent.iterdir():
        ours = path.name.startswith(f".{target.name[:200]}.") and path.name.endswith(".tmp")
        with contextlib.suppress(OSError):
            if ours and path.stat().st_mtime < time.time() - _STALE_SECONDS:
                path.unlink()


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk; Windows cannot do so for folders."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
