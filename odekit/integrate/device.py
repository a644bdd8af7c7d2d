"""The engine's explicit integrator on a CUDA device: what goes there, and what comes back."""

from __future__ import annotations

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
    from odekit_kernels.integrators.stepping import Limits

QUOTA = 2000
"""Steps of a thread in one launch, after which the host looks whether to go on."""
PART_OF_MEMORY = 0.5
"""Part of the free memory of the device that one chunk may take."""
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
    """Whether the device takes the explicit steps of a batch of `size` trajectories.

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
    pair: Tableau,
    limits: Limits,
    todo: Any,
    stopped: Callable[[], bool],
) -> None:
    """Advance trajectories of a batch as far as explicit steps take them.

    Parameters
    ----------
    plan, batch, pair, limits
        As for `odekit_kernels.integrators.explicit.advance_explicit`.
    todo : ndarray of int64
        Which trajectories.
    stopped : callable
        Asked between two launches whether to give up.
    """
    cuda = _cuda()
    from odekit_kernels.integrators.unrolled import written_out

    flags = limits.moves, limits.trains, limits.decays
    plan, wire = written_out(plan, batch.wiring, *flags)
    _, rows, visible = batch.rows.shape
    each = 8 * (rows * visible + batch.y.shape[1] + batch.constants.shape[1] + 16)
    free = cuda.current_context().get_memory_info()[0]
    most = int(min(PART_OF_MEMORY * free / each, todo.size))
    fixed = _fixed(batch)
    fixed["wiring"] = wire(fixed["wiring"])
    names = [name for name in pair._fields if name != "exponent"]
    arrays = {name: cuda.to_device(getattr(pair, name)) for name in names}
    shared = pair._replace(**arrays)
    for first in range(0, todo.size, max(most, 1)):
        if stopped():
            return
        _chunk(plan, batch, fixed, shared, limits, todo[first : first + max(most, 1)], stopped)


def _fixed(batch: Batch) -> dict[str, Any]:
    """What all trajectories share, on the device."""
    cuda = _cuda()

    shared: dict[str, Any] = {
        name: cuda.to_device(getattr(batch, name)) for name in ("places", "times", "shown", "stops")
    }
    shared["driven"] = type(batch.driven)(*map(cuda.to_device, batch.driven))
    shared["wiring"] = type(batch.wiring)(*map(cuda.to_device, batch.wiring))
    if len(batch.constants) == 1:
        shared["constants"] = cuda.to_device(batch.constants)
    return shared


def _chunk(
    plan: Any,
    batch: Batch,
    fixed: dict[str, Any],
    pair: Tableau,
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
    _launch(plan, Batch(**{**fixed, **own}, rows=rows), pair, limits, part.size, stopped)
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
    plan: Any, on: Batch, pair: Tableau, limits: Limits, size: int, stopped: Callable[[], bool]
) -> None:
    """Launch until no trajectory is left that may go on."""
    cuda = _cuda()
    from odekit_kernels.integrators.cuda import THREADS, explicit_kernel

    kernel, left = explicit_kernel(plan), np.arange(size)
    counts: Any = on.counts
    while left.size and not stopped():
        threads = min(THREADS, left.size)
        blocks = -(-left.size // threads)
        with warnings.catch_warnings():
            # Small batches are known to leave most of the device idle.
            warnings.simplefilter("ignore", NumbaPerformanceWarning)
            try:
                kernel[blocks, threads](on, pair, limits, cuda.to_device(left), QUOTA)
            except NumbaError as error:
                rule = "must be 'cpu' for equations that do not compile for a CUDA device"
                remedy = "There, functions of numbers are math's: math.exp, not np.exp."
                raise ProblemError("device", rule, complaint(error), remedy) from error
        left = np.flatnonzero(counts.copy_to_host()[:, CODE] == OUTCOMES["running"])
