"""How a committee's blocks pack into the flat vectors of the kernels, and back.

The vector of one phase is Q's upper triangle row by row, R row by row over *all* fixed vectors
(copies made by consolidation after the original ones), for each group of inputs in turn, then the
heads row by row. Every array has the points of the sweep as its first axis, or one entry there
where all points share it; a single run is a sweep of one point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.points import Points, side_by_side
from odekit.problem.schedule import Schedule
from odekit.systems.committee.activations import quadrature_of
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.errors import (
    code_of,
    unit_moments,
)
from odekit.systems.committee.quadrature import Moments
from odekit.systems.committee.seen import (
    Seen,
    seen_of,
)
from odekit.systems.committee.structure import refuse_general

if TYPE_CHECKING:
    from odekit.problem.axes import Axis
    from odekit.systems.committee.problem import Problem


@dataclass(frozen=True)
class Frame:
    """What is constant in a phase but may change at a switch, for each point or for all.

    Attributes
    ----------
    T : ndarray, shape (points or 1, P, P)
        Overlaps of the fixed vectors, copies included; (points or 1, G, P, P) with groups.
    F, F_v, v_anchor : ndarray, shape (points or 1, c, K)
        λ F_k of each consolidation in force, (points or 1, c, G, K) with groups of inputs; its
        readout penalties and the values these hold.
    anchor : ndarray of int64, shape (c, K)
        Fixed vectors that are the copies.
    v_head : ndarray of int64, shape (c,)
        The head that each readout penalty holds.
    held : tuple, optional
        Of the consolidation that the phase began with: its strength, and F and F_v at strength 1.
        Where it changes within the phase, those above are at its last value.
    """

    T: Floats
    F: Floats
    F_v: Floats
    v_anchor: Floats
    anchor: np.ndarray[Any, np.dtype[np.int64]]
    v_head: np.ndarray[Any, np.dtype[np.int64]]
    held: tuple[Any, Floats, Floats] | None = None

    def begun(self) -> Self:
        """That of a phase that follows, before it makes its copies."""
        return self if self.held is None else replace(self, held=None)


class CommitteeState(Points):
    """States of every point of a sweep, and what switches do to them.

    Parameters
    ----------
    problem : Problem
    found : mapping
        Its sweep dims, from `odekit.problem.axes.axes`; may be empty.
    derivatives : bool
        Whether they will be asked for, and not the errors alone: those of the η² term take moments
        of four fields.
    """

    O = 1

    def __init__(
        self, problem: Problem, found: Mapping[str, Axis], *, derivatives: bool = True
    ) -> None:
        super().__init__(problem, found)
        refuse_general(problem, "what is computed of it")
        self.problem, self.heads = problem, list(problem.heads)
        self.K, self.P = problem.state.student, problem.state.teacher
        self.see(seen_of(problem, self))
        self.upper = np.triu_indices(self.K)
        self.square = square(self.K)
        own = quadrature_of(problem)
        diffusion = derivatives and not all(phase.gradient_flow for phase in problem.phases)
        self.moments = None if own is None else Moments(own, diffusion=diffusion)
        self.code = code_of(problem.activation, closed=own is None)
        self.u = self.stack([problem.tasks[name].readout for name in self.tasks], 1)
        self.head_index = np.array(
            [self.heads.index(problem.head_of(name)) for name in self.tasks], dtype=np.int64
        )

    def see(self, seen: Seen) -> None:
        """Take inputs apart into these groups and laws."""
        self.seen, self.G = seen, seen.size[0]

    # ---------------------------------------------------------------------------------- the state

    def start(self) -> tuple[Frame, Floats]:
        """Frame and states (points, n) at time 0, before the first phase."""
        empty = np.zeros((1, 0, self.K))
        frame = Frame(
            T=self.overlaps("T"),
            F=np.zeros((1, 0, self.G, self.K)) if self.G else empty,
            F_v=empty,
            v_anchor=empty,
            anchor=np.zeros((0, self.K), dtype=np.int64),
            v_head=np.zeros(0, dtype=np.int64),
        )
        v = self.stack([self.problem.heads[name] for name in self.heads], 1)
        return frame, self.pack(self.overlaps("Q"), self.overlaps("R"), v)

    def overlaps(self, name: str) -> Floats:
        """Q, R or T at time 0, (points or 1, ...), with an axis of groups if there are any."""
        grouped = self.problem.groups is not None
        found = self.values(getattr(self.problem.state, name), 2 + grouped)
        return found[:, np.newaxis] if self.G and not grouped else found

    def pack(self, Q: Floats, R: Floats, v: Floats) -> Floats:
        """States (points, n) of blocks with leading axes of `points` or 1."""
        size = max(len(Q), len(R))
        triangle = Q[..., self.upper[0], self.upper[1]]
        R = R.reshape(*R.shape[:-2], -1)
        parts = [np.broadcast_to(x, (size, *x.shape[1:])) for x in (triangle, R)]
        flat = side_by_side([np.concatenate(parts, axis=-1), v])
        return np.array(np.broadcast_to(flat, (self.size, flat.shape[1])))

    def unpack(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Blocks Q, R and v of states, shape (..., n); the leading axes stay.

        With groups of inputs Q and R have an axis of them after the leading ones.
        """
        triangle, lead, K = len(self.upper[0]), y.shape[:-1], self.K
        end = y.shape[-1] - len(self.heads) * K
        blocks = (*lead, self.G) if self.G else lead
        size = end // max(self.G, 1)
        both = y[..., :end].reshape(*blocks, size)
        # Q comes first: of whole states, that lie side by side, it is taken without a copy of them.
        Q = np.take(both if self.G else y, self.square, axis=-1, mode="clip")
        R = both[..., triangle:].reshape(*blocks, K, (size - triangle) // K)
        v = y[..., end:]
        return Q, R, v.reshape(*lead, len(self.heads), K)

    def shown(self, frame: Frame) -> Any:
        """Which entries of a state the dataset shows: not overlaps with copies."""
        K, P, triangle, groups = self.K, frame.T.shape[-1], len(self.upper[0]), max(self.G, 1)
        R = triangle + (np.arange(K)[:, np.newaxis] * P + np.arange(self.P)).ravel()
        block, size = np.concatenate([np.arange(triangle), R]), triangle + K * P
        v = groups * size + np.arange(len(self.heads) * K)
        blocks = np.arange(groups)[:, np.newaxis] * size + block
        return np.concatenate([blocks.ravel(), v])

    def enter(self, index: int, frame: Frame, y: Floats) -> tuple[Frame, Floats]:
        """Frame and states as a phase begins: copies of heads and of units are made."""
        phase = self.problem.phases[index]
        frame = frame.begun()
        if phase.consolidation is not None:
            frame, y = self._consolidate(index, frame, y)
        if phase.copy_heads:
            Q, R, v = self.unpack(y)
            changed = v.copy()
            for target, source in phase.copy_heads.items():
                changed[:, self.heads.index(target)] = v[:, self.heads.index(source)]
            y = self.pack(Q, R, changed)
        return frame, y

    def _consolidate(self, index: int, frame: Frame, y: Floats) -> tuple[Frame, Floats]:
        """Freeze copies a_k of all units: T gains Q* and R*, R gains Q* (theory section 2)."""
        consolidation = self.problem.phases[index].consolidation
        assert consolidation is not None
        Q, R, v = self.unpack(y)
        task = self.tasks.index(protected_task(self.problem, index))
        head = self.head_index[task]
        T = np.broadcast_to(frame.T, (self.size, *frame.T.shape[1:]))
        Rt = R.swapaxes(-1, -2)
        whole = np.ascontiguousarray(np.block([[T, Rt], [R, Q]]))
        C = self._under_law(np.block([[Q, R], [Rt, T]]), int(self.seen.law[task]))
        I2, J2 = unit_moments(C[:, : self.K, : self.K], self.code, self.moments, C)
        importance = {
            "fisher": v[:, head] ** 2 * J2,
            "node": v[:, head] ** 2,
            "quadratic": np.ones_like(J2),
        }[consolidation.kind]
        if self.G:
            # The Fisher information of a weight is that of the inputs that it sees.
            ss = self.seen.ss[:, self.seen.law[task], :, np.newaxis]
            ss = ss if consolidation.kind == "fisher" else np.ones_like(ss)
            importance = importance[:, np.newaxis] * ss
        given = consolidation.strength
        strength = self.values(given.values[-1] if isinstance(given, Schedule) else given)
        F = strength.reshape(len(strength), *(1,) * (importance.ndim - 1)) * importance
        grown = replace(
            frame,
            T=whole,
            F=self._append(frame.F, F),
            F_v=self._append(frame.F_v, strength[:, None] * I2),
            v_anchor=self._append(frame.v_anchor, v[:, head]),
            anchor=np.vstack([frame.anchor, T.shape[-1] + np.arange(self.K)]),
            v_head=np.append(frame.v_head, head),
            held=(given, importance, I2),
        )
        return grown, self.pack(Q, np.concatenate([R, Q], axis=-1), v)

    def _under_law(self, blocks: Floats, v: int) -> Floats:
        """The covariance (points, D, D) of overlaps (points, [G,] D, D) under a law."""
        if not self.G:
            return blocks
        teacher = np.arange(blocks.shape[-1]) >= self.K
        moments = [
            x[:, v, :, np.newaxis, np.newaxis] for x in (self.seen.ss, self.seen.st, self.seen.tt)
        ]
        both = np.add.outer(teacher.astype(int), teacher.astype(int))
        return self.seen.total(np.choose(both, moments) * blocks)

    def _append(self, before: Floats, row: Floats) -> Floats:
        whole = np.broadcast_to(before, (self.size, *before.shape[1:]))
        return np.ascontiguousarray(np.concatenate([whole, row[:, np.newaxis]], axis=1))


def square(K: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Which entry of Q's upper triangle, row by row, each entry of Q is."""
    rows, columns = np.triu_indices(K)
    found = np.zeros((K, K), dtype=np.int64)
    found[rows, columns] = found[columns, rows] = np.arange(len(rows))
    return found
