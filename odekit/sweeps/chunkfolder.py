"""What of a sweep is finished, in a folder: one small record for each chunk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from odekit.store.checkpoint import (
    PROBLEM_FILE,
    claim,
    damaged,
    read_arrays,
    read_json,
    write_arrays,
)
from odekit.store.files import write_atomic
from odekit.sweeps.chunks import Chunking

SHAPE_FILE = "chunks.json"


class ChunkFolder:
    """A folder of a sweep that a killed run resumes from.

    Parameters
    ----------
    folder : Path
    identity : dict
        What must be equal for finished chunks to belong to the sweep.
    sizes : dict of str to int
        The sweep dims.

    Raises
    ------
    CheckpointError
        If the folder belongs to another sweep, or is damaged.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], sizes: Mapping[str, int]) -> None:
        self.folder, self.sizes = folder, dict(sizes)
        self._lock = claim(folder, identity)

    def release(self) -> None:
        """Let another run have the folder."""
        self._lock.release()

    def shape(self) -> dict[str, int] | None:
        """Shape of the chunks of an earlier run; None where none of them is finished."""
        path = self.folder / SHAPE_FILE
        if not path.exists() or not self.begun:
            return None
        shape = read_json(path)
        whole = all(isinstance(n, int) and n >= 1 for n in shape.values())
        if shape.keys() != self.sizes.keys() or not whole:
            raise damaged(path, ValueError("it fits other dims"))
        return {d: int(shape[d]) for d in self.sizes}

    def fix_shape(self, shape: Mapping[str, int]) -> None:
        """Decide it for this run and those that resume it."""
        text = json.dumps(dict(shape)).encode()
        write_atomic(self.folder / SHAPE_FILE, lambda p: p.write_bytes(text))

    @property
    def begun(self) -> bool:
        """Whether any chunk is finished: the others are then cut as it is."""
        return any(self.folder.glob("chunk-*.json"))

    def _record(self, number: int) -> Path:
        return self.folder / f"chunk-{number:06d}.json"

    def arrays_file(self, number: int) -> Path:
        """Where the arrays of a chunk are, if they are kept here."""
        return self.folder / f"chunk-{number:06d}.npz"

    def finished(self, cut: Chunking) -> list[int]:
        """Numbers of the chunks that are done."""
        return [i for i in range(len(cut)) if self._record(i).exists()]

    def forget(self) -> None:
        """Nothing is done yet."""
        for record in self.folder.glob("chunk-*.json"):
            record.unlink()

    def remove(self) -> None:
        """Delete the folder, its identity last: a kill in between leaves one that is resumed."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != PROBLEM_FILE:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self, number: int, record: Mapping[str, Any]) -> None:
        """Note that a chunk is done; its data must be on the disk."""
        text = json.dumps(dict(record)).encode()
        write_atomic(self._record(number), lambda p: p.write_bytes(text))

    def write(self, number: int, arrays: Mapping[str, Any]) -> None:
        """Keep the arrays of a chunk here."""
        write_arrays(self.arrays_file(number), dict(arrays))

    def read(self, number: int) -> dict[str, Any]:
        """Arrays that were kept."""
        path = self.arrays_file(number)
        try:
            return read_arrays(path)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise damaged(path, error) from None
