"""How the points of a sweep pack into the arrays of the batch kernels, and back.

As `odekit.layout` does it for one run, and with its order of the blocks; here every array has the
points of the sweep as its first axis, or one entry there where all points share it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.checks import is_labelled
from odekit.crosscheck import protected_task
from odekit.layout import CODES, Frame, unpack
from odekit.schedule import Schedule
from odekit.sweep import Axis
from odekit_kernels.lanes.batch import Batch, Rates
from odekit_kernels.lanes.plan import Plan, Wiring, constant_places, make_memory, make_plan
from odekit_kernels.lanes.rows import errors_of_rows, moments_of_rows
from odekit_kernels.work import make_work

if TYPE_CHECKING:
    from odekit.base import AnyProblem
    from odekit.problem import Phase, Problem

Floats = np.ndarray[Any, np.dtype[np.float64]]

NO_RATES = Rates(np.zeros(0), np.zeros((0, 4)), 0.0, 0.0)


class Points:
    """The points of a sweep: how values that may be labelled become arrays over them.

    Parameters
    ----------
    problem : AnyProblem
    found : dict
        Its sweep dims, from `odekit.sweep.axes`; may be empty.
    """

    def __init__(self, problem: AnyProblem, found: dict[str, Axis]) -> None:
        self.dims, self.tasks = list(found), list(problem.tasks)
        self.shape = tuple(size for size, _ in found.values())
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def numbers(self, value: Any, core: int = 0) -> Floats:
        """A value that may be labelled, as (points or 1, *core)."""
        if not is_labelled(value):
            return np.ascontiguousarray(np.asarray(value, dtype=np.float64)[np.newaxis])
        lead = [str(d) for d in value.dims[: value.ndim - core]]
        if not lead:
            return np.ascontiguousarray(np.asarray(value.values, dtype=np.float64)[np.newaxis])
        order = [d for d in self.dims if d in lead]
        values = value.transpose(*order, *value.dims[len(lead) :]).values
        tail = values.shape[len(lead) :]
        full = values.reshape(
            *(values.shape[order.index(d)] if d in lead else 1 for d in self.dims), *tail
        )
        return np.ascontiguousarray(
            np.broadcast_to(full, (*self.shape, *tail)).reshape(self.size, *tail), dtype=np.float64
        )

    def stack(self, values: list[Any], core: int) -> Floats:
        """Several values as (points or 1, values, *core)."""
        parts = [self.numbers(value, core) for value in values]
        size = max((len(part) for part in parts), default=1)
        parts = [np.broadcast_to(part, (size, *part.shape[1:])) for part in parts]
        return np.ascontiguousarray(np.stack(parts, axis=1)) if parts else np.zeros((1, 0))

    def fold(self, array: Any) -> Any:
        """The first axis, the points, as the dims of the sweep."""
        return array.reshape((*self.shape, *array.shape[1:]))

    def thresholds(self, phase: Phase) -> tuple[Any, Floats]:
        """Indices of the watched tasks, and their levels (points or 1, watched)."""
        names = list(phase.thresholds)
        places = np.array([self.tasks.index(name) for name in names], dtype=np.int64)
        levels = self.stack([phase.thresholds[name] for name in names], 0)
        return places, levels

    def rate(self, rate: Any) -> Floats:
        """A learning rate as a phase begins, (points or 1,)."""
        return self.numbers(rate(0.0) if isinstance(rate, Schedule) else rate)

    def stops(self, phase: Phase) -> Floats:
        """Times since the phase began that steps land on: kinks of its schedules."""
        rates = (phase.learning_rate, phase.readout_learning_rate)
        longest = float(np.max(np.asarray(phase.duration)))
        tables = [rate for rate in rates if isinstance(rate, Schedule)]
        return np.array(sorted({b for table in tables for b in table.breaks(longest)}))


def joined(blocks: list[Floats]) -> Floats:
    """Constants (points or 1, ...) one after the other: a row for each point, or one for all."""
    size = max(len(block) for block in blocks)
    flat = [block.reshape(len(block), -1) for block in blocks]
    whole = [np.broadcast_to(block, (size, block.shape[1])) for block in flat]
    return np.ascontiguousarray(np.concatenate(whole, axis=1))


class BatchLayout(Points):
    """Packing of the order parameters of every point of a sweep.

    Parameters
    ----------
    problem : Problem
    found : dict
        Its sweep dims, from `odekit.sweep.axes`; may be empty.
    """

    def __init__(self, problem: Problem, found: dict[str, Axis]) -> None:
        super().__init__(problem, found)
        self.problem, self.heads = problem, list(problem.heads)
        self.K, self.P = problem.state.student, problem.state.teacher
        self.upper = np.triu_indices(self.K)
        self.code = CODES[str(problem.activation)]
        self.u = self.stack([problem.tasks[name].readout for name in self.tasks], 1)
        self.head_index = np.array(
            [self.heads.index(problem.head_of(name)) for name in self.tasks], dtype=np.int64
        )

    # ---------------------------------------------------------------------------------- the state

    def start(self) -> tuple[Frame, Floats]:
        """Frame and states (points, n) at time 0, before the first phase."""
        state, empty = self.problem.state, np.zeros((1, 0, self.K))
        frame = Frame(
            T=self.numbers(state.T, 2),
            F=empty,
            F_v=empty,
            v_anchor=empty,
            anchor=np.zeros((0, self.K), dtype=np.int64),
            v_head=np.zeros(0, dtype=np.int64),
        )
        v = self.stack([self.problem.heads[name] for name in self.heads], 1)
        return frame, self.pack(self.numbers(state.Q, 2), self.numbers(state.R, 2), v)

    def pack(self, Q: Floats, R: Floats, v: Floats) -> Floats:
        """States (points, n) of blocks with leading axes of `points` or 1."""
        parts = [Q[:, self.upper[0], self.upper[1]], R.reshape(len(R), -1), v.reshape(len(v), -1)]
        whole = [np.broadcast_to(part, (self.size, part.shape[1])) for part in parts]
        return np.ascontiguousarray(np.concatenate(whole, axis=1))

    def unpack(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Blocks of states, shape (..., n); the leading axes stay."""
        return unpack(y, self.upper, len(self.heads))

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
        I2, J2 = self._unit_moments(Q)
        importance = {
            "fisher": v[:, head] ** 2 * J2,
            "node": v[:, head] ** 2,
            "quadratic": np.ones_like(J2),
        }[consolidation.kind]
        strength = self.numbers(consolidation.strength)[:, np.newaxis]
        T = np.broadcast_to(frame.T, (self.size, *frame.T.shape[1:]))
        anchor = T.shape[1] + np.arange(self.K)
        grown = replace(
            frame,
            T=np.ascontiguousarray(np.block([[T, R.swapaxes(1, 2)], [R, Q]])),
            F=self._append(frame.F, strength * importance),
            F_v=self._append(frame.F_v, strength * I2),
            v_anchor=self._append(frame.v_anchor, v[:, head]),
            anchor=np.vstack([frame.anchor, anchor]),
            v_head=np.append(frame.v_head, head),
        )
        return grown, self.pack(Q, np.concatenate([R, Q], axis=2), v)

    def _append(self, before: Floats, row: Floats) -> Floats:
        whole = np.broadcast_to(before, (self.size, *before.shape[1:]))
        return np.ascontiguousarray(np.concatenate([whole, row[:, np.newaxis]], axis=1))

    def _unit_moments(self, Q: Floats) -> tuple[Floats, Floats]:
        """I2(k, k) and J2(k, k) of every unit, shape (points, K) each."""
        variances = np.ascontiguousarray(np.einsum("...kk->...k", Q)).ravel()
        plan = make_plan(1, 0, 0, 0, 0, 0, self.code, False, 0)
        I2, J2 = np.empty_like(variances), np.empty_like(variances)
        moments_of_rows(make_memory(plan.size), plan, variances, I2, J2)
        return I2.reshape(-1, self.K), J2.reshape(-1, self.K)

    # ---------------------------------------------------------------------------------- the phase

    def plan(self, index: int, frame: Frame, stages: int) -> Plan:
        """Memory of a group of trajectories in a phase."""
        phase = self.problem.phases[index]
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
    def cost(plan: Plan) -> int:
        """Moments I4 that a right-hand side takes."""
        return plan.K * (plan.K + 1) * plan.D * (plan.D + 1) // 4

    @staticmethod
    def work(plan: Plan) -> Any:
        """Scratch memory of one trajectory."""
        return make_work(plan.K, plan.P, plan.H, plan.S)

    def batch(self, index: int, frame: Frame, plan: Plan, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        phase = self.problem.phases[index]
        places = [self.tasks.index(name) for name in phase.mixture]
        watched, _ = self.thresholds(phase)
        move = np.ones(self.K) if phase.frozen is None else 1.0 - np.array(phase.frozen, float)
        return Batch(
            **state,
            constants=self._constants(phase, frame),
            places=constant_places(plan),
            shown=self.shown(frame),
            stops=self.stops(phase),
            rate_w=rates_of(phase.learning_rate),
            rate_v=rates_of(phase.readout_learning_rate),
            wiring=Wiring(
                head=self.head_index[places],
                move=move,
                anchor=frame.anchor,
                v_head=frame.v_head,
                watched_head=self.head_index[watched],
            ),
        )

    def _constants(self, phase: Phase, frame: Frame) -> Floats:
        """Rows in the order of `constant_places`, one for each point or one for all."""
        names = list(phase.mixture)
        places = [self.tasks.index(name) for name in names]
        watched, levels = self.thresholds(phase)
        copies = frame.T.shape[1] - self.P
        p = self.stack([phase.mixture[name] for name in names], 0)
        blocks = [
            frame.T,
            _widen(self.u[:, places], copies),
            # Given to nine digits they sum to one only roughly.
            p / p.sum(axis=1, keepdims=True),
            self.stack([self.problem.tasks[name].noise_std for name in names], 0),
            1.0 / self.numbers(phase.batch_size),
            self.numbers(phase.weight_decay),
            self.numbers(phase.readout_weight_decay),
            self.rate(phase.learning_rate),
            self.rate(phase.readout_learning_rate),
            frame.F,
            frame.F_v,
            frame.v_anchor,
            _widen(self.u[:, watched], copies),
            levels,
        ]
        return joined(blocks)

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
        T = self.numbers(self.problem.state.T, 2) if frame is None else frame.T
        u = _widen(self.u[:, chosen], T.shape[1] - self.P)
        flat = np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]))
        which = np.repeat(which, len(flat) // max(len(rows), 1))
        sizes = (self.K, T.shape[1], len(self.heads), 1, 0, len(chosen))
        plan = make_plan(*sizes, self.code, False, 0)
        out = np.empty((len(flat), len(chosen)))
        memory = make_memory(plan.size)
        errors_of_rows(memory, plan, self.head_index[chosen], flat, T, u, which, out)
        return out.reshape(*rows.shape[:-1], len(chosen))

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Overlaps and readouts by name, from rows (points, times, n_visible)."""
        Q, R, v = self.unpack(rows)
        return {"Q": Q, "R": R, "readout": v}


def _widen(u: Floats, copies: int) -> Floats:
    """Readouts over the original fixed vectors, with zeros for the copies."""
    return np.ascontiguousarray(np.pad(u, ((0, 0), (0, 0), (0, copies))))


def rates_of(rate: Any) -> Rates:
    """A schedule's table in the kernels' form."""
    if not isinstance(rate, Schedule):
        return NO_RATES
    start, coefficients = rate.pieces
    last, final = float(rate.times[-1]), float(rate.values[-1])
    return Rates(np.array(start), np.array(coefficients), last, final)
