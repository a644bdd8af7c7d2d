"""Where the chunks of a sweep go: arrays in memory, or a Zarr folder on disk."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from odekit.base.errors import ProblemError, StoreError
from odekit.base.status import Status
from odekit.store.checkpoint import Checkpoint, warn_not_kept
from odekit.store.files import check_folder_target
from odekit.sweeps.block import blank, empty, specs
from odekit.sweeps.chunkfolder import ChunkFolder
from odekit.sweeps.chunks import Chunking, Region
from odekit.sweeps.jobs import Arrays, Done

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats
    from odekit.dataset.result import Result


Write = Callable[[Region, Arrays], None] | None


class Target(Protocol):
    """What `run_grid` fills."""

    folder: ChunkFolder | None
    """Where finished chunks are noted, so that another run need not compute them."""
    write: Write
    """What puts a chunk's arrays here from any process; None: they are handed to `keep`."""

    def shape(self) -> dict[str, int] | None:
        """Shape of the chunks, where an earlier run has decided it."""

    def start(self, cut: Chunking) -> list[int]:
        """Make room; numbers of the chunks that are done already."""

    def room(self, number: int) -> Arrays | None:
        """Arrays in which a chunk may be written from this process, as `run_block` takes them."""

    def keep(self, number: int, done: Done) -> None:
        """A chunk is done."""

    def lose(self, number: int, reason: str) -> None:
        """A chunk is given up."""

    def close(self, complete: bool, late: bool) -> xr.Dataset:
        """The dataset of what there is; late: the rest is missing as the time was over."""

    def release(self) -> None:
        """Let another run have the folder, if there is one."""


def unreached(problem: Any, rows: int, region: Region, status: Status) -> Arrays:
    """A block of trajectories that have not begun, with a status that says why."""
    shape = [s.stop - s.start for s in region.values()]
    arrays = blank(problem, shape, rows)
    arrays["status"][...] = int(status)
    return arrays


def blame_time(status: Any) -> None:
    """Trajectories that were not reached are so because the time allowed was over."""
    status[status == Status.INTERRUPTED] = Status.TIME_BUDGET


class _Target:
    """What both have: which part is lost, and why."""

    write: Write = None
    folder: ChunkFolder | None = None

    def __init__(self, result: Result, times: Floats) -> None:
        self.result, self.times = result, times
        self.lost: list[dict[str, Any]] = []

    def room(self, number: int) -> Arrays | None:
        """None: arrays are handed over."""
        del number
        return None

    def release(self) -> None:
        """Let another run have the folder."""
        if self.folder is not None:
            self.folder.release()

    def _note(self, region: Region, reason: str) -> Arrays:
        where = {d: [s.start, s.stop] for d, s in region.items()}
        self.lost.append({"region": where, "reason": reason})
        return unreached(self.result.problem, self.times.size, region, Status.LOST)

    def _reasons(self) -> str:
        return json.dumps(self.lost) if self.lost else ""


class MemoryTarget(_Target):
    """Numpy arrays, and a folder of finished chunks if the run has a checkpoint."""

    def __init__(
        self, result: Result, times: Floats, sizes: Mapping[str, int], saved: Checkpoint | None
    ) -> None:
        super().__init__(result, times)
        check_memory(result, times, sizes)
        self.sizes, self.warned = dict(sizes), False
        if saved is not None:
            self.folder = ChunkFolder(Path(saved.folder), result.identity, sizes)

    def shape(self) -> dict[str, int] | None:
        """Shape of the chunks in the checkpoint."""
        return None if self.folder is None else self.folder.shape()

    def start(self, cut: Chunking) -> list[int]:
        """Make room, and read what the checkpoint has."""
        self.cut, self.missing = cut, set(range(len(cut)))
        try:
            self.arrays = empty(self.result.problem, list(self.sizes.values()), self.times.size)
        except MemoryError:
            needed = size_of(self.result, self.times, self.sizes)
            raise too_large(needed, "more than this process may have") from None
        if self.folder is None:
            return []
        self.folder.fix_shape(cut.shape)
        finished = self.folder.finished(cut)
        for number in finished:
            self._fill(number, self.folder.read(number))
        return finished

    def room(self, number: int) -> Arrays | None:
        """The part of the result that is a chunk's, but for texts, whose length shows later."""
        place = tuple(self.cut.region(number).values())
        found = {}
        for name, values in self.arrays.items():
            some, core = values[place], values.shape[len(self.sizes) :]
            if values.dtype.kind != "U" and some.flags.c_contiguous:
                found[name] = some.reshape(-1, *core)
        return found

    def _fill(self, number: int, arrays: Arrays) -> None:
        """Write what is not there yet; variables that a run lacks are as if not reached."""
        region = self.cut.region(number)
        place, missing = tuple(region.values()), self.arrays.keys() - arrays.keys()
        if missing:
            blanks = unreached(self.result.problem, self.times.size, region, Status.COMPLETED)
            arrays = {**{name: blanks[name] for name in missing}, **arrays}
        for name, values in arrays.items():
            there = self.arrays[name]
            if values.dtype.kind == "U" and values.dtype.itemsize > there.dtype.itemsize:
                there = self.arrays[name] = there.astype(values.dtype)
            if not np.may_share_memory(values, there):
                there[place] = values
        self.missing.discard(number)

    def keep(self, number: int, done: Done) -> None:
        """Take a chunk's arrays; an interrupted one is not noted as finished."""
        assert done.arrays is not None
        self._fill(number, done.arrays)
        if self.folder is not None and not done.unfinished:
            self._save(self.folder, number, done)

    def _save(self, folder: ChunkFolder, number: int, done: Done) -> None:
        """Leave a chunk in the checkpoint; where that fails the sweep goes on without."""
        try:
            folder.write(number, done.arrays or {})
            folder.finish(number, done.record)
        except StoreError as error:
            if not self.warned:
                warn_not_kept(error)
            self.warned = True

    def lose(self, number: int, reason: str) -> None:
        """Say so in the status of its trajectories."""
        self._fill(number, self._note(self.cut.region(number), reason))

    def close(self, complete: bool, late: bool) -> xr.Dataset:
        """The dataset."""
        for number in list(self.missing):
            region = self.cut.region(number)
            blanks = unreached(self.result.problem, self.times.size, region, Status.INTERRUPTED)
            self._fill(number, blanks)
        if late and not complete:
            blame_time(self.arrays["status"])
        return self.result.dataset(self.arrays, self.times, self._reasons())


def size_of(result: Result, times: Floats, sizes: Mapping[str, int]) -> int:
    """Bytes of a result, however many: these products do not fit into an int64."""
    each = sum(spec.nbytes for spec in specs(result.problem, times.size).values())
    return each * math.prod(int(n) for n in sizes.values())


def check_memory(result: Result, times: Floats, sizes: Mapping[str, int]) -> None:
    """Refuse a result that no memory of this machine can hold."""
    needed = size_of(result, times, sizes)
    if not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise too_large(needed, f"more than the memory of this machine, {there / 2**30:.1f} GiB")


def too_large(needed: int, limit: str) -> ProblemError:
    """What a result says that does not fit into memory."""
    return ProblemError(
        "store",
        f"must be given for a result of {needed / 2**30:.1f} GiB, {limit}",
        "None",
        'Write store="grid.zarr", or ask for fewer rows with `t_eval`.',
    )


def check_disk(target: Path, needed: int) -> None:
    """Refuse a result that the disk of its store cannot hold; trajectories hardly compress."""
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise ProblemError(
            "store",
            f"must lie on a disk with room for the result, {needed / 2**30:.1f} GiB",
            f"{target} with {free / 2**30:.1f} GiB free",
            "Ask for fewer rows with `t_eval`, sweep over fewer points, or name another disk.",
        )


class ZarrTarget(_Target):
    """A Zarr folder, made beside its target and put there once complete.

    ``NAME.part`` holds the identity of the sweep, the shape of its chunks, a record of each that is
    finished, and in ``data`` the store itself.
    """

    def __init__(
        self,
        result: Result,
        times: Floats,
        sizes: Mapping[str, int],
        path: str | os.PathLike[str],
        overwrite: bool,
    ) -> None:
        from odekit.store.zarrstore import PART, RegionWriter, need_zarr

        super().__init__(result, times)
        need_zarr()
        self.target = check_folder_target(path, overwrite)
        self.overwrite, self.sizes = overwrite, dict(sizes)
        self.part = self.target.with_name(self.target.name + PART)
        self.data = self.part / "data"
        if not self.data.exists():
            check_disk(self.target, size_of(result, times, sizes))
        self.folder = self.chunks = ChunkFolder(self.part, result.identity, sizes)
        self.write = self.writer = RegionWriter(
            str(self.data), {n: s.dims for n, s in specs(result.problem, times.size).items()}
        )

    def shape(self) -> dict[str, int] | None:
        """Shape of the chunks of an earlier run."""
        return self.chunks.shape()

    def start(self, cut: Chunking) -> list[int]:
        """Lay the store out, unless an earlier run has."""
        self.cut = cut
        if not (self.data.exists() and self.chunks.begun):
            # Records without data are what is left of a store that was put in its place; data
            # without records may have other chunks.
            self.chunks.forget()
            shutil.rmtree(self.data, ignore_errors=True)
            self._lay_out(cut)
            self.chunks.fix_shape(cut.shape)
        return self.chunks.finished(cut)

    def _lay_out(self, cut: Chunking) -> None:
        from odekit.store.zarrstore import lay_out

        found = specs(self.result.problem, self.times.size)
        check_disk(self.target, size_of(self.result, self.times, self.sizes))
        room = {
            name: np.broadcast_to(
                np.array(spec.unreached, dtype=spec.dtype), (*self.sizes.values(), *spec.shape)
            )
            for name, spec in found.items()
        }
        chunks = {name: (*cut.shape.values(), *spec.shape) for name, spec in found.items()}
        # Beside its place, as a killed run may leave half of it.
        making = self.part / ".making"
        shutil.rmtree(making, ignore_errors=True)
        lay_out(making, self.result.dataset(room, self.times), chunks)
        making.rename(self.data)

    def keep(self, number: int, done: Done) -> None:
        """Note that a chunk is written."""
        if not done.unfinished:
            self.chunks.finish(number, done.record)

    def lose(self, number: int, reason: str) -> None:
        """Write the status of its trajectories."""
        region = self.cut.region(number)
        self.writer(region, self._note(region, reason))

    def close(self, complete: bool, late: bool) -> xr.Dataset:
        """Put the store in its place if it is complete, and open it."""
        from odekit.store.zarrstore import add_attributes, edit_variable, open_folder, publish

        if not complete:
            if late:
                edit_variable(self.data, "status", blame_time)
            return open_folder(self.data, 2**62, complete=False)
        if self.lost:
            add_attributes(self.data, {"odekit_lost": self._reasons()})
        try:
            publish(self.data, self.target, self.overwrite)
        except StoreError as error:
            remedy = (
                f"The result is complete in {self.part}: once there is room at its place, the same "
                "call puts it there."
            )
            raise StoreError(self.target, error.reason, remedy) from error
        self.chunks.remove()
        return open_folder(self.target, 2**62)
