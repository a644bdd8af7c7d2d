"""How a committee's blocks pack into the flat vectors of the kernels, and back.

The vector of one phase is Q's upper triangle row by row, R row by row over *all* fixed vectors
(copies made by consolidation after the original ones), then the heads row by row. Every array has
the points of the sweep as its first axis, or one entry there where all points share it; a single
run is a sweep of one point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.packing import rates_of
from odekit.problem.points import Points, one_of, rows_of, side_by_side
from odekit.systems.committee.activations import quadrature_of
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.equations import CommitteePhase, QuadraturePhase
from odekit.systems.committee.errors import closed_errors, code_of, quadrature_errors, unit_moments
from odekit.systems.committee.quadrature import Moments
from odekit.systems.committee.zero import norm_limits
from odekit.systems.committee.zero_batch import UnitsOfBatch, can_vanish
from odekit_kernels.committee.equations import decode
from odekit_kernels.committee.memory import CommitteePlan, First, Wiring, constants, make_plan
from odekit_kernels.committee.work import make_work
from odekit_kernels.integrators.batch import Batch
from odekit_kernels.lanes.memory import firsts, places_of

if TYPE_CHECKING:
    from odekit.problem.axes import Axis
    from odekit.problem.phase import Phase
    from odekit.systems.committee.problem import Problem
    from odekit_kernels.committee.one import Committee


@dataclass(frozen=True)
class Frame:
    """What is constant in a phase but may change at a switch, for each point or for all.

    Attributes
    ----------
    T : ndarray, shape (points or 1, P, P)
        Overlaps of the fixed vectors, copies included.
    F, F_v, v_anchor : ndarray, shape (points or 1, c, K)
        λ F_k of each consolidation in force; its readout penalties and the values these hold.
    anchor : ndarray of int64, shape (c, K)
        Fixed vectors that are the copies.
    v_head : ndarray of int64, shape (c,)
        The head that each readout penalty holds.
    """

    T: Floats
    F: Floats
    F_v: Floats
    v_anchor: Floats
    anchor: np.ndarray[Any, np.dtype[np.int64]]
    v_head: np.ndarray[Any, np.dtype[np.int64]]


class CommitteePoints(Points):
    """Packing of the order parameters of every point of a sweep.

    Parameters
    ----------
    problem : Problem
    found : mapping
        Its sweep dims, from `odekit.problem.axes.axes`; may be empty.
    derivatives : bool
        Whether they will be asked for, and not the errors alone: those of the η² term take moments
        of four fields.
    """

    def __init__(
        self, problem: Problem, found: Mapping[str, Axis], *, derivatives: bool = True
    ) -> None:
        super().__init__(problem, found)
        self.problem, self.heads = problem, list(problem.heads)
        self.K, self.P = problem.state.student, problem.state.teacher
        self.upper = np.triu_indices(self.K)
        own = quadrature_of(problem)
        diffusion = derivatives and not all(phase.gradient_flow for phase in problem.phases)
        self.moments = None if own is None else Moments(own, diffusion=diffusion)
        self.code = code_of(problem.activation, closed=own is None)
        self.u = self.stack([problem.tasks[name].readout for name in self.tasks], 1)
        self.head_index = np.array(
            [self.heads.index(problem.head_of(name)) for name in self.tasks], dtype=np.int64
        )

    # ---------------------------------------------------------------------------------- the state

    def start(self) -> tuple[Frame, Floats]:
        """Frame and states (points, n) at time 0, before the first phase."""
        state, empty = self.problem.state, np.zeros((1, 0, self.K))
        frame = Frame(
            T=self.values(state.T, 2),
            F=empty,
            F_v=empty,
            v_anchor=empty,
            anchor=np.zeros((0, self.K), dtype=np.int64),
            v_head=np.zeros(0, dtype=np.int64),
        )
        v = self.stack([self.problem.heads[name] for name in self.heads], 1)
        return frame, self.pack(self.values(state.Q, 2), self.values(state.R, 2), v)

    def pack(self, Q: Floats, R: Floats, v: Floats) -> Floats:
        """States (points, n) of blocks with leading axes of `points` or 1."""
        flat = side_by_side([Q[:, self.upper[0], self.upper[1]], R, v])
        return np.array(np.broadcast_to(flat, (self.size, flat.shape[1])))

    def unpack(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Blocks Q, R and v of states, shape (..., n); the leading axes stay."""
        triangle, lead, K = len(self.upper[0]), y.shape[:-1], self.K
        end = y.shape[-1] - len(self.heads) * K
        Q = np.empty((*lead, K, K))
        Q[..., self.upper[0], self.upper[1]] = y[..., :triangle]
        Q[..., self.upper[1], self.upper[0]] = y[..., :triangle]
        R, v = y[..., triangle:end].reshape(*lead, K, (end - triangle) // K), y[..., end:]
        return Q, R, v.reshape(*lead, len(self.heads), K)

    def shown(self, frame: Frame) -> Any:
        """Which entries of a state the dataset shows: not overlaps with copies."""
        K, P, triangle = self.K, frame.T.shape[1], len(self.upper[0])
        R = triangle + (np.arange(K)[:, np.newaxis] * P + np.arange(self.P)).ravel()
        v = triangle + K * P + np.arange(len(self.heads) * K)
        return np.concatenate([np.arange(triangle), R, v])

    def enter(self, index: int, frame: Frame, y: Floats) -> tuple[Frame, Floats]:
        """Frame and states as a phase begins: copies of heads and of units are made."""
        phase = self.problem.phases[index]
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
        head = self.head_index[self.tasks.index(protected_task(self.problem, index))]
        T = np.broadcast_to(frame.T, (self.size, *frame.T.shape[1:]))
        whole = np.ascontiguousarray(np.block([[T, R.swapaxes(1, 2)], [R, Q]]))
        I2, J2 = unit_moments(Q, self.code, self.moments, np.block([[Q, R], [R.swapaxes(1, 2), T]]))
        importance = {
            "fisher": v[:, head] ** 2 * J2,
            "node": v[:, head] ** 2,
            "quadratic": np.ones_like(J2),
        }[consolidation.kind]
        strength = self.values(consolidation.strength)[:, np.newaxis]
        grown = replace(
            frame,
            T=whole,
            F=self._append(frame.F, strength * importance),
            F_v=self._append(frame.F_v, strength * I2),
            v_anchor=self._append(frame.v_anchor, v[:, head]),
            anchor=np.vstack([frame.anchor, T.shape[1] + np.arange(self.K)]),
            v_head=np.append(frame.v_head, head),
        )
        return grown, self.pack(Q, np.concatenate([R, Q], axis=2), v)

    def _append(self, before: Floats, row: Floats) -> Floats:
        whole = np.broadcast_to(before, (self.size, *before.shape[1:]))
        return np.ascontiguousarray(np.concatenate([whole, row[:, np.newaxis]], axis=1))

    # ---------------------------------------------------------------------------------- the phase

    def plan(self, phase: Phase, frame: Frame, stages: int = 0) -> CommitteePlan:
        """Memory of a group of trajectories in a phase."""
        return make_plan(
            self.K,
            frame.T.shape[1],
            len(self.heads),
            len(phase.mixture),
            len(frame.anchor),
            len(phase.thresholds),
            self.code,
            not phase.gradient_flow,
            stages,
        )

    @staticmethod
    def cost(plan: CommitteePlan) -> int:
        """Moments I4 that a right-hand side takes."""
        return plan.K * (plan.K + 1) * plan.D * (plan.D + 1) // 4

    @staticmethod
    def work(plan: CommitteePlan) -> Any:
        """Scratch memory of one trajectory."""
        return make_work(plan.K, plan.P, plan.H, max(plan.S, plan.W))

    def batch(self, index: int, frame: Frame, plan: CommitteePlan, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        phase = self.problem.phases[index]
        return Batch(
            **state,
            constants=self.constants(phase, frame, plan),
            places=places_of(constants(plan)),
            shown=self.shown(frame),
            stops=self.stops(phase),
            rate_w=rates_of(phase.learning_rate),
            rate_v=rates_of(phase.readout_learning_rate),
            wiring=self.wiring(phase, frame, plan),
        )

    def wiring(self, phase: Phase, frame: Frame, plan: CommitteePlan) -> Wiring:
        """What all trajectories of a phase share."""
        places = [self.tasks.index(name) for name in phase.mixture]
        move = np.ones(self.K) if phase.frozen is None else 1.0 - np.array(phase.frozen, float)
        return Wiring(
            head=self.head_index[places],
            move=move,
            anchor=frame.anchor,
            v_head=frame.v_head,
            watched_head=self.head_index[self.watched(phase)],
            first=First(**firsts(constants(plan))),
        )

    def constants(self, phase: Phase, frame: Frame, plan: CommitteePlan) -> Floats:
        """What is constant in a phase, a row for each point or one for all."""
        names = list(phase.mixture)
        places = [self.tasks.index(name) for name in names]
        copies = frame.T.shape[1] - self.P
        p = self.stack([phase.mixture[name] for name in names], 0)
        given = {
            "T": frame.T,
            "u": widened(self.u[:, places], copies),
            # Given to nine digits they sum to one only roughly.
            "p": p / p.sum(axis=1, keepdims=True),
            "sigma": self.stack([self.problem.tasks[name].noise_std for name in names], 0),
            "inverse_batch": 1.0 / self.values(phase.batch_size),
            "kappa_w": self.values(phase.weight_decay),
            "kappa_v": self.values(phase.readout_weight_decay),
            "eta_w": self.rate(phase.learning_rate),
            "eta_v": self.rate(phase.readout_learning_rate),
            "F": frame.F,
            "F_v": frame.F_v,
            "v_anchor": frame.v_anchor,
            "watched": widened(self.u[:, self.watched(phase)], copies),
            "level": self.levels(phase),
        }
        return rows_of(constants(plan), given)

    def committee(self, phase: Phase, frame: Frame, point: int = 0) -> Committee:
        """One point in a phase, as the kernels of a single trajectory take it."""
        plan = self.plan(phase, frame)
        rows = self.constants(phase, frame, plan)
        found: Committee = decode(
            plan, self.wiring(phase, frame, plan), rows[point if len(rows) > 1 else 0]
        )
        return found

    def equations(self, index: int, frame: Frame, begin: float) -> CommitteePhase:
        """The equations of a phase of the first point, as functions of time and state."""
        kind = CommitteePhase if self.moments is None else QuadraturePhase
        return kind(self, self.problem.phases[index], frame, begin)

    def each(self, index: int, frame: Frame, begin: float) -> Iterator[CommitteePhase]:
        """The equations of a phase at every point."""
        phase, first = self.problem.phases[index], self.equations(index, frame, begin)
        plan = self.plan(phase, frame)
        wiring, rows = self.wiring(phase, frame, plan), self.constants(phase, frame, plan)
        for i, rates in enumerate(self.each_rate(phase.rates)):
            yield first.at_point(decode(plan, wiring, one_of(rows, i)), rates)

    def corner_limits(self, plan: CommitteePlan, moves: bool, atol: float) -> tuple[float, float]:
        """Squared norm of units below which they may be about to vanish, and its tolerance."""
        atol_norm, small = norm_limits(atol)
        return (small if can_vanish(plan, moves) else 0.0), atol_norm

    def corners(self, plan: CommitteePlan, batch: Batch, atol: float, rtol: float) -> UnitsOfBatch:
        """What settles units at zero, between steps."""
        return UnitsOfBatch(plan, batch, self.work(plan), atol, rtol)

    # --------------------------------------------------------------------------------- the result

    def errors(
        self,
        rows: Floats,
        tasks: Any = None,
        frame: Frame | None = None,
        points: Any = None,
    ) -> Floats:
        """Generalization errors (points, ..., tasks) of states (points, ..., n).

        With a frame the states have its fixed vectors, else the original ones. `points` tells which
        points the states are of, if not all.
        """
        which = np.arange(len(rows)) if points is None else points
        chosen = np.arange(len(self.tasks)) if tasks is None else tasks
        T = self.values(self.problem.state.T, 2) if frame is None else frame.T
        u = widened(self.u[:, chosen], T.shape[1] - self.P)
        flat = np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]))
        which = np.repeat(which, len(flat) // max(len(rows), 1))
        asked = (flat, T, u, self.head_index[chosen], self.K, which)
        if self.moments is None:
            found = closed_errors(self.code, *asked)
        else:
            found = quadrature_errors(self.moments, *asked)
        return found.reshape(*rows.shape[:-1], len(chosen))

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n_visible); errors are asked for apart."""
        Q, R, v = self.unpack(rows)
        found: dict[str, Any] = {"Q": Q, "R": R, "readout": v}
        if self.moments is not None:
            T = self.values(self.problem.state.T, 2)
            report = [self.moments.report(y, T[i % len(T)], self.K) for i, y in enumerate(rows)]
            found |= {name: np.array([one[name] for one in report]) for name in report[0]}
        return found


def widened(u: Floats, copies: int) -> Floats:
    """Readouts over the original fixed vectors, with zeros for the copies."""
    return np.ascontiguousarray(np.pad(u, ((0, 0), (0, 0), (0, copies))))
