"""How structured problems pack into the kernels of the drive in full, and what is read back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import odekit_kernels.committee.general.equations  # noqa: F401 - the integrators' equations
from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.integrate.packing import Reading, begun, driven
from odekit.problem.normalization import RMSNorm
from odekit.problem.points import of_some, one_of, rows_of
from odekit.problem.schedule import Schedule
from odekit.systems.committee.drives import drives
from odekit.systems.committee.generalnodes import GeneralQuadraturePhase, fields_of
from odekit.systems.committee.generalphase import GeneralPhase
from odekit.systems.committee.generalstate import Frame, GeneralState
from odekit.systems.committee.laws_of_inputs import Laws
from odekit.systems.committee.misclassified import classified, of_rows
from odekit.systems.committee.seen import Views, joined, laws_in, noise_in, views_of
from odekit_kernels.committee.general import nodes
from odekit_kernels.committee.general.plan import CONSTANT, Wiring, constants, make_plan
from odekit_kernels.committee.rows import errors_of_groups_of_rows
from odekit_kernels.integrators.batch import Batch
from odekit_kernels.lanes.memory import make_memory, places_of

if TYPE_CHECKING:
    from odekit.problem.phase import Phase


class GeneralPoints(GeneralState):
    """Packing of every point of a sweep of a structured problem; see `GeneralState`."""

    # ---------------------------------------------------------------------------------- the phase

    def plan(self, phase: Phase, frame: Frame, stages: int = 0) -> Any:
        """Memory of a group of trajectories in a phase."""
        own = {"S": len(phase.mixture), "c": len(frame.anchor), "W": len(phase.thresholds)}
        own["V"] = self.laws + len(phase.input_variance or ())
        return make_plan(self.sizes(frame, **own, online=int(not phase.gradient_flow)), stages)

    @staticmethod
    def cost(plan: Any) -> int:
        """Moments I4 that a right-hand side takes."""
        return int(plan.V * plan.K * (plan.K + 1) * plan.D * (plan.D + 1) // 4)

    @staticmethod
    def work(plan: Any) -> Any:
        """Scratch memory of one trajectory."""
        return make_memory(plan.size)

    def batch(self, index: int, frame: Frame, plan: Any, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        phase = self.problem.phases[index]
        return Batch(
            **state,
            constants=self.constants(phase, frame, plan),
            places=places_of(constants(plan)),
            shown=self.shown(frame),
            stops=self.stops(phase),
            wiring=self.wiring(phase, frame),
            driven=driven(drives(self, phase, frame, constants(plan))),
        )

    def wiring(self, phase: Phase | None, frame: Frame, watched: Any = None) -> Wiring:
        """What all trajectories of a phase share; without a phase, to ask for errors of tasks."""
        places = [] if phase is None else [self.tasks.index(name) for name in phase.mixture]
        seen = self.watched(phase) if phase is not None else watched
        frozen = None if phase is None else phase.frozen
        return Wiring(
            head=self.head_index[places],
            law=(self.own_laws if phase is None else self.laws_in(phase)).law[places],
            move=np.ones(self.K) if frozen is None else 1.0 - np.array(frozen, float),
            width=self._width(frame.T.shape[-1] - self.P),
            anchor=frame.anchor,
            v_head=frame.v_head,
            watched_head=self.head_index[seen],
            watched_law=self.own_laws.law[seen],
        )

    def laws_in(self, phase: Phase) -> Laws:
        """Those in a phase."""
        own = self.own_laws
        if not phase.input_variance:
            return own
        known = {name: getattr(own, name) for name in ("ss", "st", "tt")}
        blocks, law = laws_in(self, phase, known, own.law)
        # What else there is of a law is that of its task.
        tasks = [int(own.law[self.tasks.index(name)]) for name in phase.input_variance]
        more = {n: joined([getattr(own, n), getattr(own, n)[:, tasks]]) for n in ("gain", "mean")}
        return replace(own, **blocks, **more, law=law)

    def noise_std(self, phase: Phase, task: str) -> Any:
        """Label noise of a task in a phase."""
        return noise_in(self.problem, phase, task)

    def views(self, task: str, group: str | None) -> Views:
        """Second moments of what is seen, as linear functions of the variance."""
        return views_of(self.problem, self, task, group)

    def constants(self, phase: Phase, frame: Frame, plan: Any) -> Floats:
        """What is constant in a phase, a row for each point or one for all, as it begins."""
        moving = drives(self, phase, frame, constants(plan))
        return begun(self._constants(phase, frame, plan), moving)

    def _constants(self, phase: Phase, frame: Frame, plan: Any) -> Floats:
        """The same with any number in place of what follows a schedule."""
        names = list(phase.mixture)
        places = [self.tasks.index(name) for name in names]
        given = {
            **self._of_state(frame, self.watched(phase), self.laws_in(phase)),
            "u": self._widened(self.u[:, places], frame),
            "label": self.label[:, places],
            "sigma": self.each_output([self.first(self.noise_std(phase, n)) for n in names]),
            "F": frame.F,
            "F_v": frame.F_v,
            "v_anchor": frame.v_anchor,
            **self.own_numbers(phase),
        }
        return rows_of(constants(plan), given)

    def own_numbers(self, phase: Phase) -> dict[str, Floats]:
        """Constants that phases of the same tasks and frame may differ in, (points or 1, …)."""
        p = self.stack([self.first(share) for share in phase.mixture.values()], 0)
        moves = any(isinstance(share, Schedule) for share in phase.mixture.values())
        return {
            # Given to nine digits they sum to one only roughly.
            "p": p if moves else p / p.sum(axis=1, keepdims=True),
            "keep": self.of_units(self.first(phase.keep_probability)),
            "pace": self._pace(phase),
            "inverse_batch": 1.0 / self.values(phase.batch_size),
            "kappa_w": self.values(self.first(phase.weight_decay)),
            "kappa_v": self.values(self.first(phase.readout_weight_decay)),
            "eta_w": self.rate(phase.common_rates[0]),
            "eta_v": self.rate(phase.common_rates[1]),
            "eta_b": self.values(phase.bias_learning_rate),
            "friction": self.values(phase.momentum_decay or 0.0),
            **self._of_normalization(phase),
            "level": self.levels(phase),
        }

    def _of_state(self, frame: Frame, watched: Any, laws: Laws) -> dict[str, Floats]:
        """Constants that errors of states need."""
        biases = self.problem.teacher_biases
        b = np.zeros((1, self.P)) if biases is None else self.values(biases, 1)
        copies = frame.T.shape[-1] - self.P
        return {
            **laws.constants(),
            "mean": np.pad(laws.mean, ((0, 0), (0, 0), (0, copies))),
            "T": frame.T,
            "bias": np.pad(b, ((0, 0), (0, copies))),
            "watched": self._widened(self.u[:, watched], frame),
            "watched_label": self.label[:, watched],
            "scale": self.of_units(self.problem.test_scale),
        }

    def _widened(self, u: Floats, frame: Frame) -> Floats:
        """Readouts over the original fixed vectors, with zeros for the copies."""
        return np.pad(u, ((0, 0), (0, 0), (0, 0), (0, frame.T.shape[-1] - self.P)))

    def _of_normalization(self, phase: Phase) -> dict[str, Floats]:
        rule = phase.normalization
        numbers = (rule.decay, rule.epsilon) if isinstance(rule, RMSNorm) else (0.0, 0.0)
        return {"forget": self.values(numbers[0]), "floor": self.values(numbers[1])}

    def _pace(self, phase: Phase) -> Floats:
        """Learning rate of every group over the largest, (points or 1, G)."""
        if not isinstance(phase.learning_rate, Mapping):
            return np.ones((1, self.G))
        given = [self.first(phase.learning_rate[g]) for g in self.problem.groups or ()]
        rates, most = self.stack(given, 0), self.values(phase.common_rates[0])[:, np.newaxis]
        return np.asarray(np.divide(rates, most, out=np.ones_like(rates), where=most > 0))

    def equations(self, index: int, frame: Frame, begin: float) -> GeneralPhase:
        """The equations of a phase of the first point, as functions of time and state."""
        kind = GeneralPhase if self.moments is None else GeneralQuadraturePhase
        return kind(self, self.problem.phases[index], frame, begin)

    # --------------------------------------------------------------------------------- the result

    def errors(
        self, rows: Floats, tasks: Any = None, frame: Frame | None = None, points: Any = None
    ) -> Floats:
        """Generalization errors (points, ..., tasks) of states (points, ..., n).

        With a frame the states have its fixed vectors, else the original ones. `points` tells which
        points the states are of, if not all.
        """
        which = self.numbers(rows, points)
        chosen = np.arange(len(self.tasks)) if tasks is None else tasks
        frame = self._visible if frame is None else frame
        plan, wiring, given, order = self._reading(frame, chosen)
        flat = np.ascontiguousarray(rows.reshape(-1, rows.shape[-1])[:, : plan.n])
        which = np.repeat(which, len(flat) // max(len(rows), 1))
        out = np.empty((len(flat), len(chosen)))
        if self.moments is None:
            memory = make_memory(plan.size)
            errors_of_groups_of_rows(memory, plan, wiring, flat, given, order, which, out)
        else:
            self._errors_at_nodes(plan, wiring, flat, given, order, which, out)
        return out.reshape(*rows.shape[:-1], len(chosen))

    def _reading(self, frame: Frame, chosen: Any) -> Reading:
        """What gives the errors of tasks, of states that begin with the blocks of a frame."""
        plain = replace(frame, heavy=0, adaptive=CONSTANT)
        plan = make_plan(self.sizes(plain, W=len(chosen), online=0))
        named = self._of_state(plain, chosen, self.own_laws)
        places = {name: x for name, x in constants(plan).items() if name in named}
        given = rows_of(places, {name: named[name] for name in places})
        return Reading(plan, self.wiring(None, plain, chosen), given, places_of(places))

    def reading(self) -> Reading | None:
        """What gives the errors of rows where they are; None where moments need quadrature."""
        if self.moments is not None:
            return None
        return self._reading(self._visible, np.arange(len(self.tasks)))

    def _errors_at_nodes(
        self, plan: Any, wiring: Any, rows: Any, given: Any, order: Any, which: Any, out: Any
    ) -> None:
        assert self.moments is not None
        memory, kernels = np.zeros(plan.size), self.moments.kernels()
        for row, i, found in zip(rows, which, out, strict=True):
            memory[order] = one_of(given, i)
            found[:] = np.nan
            if np.isfinite(row).all():
                with contextlib.suppress(ProblemError):
                    found[:] = nodes.errors(memory, plan, wiring, row, kernels)

    def arrays(self, rows: Floats, points: Any = None) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n_visible); errors are asked for apart.

        `points` tells which points the rows are of, if not all.
        """
        blocks = self.blocks(self._visible, rows)
        Q, R = self.overlap_blocks(blocks["overlaps"])
        v = blocks["heads"] if self.problem.outputs is not None else blocks["heads"][..., 0, :]
        found: dict[str, Any] = {"readout": v}
        found |= {"Q": self._total(Q, points), "R": self._total(R, points)}
        if self.problem.groups is not None:
            found |= {"Q_group": Q, "R_group": R}
        if "biases" in blocks:
            found["bias"] = blocks["biases"]
        if classified(self.problem):
            own = (Q, R, blocks["heads"][..., 0, :], blocks.get("biases", 0.0))
            found["misclassification"] = of_rows(self.problem, self, *own, points)
        if "accumulated" in blocks:
            found["squared_gradient"] = blocks["accumulated"][..., 0]
        if self.moments is not None:
            found |= self._report(rows, points)
        if "velocities" in blocks:
            found |= self._velocities(blocks["velocities"], points)
        return found

    def _report(self, rows: Floats, points: Any) -> dict[str, Any]:
        """Nodes of the quadrature, and their error where a trajectory ends, (points,) each."""
        assert self.moments is not None
        plain = replace(self._visible, heavy=0, adaptive=CONSTANT)
        chosen = np.arange(len(self.tasks))
        plan = make_plan(self.sizes(plain, W=len(chosen), online=0))
        named = self._of_state(plain, chosen, self.own_laws)
        memory = np.zeros(plan.size)
        wiring, found = self.wiring(None, plain, chosen), []
        for i, one in zip(self.numbers(rows, points), rows, strict=True):
            sound = one[np.isfinite(one).all(axis=1), : plan.n]
            for name, places in constants(plan).items():
                if name in named:
                    memory[places] = one_of(named[name], i)
            fields = [x for y in sound[-1:] for x in fields_of(memory, plan, wiring, y)]
            found.append(self.moments.report_fields(fields, self.K))
        return {name: np.array([one[name] for one in found]) for name in found[0]}

    def _velocities(self, both: Floats, points: Any) -> dict[str, Floats]:
        K, triangle = self.K, len(self.upper[0])
        units, rest = both[..., : K * K], both[..., K * K :]
        fixed, own = rest[..., :-triangle], rest[..., -triangle:]
        of_own, _ = self.overlap_blocks(own)
        return {
            "velocity_Q": self._total(of_own, points),
            "velocity_student": self._total(units.reshape(*both.shape[:-1], K, K), points),
            "velocity_teacher": self._total(fixed.reshape(*both.shape[:-1], K, self.P), points),
        }

    def _total(self, blocks: Floats, points: Any) -> Floats:
        """Σ_τ f_τ of blocks (points, times, G, a, b)."""
        some = of_some(self.own_laws.share, points)
        share = some[:, np.newaxis, :, np.newaxis, np.newaxis]
        return np.asarray((share * blocks).sum(axis=-3))
