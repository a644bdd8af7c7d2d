"""The points of a sweep, one of which is a single run, and how their numbers become arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import is_labelled
from odekit.problem.axes import at
from odekit.problem.axes import points as grid_of
from odekit.problem.schedule import Schedule

if TYPE_CHECKING:
    from odekit.base.arrays import Floats
    from odekit.problem.axes import Axis
    from odekit.problem.base import AnyProblem
    from odekit.problem.phase import Phase
    from odekit.problem.system import Equations


class Points:
    """The points of a sweep: values that may be labelled become arrays with these in front.

    Parameters
    ----------
    problem : AnyProblem
    found : mapping
        Its sweep dims, from `odekit.problem.axes.axes`; none of them makes one point.
    """

    def __init__(self, problem: AnyProblem, found: Mapping[str, Axis]) -> None:
        self.problem: Any = problem
        self.axes = found
        self.dims, self.tasks = list(found), list(problem.tasks)
        self.shape = tuple(size for size, _ in found.values())
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def values(self, value: Any, core: int = 0) -> Floats:
        """A value that may be labelled, as (points or 1, *core)."""
        if type(value) is float:  # most are, of many phases
            return np.array([value])
        if not is_labelled(value):
            return np.ascontiguousarray(np.asarray(value, dtype=np.float64)[np.newaxis])
        lead = [str(d) for d in value.dims[: value.ndim - core]]
        if not lead:
            return np.ascontiguousarray(np.asarray(value.values, dtype=np.float64)[np.newaxis])
        order = [d for d in self.dims if d in lead]
        numbers = value.transpose(*order, *value.dims[len(lead) :]).values
        tail = numbers.shape[len(lead) :]
        full = numbers.reshape(
            *(numbers.shape[order.index(d)] if d in lead else 1 for d in self.dims), *tail
        )
        return np.ascontiguousarray(
            np.broadcast_to(full, (*self.shape, *tail)).reshape(self.size, *tail), dtype=np.float64
        )

    def stack(self, values: Sequence[Any], core: int) -> Floats:
        """Several values as (points or 1, values, *core)."""
        parts = [self.values(value, core) for value in values]
        size = max((len(part) for part in parts), default=1)
        parts = [np.broadcast_to(part, (size, *part.shape[1:])) for part in parts]
        return np.ascontiguousarray(np.stack(parts, axis=1)) if parts else np.zeros((1, 0))

    def fold(self, array: Any) -> Any:
        """The first axis, the points, as the dims of the sweep."""
        return array.reshape((*self.shape, *array.shape[1:]))

    @staticmethod
    def numbers(rows: Any, points: Any) -> Any:
        """Which points rows are of: those that are told, or all."""
        return np.arange(len(rows)) if points is None else points

    def levels(self, phase: Phase) -> Floats:
        """Thresholds of a phase, (points or 1, watched)."""
        return self.stack(list(phase.thresholds.values()), 0)

    def watched(self, phase: Phase) -> Any:
        """Indices of the tasks whose errors end a phase."""
        return np.array([self.tasks.index(name) for name in phase.thresholds], dtype=np.int64)

    @staticmethod
    def first(value: Any) -> Any:
        """A number as a phase begins."""
        return value(0.0) if isinstance(value, Schedule) else value

    def rate(self, rate: Any) -> Floats:
        """A learning rate as a phase begins, (points or 1,)."""
        return self.values(self.first(rate))

    def each_rate(self, rates: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Learning rates at every point: schedules, or numbers."""
        every = [r if isinstance(r, Schedule) else self.values(r) for r in rates]
        for i in range(self.size):
            yield tuple(r if isinstance(r, Schedule) else float(one_of(r, i)) for r in every)

    def each(self, index: int, frame: Any, begin: float) -> Iterator[Equations]:
        """The equations of a phase at every point, of what does not depend on earlier states.

        Systems may have a quicker way than one problem for each point.
        """
        del frame
        for _, place in grid_of(self.axes):
            one = self.problem.system.points(at(self.problem, place), {})
            own, y = one.start()
            for before in range(index + 1):
                own, y = one.enter(before, own, y)
            yield one.equations(index, own, begin)

    def stops(self, phase: Phase) -> Floats:
        """Times since the phase began that steps land on: kinks of its schedules."""
        longest = float(np.max(np.asarray(phase.duration)))
        return np.array(sorted({b for table in phase.schedules for b in table.breaks(longest)}))

    def reading(self) -> Any:
        """What gives the errors of rows where they are, `integrate.packing.Reading`.

        None where `errors` alone can: it is then asked.
        """
        return None

    def patience(self, plan: Any) -> float:
        """How much more an implicit step must save than one of a small system."""
        del plan
        return 1.0

    def corner_limits(self, plan: Any, moves: bool, atol: float) -> tuple[float, float]:
        """Size below which entries of the state are looked at, and their absolute tolerance.

        Where derivatives jump at an entry's zero; a size of 0 says that none do.
        """
        del plan, moves
        return 0.0, atol


def one_of(rows: Any, point: int) -> Any:
    """The entry of a point in an array (points or 1, …)."""
    return rows[point if len(rows) > 1 else 0]


def of_some(rows: Any, points: Any) -> Any:
    """The entries of some points in an array (points or 1, …); those of all if None."""
    return rows if points is None or len(rows) == 1 else rows[points]


def rows_of(wanted: Mapping[str, Any], given: Mapping[str, Floats]) -> Floats:
    """Constants by name as one row for each point, or one for all, in the order of `wanted`.

    Parameters
    ----------
    wanted : mapping
        Arrays of the shapes that the constants of a point have, from the kernels.
    given : mapping
        Constants of the same names, (points or 1, *shape).
    """
    if wanted.keys() != given.keys():
        raise TypeError(f"constants {sorted(given)} where {sorted(wanted)} are wanted")
    blocks = []
    for name, places in wanted.items():
        block = given[name]
        if block[0].size != places.size:
            raise TypeError(f"{name} has shape {block.shape[1:]}, wanted is {places.shape}")
        blocks.append(block.reshape(len(block), -1))
    return side_by_side(blocks)


def side_by_side(blocks: Sequence[Floats]) -> Floats:
    """Blocks (points or 1, ...) flattened and joined: a row for each point, or one for all."""
    size = max(len(block) for block in blocks)
    flat = [block.reshape(len(block), -1) for block in blocks]
    if size == 1:
        return np.concatenate(flat, axis=1)
    whole = [np.broadcast_to(block, (size, block.shape[1])) for block in flat]
    return np.ascontiguousarray(np.concatenate(whole, axis=1))
