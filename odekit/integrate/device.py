"""The engine's integrators on a CUDA device: what goes there, and what comes back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core.errors import NumbaError, NumbaPerformanceWarning

from odekit.base.errors import ProblemError
from odekit.base.text import complaint
from odekit_kernels.integrators.batch import CODE, OUTCOMES, ROW, Batch, Driven

if TYPE_CHECKING:
    from odekit_kernels.integrators.explicit import Tableau
    from odekit_kernels.integrators.rosenbrock import Rosenbrock
    from odekit_kernels.integrators.stepping import Limits

QUOTA = 2000
"""Steps of a thread in one launch, after which the host looks whether to go on."""
PART_OF_MEMORY = 0.5
"""Part of the free memory of the device that one chunk may take."""
BLOCKS_PER_PROCESSOR = 8
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


def advance(
    plan: Any,
    batch: Batch,
    pair: Tableau | Rosenbrock,
    limits: Limits,
    todo: Any,
    stopped: Callable[[], bool],
    work: Any = None,
) -> None:
    """Advance trajectories of a batch as far as the steps of one partner take them.

    Parameters
    ----------
    plan, batch, pair, limits
        As for `odekit_kernels.integrators.explicit.advance_explicit`, or for
        `implicit.advance_implicit` if `work` is given.
    todo : ndarray of int64
        Which trajectories.
    stopped : callable
        Asked between two launches whether to give up.
    work : array or named tuple, optional
        What Jacobians are computed in, on the host: threads have the like.
    """
    cuda = _cuda()
    _, rows, visible = batch.rows.shape
    each = 8 * (rows * visible + batch.y.shape[1] + batch.constants.shape[1] + 16)
    free = cuda.current_context().get_memory_info()[0]
    most = int(min(PART_OF_MEMORY * free / each, todo.size))
    fixed = _fixed(batch)
    shared = _sent(pair)
    partner = _partner(plan, batch, work)
    for first in range(0, todo.size, max(most, 1)):
        if stopped():
            return
        _chunk(partner, batch, fixed, shared, limits, todo[first : first + max(most, 1)], stopped)


def _partner(plan: Any, batch: Batch, work: Any) -> tuple[Any, int]:
    """The kernel, and how many doubles a thread needs in an array on the device."""
    if work is None:
        from odekit_kernels.integrators.cuda import explicit_kernel

        return explicit_kernel(plan), 0
    from odekit_kernels.integrators.cuda_implicit import implicit_kernel, lay_out

    thread = lay_out(plan, batch.places.size, work)
    return implicit_kernel(thread), thread.room


def _sent(value: Any) -> Any:
    """A named tuple with its arrays on the device."""
    if isinstance(value, tuple):
        return type(value)(*map(_sent, value))
    return _cuda().to_device(value) if isinstance(value, np.ndarray) else value


def _fixed(batch: Batch) -> dict[str, Any]:
    """What all trajectories share, on the device."""
    cuda = _cuda()

    shared: dict[str, Any] = {
        name: cuda.to_device(getattr(batch, name)) for name in ("places", "times", "shown", "stops")
    }
    shared["driven"], shared["wiring"] = _sent(batch.driven), _sent(batch.wiring)
    if len(batch.constants) == 1:
        shared["constants"] = cuda.to_device(batch.constants)
    return shared


def _chunk(
    partner: tuple[Any, int],
    batch: Batch,
    fixed: dict[str, Any],
    pair: Any,
    limits: Limits,
    part: Any,
    stopped: Callable[[], bool],
) -> None:
    """Advance as many as fit into the memory of the device, and bring them back."""
    cuda = _cuda()
    own = {name: cuda.to_device(getattr(batch, name)[part]) for name in ("y", "numbers", "counts")}
    if len(batch.constants) > 1:
        own["constants"] = cuda.to_device(batch.constants[part])
    own["driven"] = fixed["driven"]._replace(**_own_drives(batch.driven, part))
    rows = cuda.device_array((part.size, *batch.rows.shape[1:]), np.float64)
    _launch(partner, Batch(**{**fixed, **own}, rows=rows), pair, limits, part.size, stopped)
    before = batch.counts[part, ROW]
    for name in ("y", "numbers", "counts"):
        getattr(batch, name)[part] = own[name].copy_to_host()
    after, index = batch.counts[part, ROW], np.arange(batch.rows.shape[1])
    new = (index >= before[:, np.newaxis]) & (index < after[:, np.newaxis])
    which, row = np.nonzero(new)
    batch.rows[part[which], row] = rows.copy_to_host()[which, row]


def _own_drives(driven: Driven, part: Any) -> dict[str, Any]:
    """What scales the schedules of a chunk's trajectories, where that is each one's own."""
    both = {name: getattr(driven, name) for name in ("base", "scale")}
    return {n: _cuda().to_device(x[part]) for n, x in both.items() if len(x) > 1}


def _launch(
    partner: tuple[Any, int],
    on: Batch,
    pair: Any,
    limits: Limits,
    size: int,
    stopped: Callable[[], bool],
) -> None:
    """Launch until no trajectory is left that may go on."""
    cuda = _cuda()
    from odekit_kernels.integrators.cuda import THREADS

    (kernel, each), left = partner, np.arange(size)
    threads = min(THREADS, size)
    most = min(-(-size // threads), BLOCKS_PER_PROCESSOR * processors())
    most, room = _room(threads, most, each)
    counts: Any = on.counts
    while left.size and not stopped():
        blocks = min(-(-left.size // threads), most)
        with warnings.catch_warnings():
            # Small batches are known to leave most of the device idle.
            warnings.simplefilter("ignore", NumbaPerformanceWarning)
            try:
                kernel[blocks, threads](on, pair, limits, cuda.to_device(left), QUOTA, *room)
            except NumbaError as error:
                rule = "must be 'cpu' for equations that do not compile for a CUDA device"
                remedy = "There, functions of numbers are math's: math.exp, not np.exp."
                raise ProblemError("device", rule, complaint(error), remedy) from error
        left = np.flatnonzero(counts.copy_to_host()[:, CODE] == OUTCOMES["running"])


def _room(threads: int, blocks: int, each: int) -> tuple[int, tuple[Any, ...]]:
    """What threads need in an array of `each` doubles, and how many blocks of them have it."""
    if not each:
        return blocks, ()
    cuda = _cuda()
    free = cuda.current_context().get_memory_info()[0]
    blocks = max(1, int(min(blocks, PART_OF_MEMORY * free / (8 * each * threads))))
    return blocks, (cuda.device_array((blocks * threads, each), np.float64),)


def processors() -> int:
    """Multiprocessors of the device."""
    cuda = _cuda()
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1":
        return 1
    return int(cuda.get_current_device().MULTIPROCESSOR_COUNT)
