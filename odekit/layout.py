"""How a problem's blocks pack into the flat vector of the kernels, and back to labelled arrays.

This is the only place that knows both. The vector of one phase is Q's upper triangle row by row,
R row by row over *all* fixed vectors (copies made by consolidation after the original ones), then
the heads row by row.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from odekit.activations import on_quadrature
from odekit.crosscheck import protected_task
from odekit.quadrature import Moments
from odekit.schedule import Schedule
from odekit_kernels import moments
from odekit_kernels.committee import Committee, errors, jacobian, make_work, rhs
from odekit_kernels.quadrature import covariance
from odekit_kernels.quadrature import jacobian as differences
from odekit_kernels.units import self_moments

if TYPE_CHECKING:
    from odekit.activations import Activation
    from odekit.problem import Phase, Problem

Floats = np.ndarray[Any, np.dtype[np.float64]]

CODES = {"erf": moments.ERF, "linear": moments.LINEAR, "relu": moments.RELU}


@dataclass(frozen=True)
class Frame:
    """What is constant in a phase but may change at a switch.

    Attributes
    ----------
    T : ndarray, shape (P, P)
        Overlaps of the fixed vectors, copies included.
    F, F_v, v_anchor : ndarray, shape (c, K)
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


def generalization_errors(
    rows: Floats, activation: str | Activation, T: Floats, u: Floats, head: Any, K: int
) -> Floats:
    """Generalization error of every task, shape (rows, tasks), from flat states (rows, n).

    Parameters
    ----------
    rows : ndarray, shape (rows, n)
        Q's upper triangle, R over the fixed vectors of T, heads.
    T : ndarray, shape (P, P)
    u : ndarray, shape (tasks, P)
        Readouts of the tasks.
    head : array_like of int, shape (tasks,)
        Head that answers each.
    K : int
        Number of student units.
    """
    u, T, head = np.ascontiguousarray(u), np.ascontiguousarray(T), np.asarray(head, dtype=np.int64)
    out = np.empty((len(rows), len(u)))
    own = on_quadrature(activation, gradient_flow=True)
    if own is not None:
        found = Moments(own, diffusion=False)
        for row, errors_of_row in zip(rows, out, strict=True):
            errors_of_row[:] = found.errors(row, T, u, head, K)
        return out
    work = make_work(K, len(T), 1, 1)
    for row, errors_of_row in zip(np.ascontiguousarray(rows), out, strict=True):
        errors(row, CODES[str(activation)], T, u, head, work, errors_of_row)
    return out


def quadrature_of(problem: Problem) -> Activation | None:
    """The activation of a problem whose moments come from quadrature; None of any other."""
    flow = all(phase.gradient_flow for phase in problem.phases)
    return on_quadrature(problem.activation, flow)


def unpack(y: Floats, upper: tuple[Any, ...], heads: int) -> tuple[Floats, Floats, Floats]:
    """Blocks Q, R and v of flat vectors, shape (..., n), by the indices of Q's upper triangle."""
    triangle, lead = len(upper[0]), y.shape[:-1]
    K = int(upper[0][-1]) + 1
    Q = np.empty((*lead, K, K))
    Q[..., upper[0], upper[1]] = y[..., :triangle]
    Q[..., upper[1], upper[0]] = y[..., :triangle]
    R = y[..., triangle : y.shape[-1] - heads * K].reshape(*lead, K, -1)
    return Q, R, y[..., y.shape[-1] - heads * K :].reshape(*lead, heads, K)


class CommitteeLayout:
    """Packing of a committee's order parameters, and what happens to them at a switch.

    Parameters
    ----------
    problem : Problem
        With plain numbers (no sweep dims).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.heads, self.tasks = list(problem.heads), list(problem.tasks)
        self.K, self.P = problem.state.student, problem.state.teacher
        self.upper = np.triu_indices(self.K)
        own = quadrature_of(problem)
        diffusion = not all(phase.gradient_flow for phase in problem.phases)
        self.moments = None if own is None else Moments(own, diffusion=diffusion)
        # Means nothing to the kernels where the moments come from quadrature.
        self.code = -1 if own is not None else CODES[str(problem.activation)]
        self.u = np.array([problem.tasks[name].readout for name in self.tasks])
        self.head_index = np.array(
            [self.heads.index(problem.head_of(name)) for name in self.tasks], dtype=np.int64
        )

    def start(self) -> tuple[Frame, Floats]:
        """Frame and state at time 0, before the first phase."""
        empty = np.zeros((0, self.K))
        frame = Frame(
            T=np.array(self.problem.state.T),
            F=empty,
            F_v=empty,
            v_anchor=empty,
            anchor=np.zeros((0, self.K), dtype=np.int64),
            v_head=np.zeros(0, dtype=np.int64),
        )
        state = self.problem.state
        v = np.array([self.problem.heads[name] for name in self.heads])
        return frame, self.pack(np.asarray(state.Q), np.asarray(state.R), v)

    def pack(self, Q: Floats, R: Floats, v: Floats) -> Floats:
        """Flat vector of the blocks Q (K, K), R (K, P) and v (H, K)."""
        return np.concatenate([Q[self.upper], R.ravel(), v.ravel()])

    def unpack(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Blocks of flat vectors, shape (..., n); the leading axes stay."""
        return unpack(y, self.upper, len(self.heads))

    def visible(self, y: Floats) -> Floats:
        """The vector without the overlaps with copies: what the dataset shows."""
        Q, R, v = self.unpack(y)
        return self.pack(Q, R[:, : self.P], v)

    def enter(self, index: int, frame: Frame, y: Floats) -> tuple[Frame, Floats]:
        """Frame and state as a phase begins: copies of heads and of units are made."""
        phase = self.problem.phases[index]
        if phase.consolidation is not None:
            frame, y = self._consolidate(index, frame, y)
        if phase.copy_heads:
            Q, R, v = self.unpack(y)
            changed = v.copy()
            for target, source in phase.copy_heads.items():
                changed[self.heads.index(target)] = v[self.heads.index(source)]
            y = self.pack(Q, R, changed)
        return frame, y

    def _consolidate(self, index: int, frame: Frame, y: Floats) -> tuple[Frame, Floats]:
        """Freeze copies a_k of all units: T gains Q* and R*, R gains Q* (theory section 2)."""
        consolidation = self.problem.phases[index].consolidation
        assert consolidation is not None
        Q, R, v = self.unpack(y)
        head = self.head_index[self.tasks.index(protected_task(self.problem, index))]
        J2, I2 = self._self_moments(frame, y)
        importance = {
            "fisher": v[head] ** 2 * J2,
            "node": v[head] ** 2,
            "quadratic": np.ones(self.K),
        }[consolidation.kind]
        anchor = len(frame.T) + np.arange(self.K)
        grown = replace(
            frame,
            T=np.block([[frame.T, R.T], [R, Q]]),
            F=np.vstack([frame.F, consolidation.strength * importance]),
            F_v=np.vstack([frame.F_v, consolidation.strength * I2]),
            v_anchor=np.vstack([frame.v_anchor, v[head]]),
            anchor=np.vstack([frame.anchor, anchor]),
            v_head=np.append(frame.v_head, head),
        )
        return grown, self.pack(Q, np.hstack([R, Q]), v)

    def _self_moments(self, frame: Frame, y: Floats) -> tuple[Floats, Floats]:
        """J2(k, k) and I2(k, k) of every unit, shape (K,) each."""
        if self.moments is not None:
            C = covariance(y, frame.T, self.K)
            one, two, _ = self.moments.second(C, self.K)
            return np.diagonal(two).copy(), np.diagonal(one).copy()
        system = self.committee(self.problem.phases[0], frame)
        work = make_work(self.K, len(frame.T), len(self.heads), len(system.p))
        I2, J2 = np.empty(self.K), np.empty(self.K)
        self_moments(y, system, work, I2, J2)
        return J2, I2

    def committee(self, phase: Phase, frame: Frame) -> Committee:
        """The kernel's view of a phase."""
        names = list(phase.mixture)
        places = [self.tasks.index(name) for name in names]
        copies = np.zeros((len(names), len(frame.T) - self.P))
        frozen = np.zeros(self.K) if phase.frozen is None else np.array(phase.frozen, dtype=float)
        p = np.array(list(phase.mixture.values()), dtype=float)
        return Committee(
            activation=self.code,
            T=np.ascontiguousarray(frame.T),
            u=np.ascontiguousarray(np.hstack([self.u[places], copies])),
            sigma=np.array([self.problem.tasks[n].noise_std for n in names], dtype=float),
            # Given to nine digits they sum to one only roughly.
            p=p / p.sum(),
            head=self.head_index[places],
            move=1.0 - frozen,
            inverse_batch=0.0 if phase.gradient_flow else 1.0 / phase.batch_size,
            kappa_w=float(phase.weight_decay),
            kappa_v=float(phase.readout_weight_decay),
            F=frame.F,
            anchor=frame.anchor,
            F_v=frame.F_v,
            v_anchor=frame.v_anchor,
            v_head=frame.v_head,
        )

    def system(self, index: int, frame: Frame, begin: float) -> CommitteePhase:
        """The equations of a phase that begins at a time."""
        kind = CommitteePhase if self.moments is None else QuadraturePhase
        return kind(self, self.problem.phases[index], frame, begin)

    def errors(self, y: Floats) -> Floats:
        """Generalization error of every task, shape (rows, tasks), of visible states (rows, n)."""
        T = np.array(self.problem.state.T)
        own = self.problem.activation
        return generalization_errors(y, own, T, self.u, self.head_index, self.K)

    @staticmethod
    def absent(problem: Problem) -> set[str]:
        """Variables of the registry that no run of a problem has."""
        of_quadrature = {"quadrature_nodes", "quadrature_error"}
        return {"test_error"} | (of_quadrature if quadrature_of(problem) is None else set())

    @staticmethod
    def numbers(problem: Problem) -> int:
        """Numbers that one trajectory starts from."""
        K, P = problem.state.student, problem.state.teacher
        return K * (K + P) + P * P + len(problem.heads) * K

    @staticmethod
    def constants(problem: Problem) -> dict[str, Any]:
        """Variables of the dataset that no run changes, with the sweep dims that they have."""
        return {"T": problem.state.T}

    @staticmethod
    def sizes(problem: Problem) -> dict[str, int]:
        """Length of every dim of the dataset but those of time and of a sweep."""
        K, P = problem.state.student, problem.state.teacher
        units = {"student": K, "student_other": K, "teacher": P, "teacher_other": P}
        return {**units, "head": len(problem.heads), "task": len(problem.tasks)}

    @staticmethod
    def labels(problem: Problem) -> dict[str, list[str]]:
        """Coordinates that are names."""
        return {"head": list(problem.heads), "task": list(problem.tasks)}

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Variables of the dataset by name, from visible states (rows, n)."""
        Q, R, v = self.unpack(rows)
        found = {"Q": Q, "R": R, "readout": v, "generalization_error": self.errors(rows)}
        if self.moments is not None:
            found |= self.moments.report(rows, np.array(self.problem.state.T), self.K)
        return found


class CommitteePhase:
    """Equations of one phase as functions of time and state (`odekit.integrate.System`)."""

    def __init__(self, layout: CommitteeLayout, phase: Phase, frame: Frame, begin: float) -> None:
        self.begin = begin
        self.layout = layout
        self.rates = (phase.learning_rate, phase.readout_learning_rate)
        self.committee = layout.committee(phase, frame)
        P, heads = len(frame.T), len(layout.heads)
        self.work = make_work(layout.K, P, heads, max(len(layout.tasks), len(self.committee.p)))
        self.breaks = self._breaks(float(phase.duration))
        self._prepare_event(layout, phase, frame)

    def _breaks(self, duration: float) -> list[float]:
        tables = [rate for rate in self.rates if isinstance(rate, Schedule)]
        return sorted({self.begin + b for table in tables for b in table.breaks(duration)})

    def _prepare_event(self, layout: CommitteeLayout, phase: Phase, frame: Frame) -> None:
        names = list(phase.thresholds)
        places = [layout.tasks.index(name) for name in names]
        self.has_event = bool(names)
        self.levels = np.array([phase.thresholds[name] for name in names], dtype=float)
        copies = np.zeros((len(names), len(frame.T) - layout.P))
        self.watched = np.ascontiguousarray(np.hstack([layout.u[places], copies]))
        self.watched_heads = layout.head_index[places]

    def _at(self, t: float) -> tuple[float, float]:
        eta_w, eta_v = self.rates
        since = t - self.begin
        return (
            eta_w(since) if isinstance(eta_w, Schedule) else eta_w,
            eta_v(since) if isinstance(eta_v, Schedule) else eta_v,
        )

    def with_teachers(self, T: Floats, u: Floats) -> Self:
        """The same phase with other fixed vectors and readouts of theirs."""
        other = copy.copy(self)
        other.committee = self.committee._replace(T=T, u=u)
        return other

    def errors(self, y: Floats, u: Floats, head: Any) -> Floats:
        """Generalization errors of tasks with the readouts u (tasks, P), shape (tasks,)."""
        c, out = self.committee, np.empty(len(u))
        errors(y, c.activation, c.T, u, head, self.work, out)
        return out

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""
        dy = np.empty_like(y)
        rhs(y, *self._at(t), self.committee, self.work, dy)
        return dy

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""
        J = np.empty((y.size, y.size))
        jacobian(y, *self._at(t), self.committee, self.work, J)
        return J

    def event(self, y: Floats) -> float:
        """Largest error of a watched task over its threshold, less one."""
        found = self.errors(y, self.watched, self.watched_heads)
        return float((found / self.levels).max()) - 1.0


class QuadraturePhase(CommitteePhase):
    """Equations of one phase for an activation whose moments come from quadrature."""

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,); NaN where the moments are less accurate than was asked."""
        assert self.layout.moments is not None
        return self.layout.moments.rhs(y, *self._at(t), self.committee)

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian by central differences, shape (n, n)."""
        return differences(lambda x: self.rhs(t, x), y, self.committee.T, self.layout.K)

    def errors(self, y: Floats, u: Floats, head: Any) -> Floats:
        """Generalization errors of tasks with the readouts u (tasks, P), shape (tasks,)."""
        assert self.layout.moments is not None
        return self.layout.moments.errors(y, self.committee.T, u, head, self.layout.K)
