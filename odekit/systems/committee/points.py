"""How a committee's blocks pack into the flat vectors of the kernels, and back.

The vector of one phase is Q's upper triangle row by row, R row by row over *all* fixed vectors
(copies made by consolidation after the original ones), for each group of inputs in turn, then the
heads row by row. Every array has the points of the sweep as its first axis, or one entry there
where all points share it; a single run is a sweep of one point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.packing import begun, driven
from odekit.problem.points import Points, one_of, rows_of, side_by_side
from odekit.problem.schedule import Schedule
from odekit.systems.committee.activations import quadrature_of
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.drives import besides_rates, drives
from odekit.systems.committee.equations import CommitteePhase, Now, QuadraturePhase
from odekit.systems.committee.errors import (
    closed_errors,
    code_of,
    errors_by_law,
    quadrature_errors,
    unit_moments,
)
from odekit.systems.committee.misclassified import classified, of_rows
from odekit.systems.committee.quadrature import Moments
from odekit.systems.committee.seen import (
    Seen,
    Views,
    noise_in,
    seen_in,
    seen_of,
    sharpness,
    views_of,
)
from odekit.systems.committee.structure import refuse_general
from odekit.systems.committee.zero import norm_limits
from odekit.systems.committee.zero_batch import UnitsOfBatch, can_vanish
from odekit_kernels.committee.equations import decode, decode_with_groups
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
        Q = np.empty((*blocks, K, K))
        Q[..., self.upper[0], self.upper[1]] = both[..., :triangle]
        Q[..., self.upper[1], self.upper[0]] = both[..., :triangle]
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
        frame = replace(frame, held=None)
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

    # ---------------------------------------------------------------------------------- the phase

    def plan(self, phase: Phase, frame: Frame, stages: int = 0) -> CommitteePlan:
        """Memory of a group of trajectories in a phase."""
        return make_plan(
            self.K,
            frame.T.shape[-1],
            len(self.heads),
            len(phase.mixture),
            len(frame.anchor),
            len(phase.thresholds),
            self.code,
            not phase.gradient_flow,
            stages,
            seen_in(self, phase).size if self.G else (0, 0),
        )

    @staticmethod
    def cost(plan: CommitteePlan) -> int:
        """Moments I4 that a right-hand side takes."""
        return plan.K * (plan.K + 1) * plan.D * (plan.D + 1) // 4

    @staticmethod
    def work(plan: CommitteePlan) -> Any:
        """Scratch memory of one trajectory."""
        return make_work(plan.K, plan.P, plan.H, max(plan.S, plan.W), plan.G)

    def batch(self, index: int, frame: Frame, plan: CommitteePlan, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        phase = self.problem.phases[index]
        return Batch(
            **state,
            constants=self.constants(phase, frame, plan),
            places=places_of(constants(plan)),
            shown=self.shown(frame),
            stops=self.stops(phase),
            wiring=self.wiring(phase, frame, plan),
            driven=driven(drives(self, phase, frame, constants(plan))),
        )

    def wiring(self, phase: Phase, frame: Frame, plan: CommitteePlan) -> Wiring:
        """What all trajectories of a phase share."""
        places = [self.tasks.index(name) for name in phase.mixture]
        move = np.ones(self.K) if phase.frozen is None else 1.0 - np.array(phase.frozen, float)
        watched, own = self.watched(phase), seen_in(self, phase).law
        return Wiring(
            head=self.head_index[places],
            move=move,
            anchor=frame.anchor,
            v_head=frame.v_head,
            watched_head=self.head_index[watched],
            first=First(**firsts(constants(plan))),
            law=own[places],
            watched_law=self.seen.law[watched],
        )

    def constants(self, phase: Phase, frame: Frame, plan: CommitteePlan) -> Floats:
        """What is constant in a phase, a row for each point or one for all, as it begins."""
        moving = drives(self, phase, frame, constants(plan))
        return begun(self._constants(phase, frame, plan), moving)

    def _constants(self, phase: Phase, frame: Frame, plan: CommitteePlan) -> Floats:
        """The same with any number in place of what follows a schedule."""
        names, seen = list(phase.mixture), seen_in(self, phase)
        places = [self.tasks.index(name) for name in names]
        copies = frame.T.shape[-1] - self.P
        p = self.stack([self.first(share) for share in phase.mixture.values()], 0)
        moves = any(isinstance(share, Schedule) for share in phase.mixture.values())
        sigma = [self.first(self.noise_std(phase, name)) for name in names]
        given = {
            "T": frame.T,
            "u": widened(self.u[:, places], copies),
            # Given to nine digits they sum to one only roughly.
            "p": p if moves else p / p.sum(axis=1, keepdims=True),
            "sigma": self.stack(sigma, 0),
            "inverse_batch": 1.0 / self.values(phase.batch_size),
            "kappa_w": self.values(self.first(phase.weight_decay)),
            "kappa_v": self.values(self.first(phase.readout_weight_decay)),
            "eta_w": self.rate(phase.common_rates[0]),
            "eta_v": self.rate(phase.common_rates[1]),
            "F": frame.F,
            "F_v": frame.F_v,
            "v_anchor": frame.v_anchor,
            "watched": widened(self.u[:, self.watched(phase)], copies),
            "level": self.levels(phase),
            "share": self.seen.share,
            "pace": self.pace(phase),
            **{name: getattr(seen, name) for name in ("ss", "st", "tt")},
        }
        return rows_of(constants(plan), given)

    def pace(self, phase: Phase) -> Floats:
        """Learning rate of every group over the largest, (points or 1, G)."""
        if not isinstance(phase.learning_rate, Mapping):
            return np.ones((1, self.G))
        given = [self.first(phase.learning_rate[g]) for g in self.problem.groups or ()]
        rates, most = self.stack(given, 0), self.values(phase.common_rates[0])[:, np.newaxis]
        return np.asarray(np.divide(rates, most, out=np.ones_like(rates), where=most > 0))

    @property
    def laws(self) -> int:
        """Laws of the inputs of the problem's tasks."""
        return self.seen.size[1]

    def noise_std(self, phase: Phase, task: str) -> Any:
        """Label noise of a task in a phase."""
        return noise_in(self.problem, phase, task)

    def views(self, task: str, group: str | None) -> Views:
        """Second moments of what is seen, as linear functions of the variance."""
        return views_of(self.problem, self, task, group, sharpness(self.problem))

    def committee(self, phase: Phase, frame: Frame, point: int = 0) -> Committee:
        """One point in a phase as it begins, as the kernels of a single trajectory take it."""
        plan = self.plan(phase, frame)
        rows = self.constants(phase, frame, plan)
        return self.decoded(phase, frame, plan)(one_of(rows, point))

    def decoded(
        self, phase: Phase, frame: Frame, plan: CommitteePlan
    ) -> Callable[[Floats], Committee]:
        """What makes a committee of a row of constants; but for single numbers it is a view."""
        return partial(
            decode_with_groups if self.G else decode, plan, self.wiring(phase, frame, plan)
        )

    def equations(self, index: int, frame: Frame, begin: float) -> CommitteePhase:
        """The equations of a phase of the first point, as functions of time and state."""
        kind = CommitteePhase if self.moments is None else QuadraturePhase
        return kind(self, self.problem.phases[index], frame, begin)

    def now(self, phase: Phase, frame: Frame) -> Now:
        """The constants of a phase of the first point, and what changes them."""
        plan = self.plan(phase, frame)
        places = constants(plan)
        moving = besides_rates(drives(self, phase, frame, places), places)
        return Now(self.decoded(phase, frame, plan), self.constants(phase, frame, plan)[0], moving)

    def each(self, index: int, frame: Frame, begin: float) -> Iterator[CommitteePhase]:
        """The equations of a phase at every point."""
        phase, first = self.problem.phases[index], self.equations(index, frame, begin)
        plan = self.plan(phase, frame)
        decode, rows = self.decoded(phase, frame, plan), self.constants(phase, frame, plan)
        places = constants(plan)
        moving = besides_rates(drives(self, phase, frame, places), places)
        for i, rates in enumerate(self.each_rate(phase.common_rates)):
            now = Now(decode, one_of(rows, i), moving, i)
            yield first.at_point(now.committee, rates, now)

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
        T = self.overlaps("T") if frame is None else frame.T
        u = widened(self.u[:, chosen], T.shape[-1] - self.P)
        flat = np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]))
        which = np.repeat(which, len(flat) // max(len(rows), 1))
        asked = (flat, T, u, self.head_index[chosen], self.K, which)
        law = self.seen.law[chosen]
        if self.moments is not None:
            found = quadrature_errors(self.moments, *asked, self.seen, law)
        elif self.G:
            found = errors_by_law(self.code, *asked, self.seen, law)
        else:
            found = closed_errors(self.code, *asked)
        return found.reshape(*rows.shape[:-1], len(chosen))

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n_visible); errors are asked for apart."""
        Q, R, v = self.unpack(rows)
        found: dict[str, Any] = {"Q": Q, "R": R, "readout": v}
        if self.G:
            found |= {"Q": self.seen.total(Q), "R": self.seen.total(R)}
        if self.problem.groups is not None:
            found |= {"Q_group": Q, "R_group": R}
        if classified(self.problem):
            Q, R = (Q, R) if self.G else (Q[:, :, np.newaxis], R[:, :, np.newaxis])
            found["misclassification"] = of_rows(self.problem, self, Q, R, v, 0.0)
        if self.moments is not None:
            T = self.overlaps("T").reshape(-1, max(self.G, 1) * self.P, self.P)
            law = self.seen.law
            report = [
                self.moments.report(y, T[i % len(T)], self.K, self.seen.inputs(law, i))
                for i, y in enumerate(rows)
            ]
            found |= {name: np.array([one[name] for one in report]) for name in report[0]}
        return found


def widened(u: Floats, copies: int) -> Floats:
    """Readouts over the original fixed vectors, with zeros for the copies."""
    return np.ascontiguousarray(np.pad(u, ((0, 0), (0, 0), (0, copies))))
