"""The engine's integrators on a CUDA device: what goes there, and what comes back.

A device works on one batch while the rows of another come back, if these are on threads of their
own: all that is done for a batch stands in a stream of its own.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.core.errors import NumbaError, NumbaPerformanceWarning

from odekit.base.errors import ProblemError
from odekit.base.text import complaint
from odekit.integrate.shares import shares, spread
from odekit.integrate.station import Station, follow, simulated, staged, station
from odekit_kernels.integrators.batch import CODE, END, OUTCOMES, ROW, Batch, Driven

if TYPE_CHECKING:
    from odekit.base.arrays import Floats
    from odekit.integrate.packing import Reading
    from odekit_kernels.integrators.explicit import Tableau
    from odekit_kernels.integrators.rosenbrock import Rosenbrock
    from odekit_kernels.integrators.stepping import Limits

QUOTA = 2000
"""Steps of a thread in one launch, after which the host looks whether to go on."""
PART_OF_MEMORY = 0.5
"""Part of the free memory of the device that one chunk may take."""
BLOCKS_PER_PROCESSOR = 8
"""Blocks of threads that share an array of the device, for each of its processors."""
AT_ONCE = 3
"""Batches of a sweep in the works: while one computes, others are prepared and brought back."""
WARP = 32
"""Threads that take the same instructions at once."""
_ONE_LAUNCH = threading.Lock()
"""Numba loads a kernel at its first launch, and fails where two threads do so at once."""
WORTH = 4096
"""Trajectories from which ``device="auto"`` takes the device: fewer leave most of it idle."""


def _cuda() -> Any:
    from numba import cuda

    return cuda


def trouble() -> str:
    """Why no device can be used; empty where one can."""
    try:
        cuda = _cuda()
    except ImportError as error:
        return f"numba's CUDA target is missing ({error})"
    if cuda.is_available():
        return ""
    reason = " ".join(str(cuda.cuda_error() if hasattr(cuda, "cuda_error") else "").split())
    return f"no CUDA device is available ({reason})" if reason else "no CUDA device is available"


def at_once() -> int:
    """Batches of a sweep to be worked on at once; the simulator takes one."""
    return 1 if simulated() else AT_ONCE


def choose(device: str, size: int) -> bool:
    """Whether the device takes the steps of a batch of `size` trajectories.

    Raises
    ------
    ProblemError
        If a device was asked for by name and there is none.
    """
    if device == "cpu" or (device == "auto" and size < WORTH):
        return False
    reason = trouble()
    if reason and device == "cuda":
        raise ProblemError(
            "device",
            "must be 'cpu' or 'auto' where no CUDA device can be used",
            f"'cuda', but {reason}",
            "Install the driver and `odekit[cuda]`; 'auto' takes a device where there is one.",
        )
    return not reason


class Errors(NamedTuple):
    """Errors of rows that a device computes, where the rows are.

    Attributes
    ----------
    reading : Reading
    found : ndarray, shape (B, rows, tasks)
        Receives them, for the rows that are computed there.
    """

    reading: Reading
    found: Floats


def advance(
    plan: Any,
    batch: Batch,
    pair: Tableau | Rosenbrock,
    limits: Limits,
    todo: Any,
    stopped: Callable[[], bool],
    work: Any = None,
    *,
    errors: Errors | None = None,
    threads: int = 1,
) -> None:
    """Advance trajectories of a batch as far as the steps of one partner take them.

    Parameters
    ----------
    plan, batch, pair, limits
        As for `odekit_kernels.integrators.explicit.advance_explicit`, or for
        `implicit.advance_implicit` if `work` is given. Of `batch.rows` only the rows that
        `batch.counts` tells of are to be read afterwards.
    todo : ndarray of int64
        Which trajectories, in increasing order.
    stopped : callable
        Asked between two launches whether to give up.
    work : array or named tuple, optional
        What Jacobians are computed in, on the host: threads have the like.
    errors : Errors, optional
        Where the errors of the rows go.
    threads : int
        Threads of the host that bring rows back.
    """
    with station() as here:
        fixed = _fixed(here, batch)
        shared = here.send("pair", pair)
        partner, fixed["wiring"] = _partner(plan, batch, limits, work, fixed["wiring"])
        most = max(_most(here, batch, errors, todo.size), 1)
        for first in range(0, todo.size, most):
            if stopped():
                return
            part = todo[first : first + most]
            on, window = _chunk(here, batch, fixed, part)
            _launch(here, partner, on, shared, limits, part.size, stopped)
            _bring(here, batch, on, part, window, errors, threads)


def _partner(
    plan: Any, batch: Batch, limits: Limits, work: Any, wiring: Any
) -> tuple[tuple[Any, int], Any]:
    """The kernel, how many doubles a thread needs in an array on the device, and its wiring."""
    if work is None:
        from odekit_kernels.integrators.cuda import explicit_kernel
        from odekit_kernels.integrators.unrolled import written_out

        flags = limits.moves, limits.trains, limits.decays
        plan, wire = written_out(plan, batch.wiring, *flags)
        return (explicit_kernel(plan), 0), wire(wiring)
    from odekit_kernels.integrators.cuda_implicit import implicit_kernel, lay_out

    thread = lay_out(plan, batch.places.size, work)
    return (implicit_kernel(thread), thread.room), wiring


def _most(here: Station, batch: Batch, errors: Errors | None, size: int) -> int:
    """Trajectories that fit into the memory of the device at once."""
    _, rows, visible = batch.rows.shape
    tasks = 0 if errors is None else errors.found.shape[2]
    each = 8 * (rows * (visible + tasks) + batch.y.shape[1] + batch.constants.shape[1] + 16)
    free = _cuda().current_context().get_memory_info()[0] + here.nbytes
    return int(min(PART_OF_MEMORY * free / each, size))


def _fixed(here: Station, batch: Batch) -> dict[str, Any]:
    """What all trajectories share, on the device."""
    names = ["places", "shown", "stops", "driven", "wiring"]
    names += ["constants"] * (len(batch.constants) == 1)
    return {name: here.send(name, getattr(batch, name)) for name in names}


def _chunk(
    here: Station, batch: Batch, fixed: dict[str, Any], part: Any
) -> tuple[Batch, tuple[int, Any]]:
    """Some trajectories on the device, with room for the rows that they may come to.

    Returns
    -------
    Batch
        Its first row is the first that any of them has yet to fill.
    tuple
        The number of that row, and of the next row of each.
    """
    block = _block(part)
    before = batch.counts[block, ROW].copy()
    first = int(before.min())
    end = int(np.searchsorted(batch.times, batch.numbers[block, END].max(), side="right"))
    times = batch.times[first : max(first, end)]
    counts = batch.counts[block].copy()
    counts[:, ROW] -= first
    own = {name: here.send(name, getattr(batch, name)[block]) for name in ("y", "numbers")}
    if len(batch.constants) > 1:
        own["constants"] = here.send("constants", batch.constants[block])
    own["driven"] = fixed["driven"]._replace(**_own_drives(here, batch.driven, block))
    own["counts"] = here.send("counts", counts)
    own["times"] = here.send("times", times)
    rows = here.room("rows", (part.size, times.size, batch.rows.shape[2]), np.dtype(float))
    return Batch(**{**fixed, **own}, rows=rows, lands=batch.lands), (first, before)


def _block(part: Any) -> Any:
    """Trajectories as a slice, where they lie side by side: nothing is then gathered."""
    side_by_side = part[-1] - part[0] + 1 == part.size
    return slice(int(part[0]), int(part[-1]) + 1) if side_by_side else part


def _own_drives(here: Station, driven: Driven, block: Any) -> dict[str, Any]:
    """What scales the schedules of a chunk's trajectories, where that is each one's own."""
    both = {name: getattr(driven, name) for name in ("base", "scale")}
    return {n: here.send(f"own {n}", x[block]) for n, x in both.items() if len(x) > 1}


def _launch(
    here: Station,
    partner: tuple[Any, int],
    on: Batch,
    pair: Any,
    limits: Limits,
    size: int,
    stopped: Callable[[], bool],
) -> None:
    """Launch until no trajectory is left that may go on."""
    from odekit_kernels.integrators.cuda import THREADS

    kernel, each = partner
    left, counts = np.arange(size), np.empty(on.counts.shape, dtype=np.int64)
    most, room = _room(here, min(THREADS, size), size, each)
    while left.size and not stopped():
        given = (on, pair, limits, here.send("todo", left), QUOTA, *room)
        _run(here, kernel, THREADS, left.size, given, most)
        here.fetch(on.counts, counts)
        left = np.flatnonzero(counts[:, CODE] == OUTCOMES["running"])


def _room(here: Station, threads: int, size: int, each: int) -> tuple[int | None, tuple[Any, ...]]:
    """What threads need in an array of `each` doubles, and how many blocks of them have it."""
    if not each:
        return None, ()
    free = _cuda().current_context().get_memory_info()[0] + here.nbytes
    fitting = PART_OF_MEMORY * free / (8 * each * threads)
    most = max(1, int(min(BLOCKS_PER_PROCESSOR * processors(), -(-size // threads), fitting)))
    return most, (here.room("threads", (most * threads, each), np.dtype(float)),)


def _run(
    here: Station, kernel: Any, threads: int, size: int, given: Any, most: int | None = None
) -> None:
    """Launch a kernel, for so many pieces of work, in at most so many blocks."""
    # Fewer to a block where there would be processors without one.
    threads = min(threads, size, max(WARP, size // processors() // WARP * WARP))
    blocks = min(-(-size // threads), most or size)
    with _ONE_LAUNCH, warnings.catch_warnings():
        # Small batches are known to leave most of the device idle.
        warnings.simplefilter("ignore", NumbaPerformanceWarning)
        try:
            kernel[blocks, threads, here.stream](*given)
        except NumbaError as error:
            rule = "must be 'cpu' for equations that do not compile for a CUDA device"
            remedy = "There, functions of numbers are math's: math.exp, not np.exp."
            raise ProblemError("device", rule, complaint(error), remedy) from error


def _bring(
    here: Station,
    batch: Batch,
    on: Batch,
    part: Any,
    window: tuple[int, Any],
    errors: Errors | None,
    threads: int,
) -> None:
    """Bring back what was reached: states, and rows with their errors."""
    block, (first, before) = _block(part), window
    names = ("y", "numbers", "counts")
    pairs: list[tuple[Any, Any]] = [(getattr(on, n), getattr(batch, n)) for n in names]
    if on.times.size:
        pairs.append((on.rows, batch.rows[:, first:]))
        if errors is not None:
            pairs.append((_errors(here, on, errors.reading, block), errors.found[:, first:]))
    here.stream.synchronize()
    later: Any = before - first

    def bring(piece: tuple[Any, Any, slice]) -> None:
        found, into, share = piece
        with staged((share.stop - share.start, *found.shape[1:]), into.dtype) as (room, stream):
            found[share].copy_to_host(room, stream)
            stream.synchronize()
            own = later[share] if room.ndim == 3 else None
            _put(into, room, _share_of(block, share), own)

    # Few and large, whatever the threads: each piece costs a tenth of a millisecond of Python.
    pieces = [
        (found, into, share)
        for found, into in pairs
        for share in shares(part.size, 8 * math.prod(found.shape[1:]), 1)
    ]
    spread(bring, pieces, threads, follow())
    batch.counts[block, ROW] += first


def _share_of(block: Any, share: slice) -> Any:
    """Which trajectories a share of a block is."""
    if isinstance(block, slice):
        return slice(block.start + share.start, block.start + share.stop)
    return block[share]


def _put(into: Any, found: Any, to: Any, later: Any) -> None:
    """Write what was brought back; rows from the first on that was new for each trajectory.

    What lies behind the last row of a trajectory is whatever the device's memory held: nobody reads
    it, or a row takes its place.
    """
    if later is None:
        into[to] = found
        return
    some = np.arange(into.shape[0])[to] if isinstance(to, slice) else to
    for row in np.flatnonzero(np.bincount(later)):
        own = later == row
        width = slice(int(row), found.shape[1])
        if own.all():
            into[to, width] = found[:, width]
        else:
            into[some[own], width] = found[own, width]


def _errors(here: Station, on: Batch, reading: Reading, block: Any) -> Any:
    """Errors of the rows of a chunk, on the device."""
    from odekit_kernels.integrators.cuda_rows import THREADS, errors_kernel

    size, length = on.rows.shape[:2]
    own: Any = reading.constants
    found = here.room("errors", (size, length, reading.plan.W), np.dtype(float))
    given = (
        here.send("reading", reading.wiring),
        here.send("reading constants", own if len(own) == 1 else own[block]),
        here.send("reading places", reading.places),
        on.rows,
        on.counts,
        found,
    )
    _run(here, errors_kernel(reading.plan), THREADS, size * length, given)
    return found


def processors() -> int:
    """Multiprocessors of the device."""
    cuda = _cuda()
    if simulated():
        return 1
    return int(cuda.get_current_device().MULTIPROCESSOR_COUNT)
