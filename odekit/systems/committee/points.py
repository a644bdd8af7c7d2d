"""What the kernels take of a committee, and what is read back of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.compiling import ahead
from odekit.integrate.packing import Reading, begun, driven
from odekit.problem.points import one_of, rows_of
from odekit.problem.schedule import Schedule
from odekit.systems.committee.committeestate import CommitteeState, Frame
from odekit.systems.committee.drives import besides_rates, drives
from odekit.systems.committee.equations import CommitteePhase, Now, QuadraturePhase
from odekit.systems.committee.errors import (
    closed_call,
    closed_errors,
    closed_reading,
    errors_by_law,
    quadrature_errors,
    reading_by_law,
)
from odekit.systems.committee.misclassified import classified, of_rows
from odekit.systems.committee.seen import (
    Views,
    noise_in,
    seen_in,
    sharpness,
    views_of,
)
from odekit.systems.committee.zero import norm_limits
from odekit.systems.committee.zero_batch import UnitsOfBatch, can_vanish
from odekit_kernels.committee import memory
from odekit_kernels.committee.equations import decode, decode_with_groups
from odekit_kernels.committee.memory import CommitteePlan, First, Wiring, make_plan
from odekit_kernels.committee.work import make_work
from odekit_kernels.integrators.batch import Batch
from odekit_kernels.lanes.memory import firsts, places_of

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit_kernels.committee.one import Committee

# Asked for several times a phase; it took a fifth of what leads to one.
constants = lru_cache(maxsize=64)(memory.constants)


class CommitteePoints(CommitteeState):
    """Packing of every point of a sweep for the kernels; see `CommitteeState`."""

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
        self._say_what_follows()
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
        self._say_what_follows()
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
        which = self.numbers(rows, points)
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

    def reading(self) -> Reading | None:
        """What gives the errors of rows where they are; None where moments need quadrature."""
        if self.moments is not None:
            return None
        if self.G:
            return reading_by_law(*self._asked(), self.seen, self.seen.law)
        return closed_reading(*self._asked())

    def _asked(self) -> tuple[int, int, Floats, Floats, Any, int]:
        """Of errors of all tasks: activation, numbers of a row, T, readouts, heads and units."""
        triangle, H = len(self.upper[0]), len(self.heads)
        n = max(self.G, 1) * (triangle + self.K * self.P) + H * self.K
        return self.code, n, self.overlaps("T"), self.u, self.head_index, self.K

    def _say_what_follows(self) -> None:
        """After the steps come errors of the rows."""
        if self.moments is None and not self.G:
            ahead(lambda: closed_call(*self._asked()))

    def arrays(self, rows: Floats, points: Any = None) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n_visible); errors are asked for apart.

        `points` tells which points the rows are of, if not all.
        """
        Q, R, v = self.unpack(rows)
        found: dict[str, Any] = {"Q": Q, "R": R, "readout": v}
        if self.G:
            found |= {"Q": self.seen.total(Q, points), "R": self.seen.total(R, points)}
        if self.problem.groups is not None:
            found |= {"Q_group": Q, "R_group": R}
        if classified(self.problem):
            Q, R = (Q, R) if self.G else (Q[:, :, np.newaxis], R[:, :, np.newaxis])
            found["misclassification"] = of_rows(self.problem, self, Q, R, v, 0.0, points)
        if self.moments is not None:
            T = self.overlaps("T").reshape(-1, max(self.G, 1) * self.P, self.P)
            law = self.seen.law
            report = [
                self.moments.report(y, T[i % len(T)], self.K, self.seen.inputs(law, i))
                for i, y in zip(self.numbers(rows, points), rows, strict=True)
            ]
            found |= {name: np.array([one[name] for one in report]) for name in report[0]}
        return found


def widened(u: Floats, copies: int) -> Floats:
    """Readouts over the original fixed vectors, with zeros for the copies."""
    wide = np.pad(u, ((0, 0), (0, 0), (0, copies))) if copies else u
    return np.ascontiguousarray(wide)
