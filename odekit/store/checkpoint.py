"""Segments of rows and the state after them, on disk, so that a killed run resumes."""

from __future__ import annotations

import hashlib
import io
import json
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import number
from odekit.base.errors import CheckpointError, CheckpointWarning, ProblemError, StoreError
from odekit.base.saved import Saved
from odekit.base.text import canonical_json
from odekit.store.files import write_atomic
from odekit.store.folderlock import FolderLock

DEFAULT_SECONDS = 30.0
PROBLEM_FILE, STATE_FILE = "problem.json", "state.npz"


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run leaves what it needs to resume.

    Parameters
    ----------
    folder : path
        Made if it does not exist. A run of the same problem with the same options goes on from
        what it finds there; another problem is refused.
    seconds : float
        Time between two states, >= 0; a killed run loses at most this.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.Checkpoint("plateau.checkpoint", seconds=10.0).seconds
    10.0
    """

    folder: str | Path
    seconds: float = DEFAULT_SECONDS

    def __post_init__(self) -> None:
        number("seconds", self.seconds, "be >= 0", lambda x: x >= 0)
        if not isinstance(self.folder, str | Path) or not str(self.folder):
            raise ProblemError("folder", "must be a path", repr(self.folder), "Name a folder.")

    def keep(self, identity: dict[str, Any]) -> CheckpointFolder:
        """The folder of a run; `identity` must be equal for what is in it to be the run's."""
        return CheckpointFolder(self, identity)


def as_checkpoint(value: object, digest: str) -> Checkpoint | None:
    """solve's argument: None, a `Checkpoint`, a folder, or an interval in seconds.

    The folder that belongs to an interval is named by the digest of the problem.
    """
    if value is None or isinstance(value, Checkpoint):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Checkpoint(f"odekit-{digest[:12]}.checkpoint", float(value))
    if isinstance(value, str | Path):
        return Checkpoint(value)
    raise ProblemError(
        "checkpoint", "must be a folder, an interval in seconds or a Checkpoint", repr(value), ""
    )


def claim(folder: Path, identity: dict[str, Any]) -> FolderLock:
    """Make a folder the one of a run, or see that it already is, and keep other writers out.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    identity : dict
        What must be equal for what is in it to belong to the run.

    Raises
    ------
    CheckpointError
        If the folder belongs to another run, is being written to, holds other files, or is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be used as a folder ({error.strerror}). Name another one."
        ) from None
    # Before the lock, which would be one file more in a folder of something else.
    _refuse_other_files(folder)
    lock = FolderLock(folder)
    try:
        _identify(folder, identity)
    except BaseException:
        lock.release()
        raise
    return lock


def _refuse_other_files(folder: Path) -> None:
    if (folder / PROBLEM_FILE).exists():
        return
    if any(p for p in folder.iterdir() if not p.name.startswith(".")):
        raise CheckpointError(
            f"{folder}: holds other files and no checkpoint. Name an empty folder."
        )


def _identify(folder: Path, identity: dict[str, Any]) -> None:
    """Write down what a folder belongs to, or compare."""
    text, written = canonical_json(identity), folder / PROBLEM_FILE
    if not written.exists():
        write_atomic(written, lambda p: p.write_bytes(text.encode()))
        return
    # Through JSON, as it was written: tuples become lists.
    keys = differing_keys(read_json(written), json.loads(text))
    if keys:
        raise CheckpointError(
            f"{folder}: belongs to another run, which differs in {', '.join(keys[:8])}. "
            "Name another folder, or delete this one to start anew."
        )


def read_json(path: Path) -> dict[str, Any]:
    """An object that was written to a checkpoint's folder."""
    try:
        data = json.loads(path.read_text())
        if not isinstance(data, dict):
            raise ValueError("it holds no object")
    except (ValueError, OSError, RecursionError) as error:
        raise damaged(path, error) from None
    return data


def damaged(path: Path, error: Exception) -> CheckpointError:
    """What to raise for a file that cannot be what was written."""
    return CheckpointError(
        f"{path}: is damaged ({error}). Delete {path.parent} to start the run anew."
    )


class CheckpointFolder:
    """A folder that holds the problem, row segments and the state that belongs to them."""

    def __init__(self, checkpoint: Checkpoint, problem: dict[str, Any]) -> None:
        self.folder = Path(checkpoint.folder)
        self.seconds = checkpoint.seconds
        self.segments = self.rows = 0
        self.last = time.monotonic()
        self.problem = problem
        self._lock: FolderLock | None = None
        self._warned = False

    def open(self) -> tuple[Saved, Floats, Floats] | None:
        """Saved, row times and row states of an earlier run; None where there is none.

        Raises
        ------
        CheckpointError
            If the folder belongs to another problem, another run is writing to it, or its files
            are damaged.
        """
        self._lock = claim(self.folder, self.problem)
        if not (self.folder / STATE_FILE).exists():
            return None
        return self._load()

    def _load(self) -> tuple[Saved, Floats, Floats]:
        path = self.folder / STATE_FILE
        try:
            arrays = read_arrays(path)
            words = json.loads(bytes(arrays.pop("words")).decode())
            self.segments = words.pop("segments")
            parts = []
            for i in range(self.segments):
                path = self._segment(i)
                parts.append(read_arrays(path))
                self._follow(parts[-1])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
            raise damaged(path, error) from None
        t = np.concatenate([[], *(part["t"] for part in parts)])
        if np.any(np.diff(t) <= 0):
            raise damaged(path, ValueError("the times of the rows do not increase"))
        y = [part["y"] for part in parts]
        return Saved(arrays, words), t, np.concatenate(y or [[]])

    def _follow(self, part: dict[str, Any]) -> None:
        """See that a segment begins where the one before ended: two writers cut at other rows."""
        first, count = int(part.get("first", self.rows)), len(part["t"])
        if first != self.rows or len(part["y"]) != count:
            raise ValueError(f"it begins at row {first}, not {self.rows}")
        self.rows += count

    def _segment(self, i: int) -> Path:
        return self.folder / f"rows-{i:06d}.npz"

    @property
    def due(self) -> bool:
        """Whether the interval has passed."""
        return time.monotonic() - self.last >= self.seconds

    def write(self, record: Saved, t: Floats, y: Floats) -> bool:
        """Add rows as a segment, then put down the state; a kill in between loses only these.

        Returns
        -------
        bool
            False where they could not be written, which is warned of once: the run goes on, and
            they are tried again with the next.
        """
        self.last = time.monotonic()
        try:
            self._write(record, t, y)
        except StoreError as error:
            if not self._warned:
                warn_not_kept(error)
            self._warned = True
            return False
        return True

    def _write(self, record: Saved, t: Floats, y: Floats) -> None:
        if t.size:
            first = np.array(self.rows)
            write_arrays(self._segment(self.segments), {"t": t, "y": y, "first": first})
        segments = self.segments + bool(t.size)
        words = canonical_json({**record.words, "segments": segments}).encode()
        arrays = {**record.arrays, "words": np.frombuffer(words, dtype=np.uint8)}
        write_arrays(self.folder / STATE_FILE, arrays)
        self.segments = segments
        self.rows += t.size

    def release(self) -> None:
        """Let another run have the folder."""
        if self._lock is not None:
            self._lock.release()


def warn_not_kept(error: StoreError) -> None:
    """Say that a run goes on without its checkpoint."""
    warnings.warn(
        f"{error} The run goes on; until this is mended it cannot be resumed from later points.",
        CheckpointWarning,
        stacklevel=2,
    )


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays with a checksum, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    payload = buffer.getvalue()
    digest = hashlib.sha256(payload).digest()
    write_atomic(path, lambda p: p.write_bytes(digest + payload))


def read_arrays(path: Path) -> dict[str, Any]:
    """Read what `write_arrays` wrote."""
    data = path.read_bytes()
    digest, payload = data[:32], data[32:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("the checksum is wrong")
    with np.load(io.BytesIO(payload), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def differing_keys(a: Any, b: Any, key: str = "") -> list[str]:
    """Dotted keys at which two pieces of plain data differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for name in sorted(a.keys() | b.keys()):
            inner = f"{key}.{name}" if key else name
            found += differing_keys(a.get(name), b.get(name), inner)
        return found
    nested = isinstance(a, list) and isinstance(b, list) and len(a) == len(b)
    if nested and any(isinstance(x, dict) for x in a):
        pairs = enumerate(zip(a, b, strict=True))
        return [k for i, (x, y) in pairs for k in differing_keys(x, y, f"{key}[{i}]")]
    return [] if a == b else [key]
