"""The stiff partner on a CUDA device: one thread a trajectory, the same source as the lanes.

All that a thread needs, and the system's memory for Jacobians with it, lies in one block. A block
that is small is local to the thread: neighbours' entries lie side by side then. A larger one is a
row of an array that the host allocates, for local memory is set aside for every thread that the
device could ever hold at once.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda as _untyped
from numba import float64, int64
from numpy.typing import NDArray

from odekit_kernels._device_cache import cached
from odekit_kernels.integrators.batch import COUNTERS, INDEX, RUNNING, leave
from odekit_kernels.integrators.implicit import Scratch, advance_implicit
from odekit_kernels.integrators.registry import static, static_work
from odekit_kernels.integrators.stepping import Limits
from odekit_kernels.lanes.values import shaped

__all__ = ["LARGEST_LOCAL", "Thread", "body", "implicit_kernel", "lay_out"]

cuda: Any = _untyped

LARGEST_LOCAL = 4096
"""Doubles of a thread that may be local to it."""


class Thread(NamedTuple):
    """Memory of a thread: all that distinguishes a kernel of the stiff partner from others.

    Attributes
    ----------
    m : named tuple
        Plan of a system that is registered.
    size, room : int
        Doubles that a thread needs; as many, if they are not local, or 0.
    parts : tuple of str
        The group's memory, `implicit.Scratch` and the system's memory for Jacobians as expressions
        in `space`, the thread's doubles.
    kinds : tuple of type
        Named tuples in these expressions.
    tables : tuple of tuples
        Shapes, and entries, of the whole numbers in them.
    """

    m: Any
    size: int
    room: int
    parts: tuple[str, str, str]
    kinds: tuple[type, ...]
    tables: tuple[Any, ...]


class _Layout:
    """Where everything is in a thread's doubles."""

    def __init__(self) -> None:
        self.size = 0
        self.kinds: list[type] = []
        self.tables: list[Any] = []

    def block(self, *shapes: tuple[int, ...]) -> list[str]:
        """Expressions of one new block in several shapes."""
        first, self.size = self.size, self.size + int(np.prod(shapes[0]))
        return [f"shaped(space, {first}, {shape!r})" for shape in shapes]

    def copy(self, value: Any) -> str:
        """Expression of a thread's own copy: zeros for doubles, whole numbers as they are."""
        if isinstance(value, tuple):
            if type(value) not in self.kinds:
                self.kinds.append(type(value))
            entries = ", ".join(map(self.copy, value))
            return f"kind{self.kinds.index(type(value))}({entries})"
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return self.block(value.shape)[0]
        if isinstance(value, np.ndarray):
            self.tables.append((value.shape, tuple(value.ravel().tolist())))
            return f"cuda.const.array_like(table{len(self.tables) - 1})"
        return repr(None if value is None else int(value))

    def scratch(self, n: int, width: int) -> str:
        """Expression of the `Scratch` of one lane.

        With one lane the Jacobians of all are that of one; and the spectrum is done with before W
        is written.
        """
        self.kinds.append(Scratch)
        J, dense = self.block((n * n,), (n, n))
        A, H = self.block((n * n,), (n, n))
        own = {"J": J, "dense": dense, "A": A, "H": H}
        sizes = {"B": n * n, "f_t": n, "looked": n, "cap": 1, "stretch": 1, "y": n, "p": 3}
        for name, size in (sizes | {"row": width}).items():
            own[name] = self.block((size,))[0]
        return f"kind0({', '.join(own[name] for name in Scratch._fields)})"


def lay_out(m: Any, width: int, work: Any) -> Thread:
    """Lay out a thread's memory.

    Parameters
    ----------
    m : named tuple
        Plan of a system that is registered.
    width : int
        Constants of a trajectory.
    work : array or named tuple
        What the system's Jacobians are computed in, on the host.
    """
    layout = _Layout()
    memory, scratch = layout.block((m.size,))[0], layout.scratch(m.n, width)
    parts = (memory, scratch, layout.copy(static_work(m, work)))
    room = layout.size if layout.size > LARGEST_LOCAL else 0
    return Thread(m, layout.size, room, parts, tuple(layout.kinds), tuple(layout.tables))


@cache
def implicit_kernel(thread: Thread) -> Any:
    """Kernel of the stiff partner for batches of one plan.

    Returns
    -------
    numba.cuda kernel
        Takes ``(b, method, limits, todo, quota)`` as `cuda.explicit_kernel` does, and, where
        `Thread.room` is not 0, an array (threads, room).
    """
    return cached(cuda.jit(body(thread)), thread.m, thread[1:])


SOURCE = """
def advance(b, method, limits, todo, quota{more}):
    space = {space}
    whole = cuda.local.array(({counters}, 1), int64)
    queue = cuda.local.array(3, int64)
    for i in range({size}):
        space[i] = 0.0
    for i in range({counters}):
        whole[i, 0] = 0
    whole[{index}, 0] = -1
    queue[0] = cuda.grid(1)
    queue[1] = cuda.gridsize(1)
    queue[2] = todo.shape[0]
    memory = {memory}
    bounds = Limits({limits})
    advance_implicit(
        memory, whole, m, b, method, bounds, queue, todo, quota, {scratch}, {work}
    )
    if whole[{index}, 0] >= 0:
        leave(memory, whole, m, b, 0, {running})
"""


def body(thread: Thread) -> Any:
    """The kernel as a Python function: written out, since the shapes are its constants."""
    space, more = f"cuda.local.array({thread.size}, float64)", ""
    if thread.room:
        space, more = "room[cuda.grid(1)]", ", room"
    memory, scratch, work = thread.parts
    # None are sought that are at rest: said here, the code that would be for it is left out.
    own = ("0.0" if name == "steady" else f"limits.{name}" for name in Limits._fields)
    limits = ", ".join(own)
    source = SOURCE.format(
        space=space, more=more, size=thread.size, counters=COUNTERS, index=INDEX, running=RUNNING,
        memory=memory, scratch=scratch, work=work, limits=limits,
    )  # fmt: skip
    names: dict[str, Any] = {
        "__name__": __name__, "cuda": cuda, "float64": float64, "int64": int64,
        "advance_implicit": advance_implicit, "leave": leave, "shaped": shaped, "Limits": Limits,
        "m": static(thread.m),
    }  # fmt: skip
    names |= {f"kind{i}": kind for i, kind in enumerate(thread.kinds)}
    names |= {f"table{i}": _table(*given) for i, given in enumerate(thread.tables)}
    exec(source, names)
    return names["advance"]


def _table(shape: tuple[int, ...], entries: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(entries, dtype=np.int64).reshape(shape)
