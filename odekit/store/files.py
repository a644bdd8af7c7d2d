"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from odekit.base.errors import StoreError, StoreExistsError

_STALE_SECONDS = 86_400.0


def as_path(path: object) -> Path:
    """A name that files can have, whether or not there is one.

    Raises
    ------
    StoreError
        If it is no text, empty, holds NUL, is not UTF-8, which the netCDF library needs, or cannot
        be looked up.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise StoreError(f"{path!r}"[:80], "is no name of a file", "Give text or a Path.")
    name = os.fspath(path)
    try:
        os.path.abspath(name).encode()  # noqa: PTH100
        if not name or "\0" in name:
            raise StoreError(ascii(name), "is no name of a file", "Give one without NUL.")
        os.stat(name)  # noqa: PTH116
    except UnicodeEncodeError:
        raise StoreError(name, "is a name that is not UTF-8", "Rename it, or its folder.") from None
    except (FileNotFoundError, NotADirectoryError, StoreError) as error:
        if isinstance(error, StoreError):
            raise
    except OSError as error:
        reason = f"cannot be looked up ({error.strerror})"
        raise StoreError(name, reason, "Choose another name.") from error
    return Path(name)


def check_target(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """The file to write, links resolved; refuses early what cannot work later.

    Raises
    ------
    StoreError
        If the path is a folder or no regular file, its folder does not exist, or the file does and
        may not be replaced.
    """
    path = Path(os.path.realpath(as_path(path)))
    if path.is_dir():
        raise StoreError(path, "is a folder", "Name a file in it, such as `run.nc`.")
    if _is_taken(path, overwrite) and not path.is_file():
        raise StoreError(path, "is not a regular file", "Name an ordinary file.")
    return path


def check_folder_target(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """As `check_target`, for a result that is a folder; one that is replaced must be Zarr."""
    path = Path(os.path.realpath(as_path(path)))
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
        raise StoreExistsError(path, "exists already", remedy)
    return path.exists()


def write_atomic(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside the target, and put it there once it is on the disk.

    Raises
    ------
    StoreError
        If that fails; there is then no new file, and an old one is unharmed.
    """
    temporary = beside(target)
    try:
        remove_stale(target)
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


def beside(target: Path) -> Path:
    """A name for what will take the place of the target, which says what process makes it.

    Hidden and with a suffix of its own: nobody's ``*.nc`` finds a half-written file.
    """
    owner = f"{_machine()}-{os.getpid():x}-{secrets.token_hex(6)}"
    return target.with_name(f".{target.name[:180]}.{owner}.tmp")


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def remove_stale(target: Path) -> None:
    """Remove what writes of this target left that were killed, if the folder allows it."""
    prefix = f".{target.name[:180]}."
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            name = path.name
            if name.startswith(prefix) and name.endswith(".tmp") and _is_stale(path, name, prefix):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _is_stale(path: Path, name: str, prefix: str) -> bool:
    """Whether no living process writes it: known of this machine; others get a day."""
    owner = re.fullmatch(r"([0-9a-f]{8})-([0-9a-f]+)-[0-9a-f]{12}\.tmp", name[len(prefix) :])
    if owner and owner[1] == _machine() and os.name == "posix":
        try:
            os.kill(int(owner[2], 16), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            return False
        return False
    return path.lstat().st_mtime < time.time() - _STALE_SECONDS


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk; Windows cannot do so for folders."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
