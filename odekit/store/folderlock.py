"""One writer at a time for a folder."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from odekit.base.errors import CheckpointError

LOCK_FILE = ".lock"


class FolderLock:
    """A lock on a folder that ends with this process, however that ends.

    Where the system, or the disk, has no locks there is none: what is read back is then still
    checked for having come from one writer.

    Parameters
    ----------
    folder : Path
        Must exist.

    Raises
    ------
    CheckpointError
        If another process, or thread, has it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = _locked(folder)

    def release(self) -> None:
        """Let another have the folder."""
        if self._file is not None:
            self._file.close()


def _locked(folder: Path) -> IO[str] | None:
    try:
        import fcntl
    except ImportError:
        return None
    try:
        file = (folder / LOCK_FILE).open("w")
    except OSError as error:
        reason = f"cannot be written to ({error.strerror})"
        raise CheckpointError(f"{folder}: {reason}. Name another folder.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise CheckpointError(
            f"{folder}: another run is writing to it. Wait for its end, or name another."
        ) from None
    except OSError:
        file.close()
        return None
    return file
