"""States of structured problems: their blocks in flat vectors, and what switches do to them.

The state of a phase is `odekit_kernels.committee.general.plan.layout`: overlaps, heads, biases, and
with momentum or normalised rates what these carry along. Rows show the same blocks in every phase,
without what concerns copies of units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.normalization import RMSNorm
from odekit.problem.points import Points
from odekit.problem.schedule import Schedule
from odekit.systems.committee.activations import quadrature_of
from odekit.systems.committee.committeestate import square
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.errors import code_of
from odekit.systems.committee.generalnodes import MeanMoments
from odekit.systems.committee.laws_of_inputs import Laws, laws_of
from odekit.systems.committee.problem import Problem, outputs_of
from odekit_kernels.committee.activations import LINEAR, RELU
from odekit_kernels.committee.general.plan import ADAGRAD, CONSTANT, RMS, Sizes, layout
from odekit_kernels.committee.means import STRAIGHT
from odekit_kernels.committee.units import moments_of_units

if TYPE_CHECKING:
    from odekit.problem.axes import Axis
    from odekit.problem.phase import Phase

Blocks = dict[str, Floats]
"""The blocks of states by name, (points, *shape)."""


@dataclass(frozen=True)
class Frame:
    """What is constant in a phase but may change at a switch, for each point or for all.

    Attributes
    ----------
    T : ndarray, shape (points or 1, G, P, P)
        Overlaps of the fixed vectors, copies included.
    F, F_v, v_anchor : ndarray, shapes (points or 1, c, G, K), (…, c, K) and (…, c, O, K)
        λ F_k of each consolidation in force; its readout penalties and the values these hold.
    anchor, v_head : ndarray of int64, shapes (c, K) and (c,)
        Fixed vectors that are the copies, and the head that each readout penalty holds.
    heavy, adaptive : int
        What the state has of velocities and normalised rates, as in `Sizes`.
    held : tuple, optional
        As of the committee's own frames.
    """

    T: Floats
    F: Floats
    F_v: Floats
    v_anchor: Floats
    anchor: Any
    v_head: Any
    heavy: int = 0
    adaptive: int = CONSTANT
    held: tuple[Any, Floats, Floats] | None = None

    def begun(self) -> Self:
        """That of a phase that follows, before it makes its copies."""
        return self if self.held is None else replace(self, held=None)


class GeneralState(Points):
    """States of every point of a sweep of a structured problem, and what switches do to them.

    Parameters
    ----------
    problem : Problem
    found : mapping
        Its sweep dims, from `odekit.problem.axes.axes`; may be empty.
    """

    def __init__(self, problem: Problem, found: Mapping[str, Axis]) -> None:
        super().__init__(problem, found)
        self.problem, self.heads = problem, list(problem.heads)
        self.K, self.P = problem.state.student, problem.state.teacher
        self.O = problem.outputs or 1
        self.known: dict[Any, Any] = {}
        self.see(laws_of(problem, self))
        self.upper, self.square = np.triu_indices(self.K), square(self.K)
        own = quadrature_of(problem)
        online = not all(phase.gradient_flow for phase in problem.phases)
        self.moments = None if own is None else MeanMoments(own, diffusion=online)
        # Only the η² line of ReLU has no closed form.
        kinked = own is not None and own.slope is not None
        self.code = RELU if kinked else code_of(problem.activation, closed=own is None)
        tasks = [problem.tasks[name] for name in self.tasks]
        self.u = np.stack([self.of_outputs(t.readout, self.P) for t in tasks], axis=1)
        self.label = self.each_output([t.label for t in tasks])
        self.head_index = np.array(
            [self.heads.index(problem.head_of(name)) for name in self.tasks], dtype=np.int64
        )

    def see(self, laws: Laws) -> None:
        """Take inputs apart into these groups and laws."""
        self.own_laws, self.G = laws, laws.size[0]

    @property
    def laws(self) -> int:
        """Laws of the inputs of the problem's tasks."""
        return self.own_laws.size[1]

    # ------------------------------------------------------------------------------ their numbers

    def of_outputs(self, value: Any, units: int) -> Floats:
        """Numbers of units as (points or 1, O, units)."""
        found = self.values(value, 1 + (outputs_of(value, unit=True) is not None))
        return found.reshape(len(found), self.O, units)

    def each_output(self, values: list[Any]) -> Floats:
        """Numbers, or one for each output, as (points or 1, values, O)."""
        found = [self.values(v, int(outputs_of(v, unit=False) is not None)) for v in values]
        found = [x.reshape(len(x), -1) for x in found]
        size = max(len(x) for x in found)
        return np.stack([np.broadcast_to(x, (size, self.O)) for x in found], axis=1)

    def of_units(self, value: Any) -> Floats:
        """A number of all units, or of each, as (points or 1, K)."""
        many = "student" in value.dims if hasattr(value, "dims") else np.ndim(value) == 1
        found = self.values(value, int(many)).reshape(-1, self.K if many else 1)
        return np.array(np.broadcast_to(found, (len(found), self.K)))

    def overlaps(self, name: str) -> Floats:
        """Q, R or T at time 0, (points or 1, G, ...)."""
        grouped = self.problem.groups is not None
        found = self.values(getattr(self.problem.state, name), 2 + grouped)
        return found if grouped else found[:, np.newaxis]

    # ---------------------------------------------------------------------------------- the state

    def sizes(self, frame: Frame, **more: int) -> Sizes:
        """Sizes of the state under a frame."""
        return Sizes(
            **{
                "K": self.K,
                "P": frame.T.shape[-1],
                "O": self.O,
                "H": len(self.heads),
                "S": 0,
                "G": self.G,
                "V": self.laws,
                "activation": self.code,
                "biases": int(self.problem.biases is not None),
                "means": int(has_means(self.problem)),
                "heavy": frame.heavy,
                "adaptive": frame.adaptive,
                **more,
            }
        )

    def layout(self, frame: Frame) -> dict[str, tuple[int, tuple[int, ...]]]:
        """First entry and shape of every block of a state under a frame."""
        return layout(self.sizes(frame))

    @cached_property
    def _visible(self) -> Frame:
        """What rows show: that of the original fixed vectors that every phase has."""
        K, G = self.K, self.G
        kinds = {adaptive_of(phase) for phase in self.problem.phases}
        beyond = self.problem.beyond
        return Frame(
            T=self.overlaps("T"),
            F=np.zeros((1, 0, G, K)),
            F_v=np.zeros((1, 0, K)),
            v_anchor=np.zeros((1, 0, self.O, K)),
            anchor=np.zeros((0, K), dtype=np.int64),
            v_head=np.zeros(0, dtype=np.int64),
            heavy=int("velocities" in beyond),
            adaptive=kinds.pop() if "squared_gradient" in beyond else CONSTANT,
        )

    def start(self) -> tuple[Frame, Floats]:
        """Frame and states (points, n) at time 0, before the first phase."""
        frame = self._visible
        v = np.stack([self.of_outputs(self.problem.heads[h], self.K) for h in self.heads], axis=1)
        Q, R = self.overlaps("Q"), self.overlaps("R")
        blocks = {"overlaps": self._joined(Q, R), "heads": v}
        if self.problem.biases is not None:
            blocks["biases"] = self.values(self.problem.biases, 1)
        if frame.adaptive:
            blocks["accumulated"] = self._initial(0)
        return frame, self.flat(frame, blocks)

    def packed(self, Q: Floats, R: Floats, readout: Floats, bias: Any) -> Floats:
        """Rows of overlaps (rows, G, ...), readouts and biases, without what else they show."""
        blocks = {"overlaps": self._joined(Q, R), "heads": readout}
        if bias is not None:
            blocks["biases"] = bias
        return self.flat(self._visible, blocks, len(Q))

    def flat(self, frame: Frame, blocks: Blocks, size: int | None = None) -> Floats:
        """States of blocks by name, each with leading axes of `points` or 1; others are zero."""
        found = layout(self.sizes(frame))
        first, shape = list(found.values())[-1]
        y = np.zeros((self.size if size is None else size, first + math.prod(shape)))
        for name, (place, shape) in found.items():
            if name in blocks:
                width = math.prod(shape)
                y[:, place : place + width] = blocks[name].reshape(-1, width)
        return y

    def blocks(self, frame: Frame, y: Floats) -> Blocks:
        """The blocks of states, shape (..., n), by name."""
        return {
            name: y[..., place : place + math.prod(shape)].reshape(*y.shape[:-1], *shape)
            for name, (place, shape) in layout(self.sizes(frame)).items()
        }

    def overlap_blocks(self, both: Floats) -> tuple[Floats, Floats]:
        """Q and R of overlaps (..., G, K (K + 1)/2 + K P)."""
        triangle, K = len(self.upper[0]), self.K
        Q = np.take(both, self.square, axis=-1, mode="clip")
        return Q, both[..., triangle:].reshape(*both.shape[:-1], K, -1)

    def _joined(self, Q: Floats, R: Floats) -> Floats:
        size = max(len(Q), len(R))
        triangle = Q[..., self.upper[0], self.upper[1]]
        parts = (triangle, R.reshape(*R.shape[:-2], -1))
        whole = [np.broadcast_to(x, (size, *x.shape[1:])) for x in parts]
        return np.concatenate(whole, axis=-1)

    def shown(self, frame: Frame) -> Any:
        """Which entries of a state the dataset shows: not overlaps with copies."""
        K, triangle, P = self.K, len(self.upper[0]), frame.T.shape[-1]
        own = np.arange(K)[:, np.newaxis] * P + np.arange(self.P)
        found = {name: np.arange(math.prod(shape)).reshape(shape) + first
                 for name, (first, shape) in layout(self.sizes(frame)).items()}  # fmt: skip
        keep = {
            "overlaps": np.concatenate([np.arange(triangle), triangle + own.ravel()]),
            "velocities": np.concatenate(
                [np.arange(K * K), K * K + own.ravel(), K * K + K * P + np.arange(triangle)]
            ),
        }
        places = {
            name: block[:, keep[name]] if name in keep else block for name, block in found.items()
        }
        return np.concatenate([places[name].ravel() for name in layout(self.sizes(self._visible))])

    # ----------------------------------------------------------------------------------- switches

    def enter(self, index: int, frame: Frame, y: Floats) -> tuple[Frame, Floats]:
        """Frame and states as a phase begins: copies of heads and of units are made.

        Velocities and the accumulated squared gradient go on where the phase before has them too.
        """
        phase = self.problem.phases[index]
        blocks, frame = self.blocks(frame, y), frame.begun()
        if phase.consolidation is not None:
            frame, blocks = self._consolidate(index, frame, blocks)
        if phase.copy_heads:
            v = blocks["heads"].copy()
            for target, source in phase.copy_heads.items():
                v[:, self.heads.index(target)] = blocks["heads"][:, self.heads.index(source)]
            blocks["heads"] = v
        adaptive = adaptive_of(phase)
        if adaptive and adaptive != frame.adaptive:
            blocks["accumulated"] = self._initial(index)
        if (frame.heavy, frame.adaptive) != (heavy_of(phase), adaptive):
            frame = replace(frame, heavy=heavy_of(phase), adaptive=adaptive)
        return frame, self.flat(frame, blocks)

    def _initial(self, index: int) -> Floats:
        """B as a phase begins that has it first, (points or 1, 1)."""
        rule = self.problem.phases[index].normalization
        assert rule is not None
        return self.values(rule.initial)[:, np.newaxis]

    def _consolidate(self, index: int, frame: Frame, blocks: Blocks) -> tuple[Frame, Blocks]:
        """Freeze copies a_k of all units: T gains Q* and R*, R gains Q* (theory section 2)."""
        consolidation = self.problem.phases[index].consolidation
        assert consolidation is not None
        task = self.tasks.index(protected_task(self.problem, index))
        head = self.head_index[task]
        Q, R = self.overlap_blocks(blocks["overlaps"])
        T = np.broadcast_to(frame.T, (self.size, *frame.T.shape[1:]))
        law = int(self.own_laws.law[task])
        mean, variance = self.own_laws.students(law, Q, R, blocks.get("biases", 0.0))
        I2, J2 = self.unit_moments(mean, variance)
        v = (blocks["heads"][:, head] ** 2).sum(axis=1)
        importance = {"fisher": v * J2, "node": v, "quadratic": np.ones_like(J2)}
        weight = importance[consolidation.kind][:, np.newaxis]
        # The Fisher information of a weight is that of the inputs that it sees.
        ss = self.own_laws.ss[:, law, :, np.newaxis]
        weight = weight * (ss if consolidation.kind == "fisher" else np.ones_like(ss))
        given = consolidation.strength
        strength = self.values(given.values[-1] if isinstance(given, Schedule) else given)
        grown = replace(
            frame,
            T=np.ascontiguousarray(np.block([[T, R.swapaxes(-1, -2)], [R, Q]])),
            F=self._append(frame.F, strength[:, np.newaxis, np.newaxis] * weight),
            F_v=self._append(frame.F_v, strength[:, np.newaxis] * I2),
            v_anchor=self._append(frame.v_anchor, blocks["heads"][:, head]),
            anchor=np.vstack([frame.anchor, T.shape[-1] + np.arange(self.K)]),
            v_head=np.append(frame.v_head, head),
            held=(given, weight, I2),
        )
        found = {**blocks, "overlaps": self._joined(Q, np.concatenate([R, Q], axis=-1))}
        if frame.heavy:
            found["velocities"] = self.with_copies(blocks["velocities"], frame.T.shape[-1])
        return grown, found

    def with_copies(self, velocities: Floats, P: int) -> Floats:
        """Overlaps of velocities, those with copies made now as with the units themselves."""
        K, lead = self.K, velocities.shape[:-1]
        units, fixed, own = np.split(velocities, [K * K, K * K + K * P], axis=-1)
        both = [x.reshape(*lead, K, -1) for x in (fixed, units)]
        fixed = np.concatenate(both, axis=-1).reshape(*lead, -1)
        return np.concatenate([units, fixed, own], axis=-1)

    def unit_moments(self, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
        """I2(k, k) and J2(k, k) of units, (points, K) each."""
        if self.moments is not None and self.code != RELU:
            return self.moments.of_units(mean, variance)
        M, C = (np.ascontiguousarray(np.broadcast_to(x, (self.size, self.K))).ravel()
                for x in (mean, variance))  # fmt: skip
        I2, J2 = np.empty_like(M), np.empty_like(M)
        moments_of_units(self.code, M, C, self._width(0)[0], I2, J2)
        return I2.reshape(self.size, self.K), J2.reshape(self.size, self.K)

    def _append(self, before: Floats, row: Floats) -> Floats:
        whole = np.broadcast_to(before, (self.size, *before.shape[1:]))
        row = np.broadcast_to(row, (self.size, *row.shape[1:]))
        return np.ascontiguousarray(np.concatenate([whole, row[:, np.newaxis]], axis=1))

    def _width(self, copies: int) -> Floats:
        """Widths of the fields: units, fixed vectors, copies."""
        own = STRAIGHT if self.code == LINEAR else 1.0
        teacher = 0.0 if self.problem.teacher_activation == "sign" else own
        return np.repeat([own, teacher, own], [self.K, self.P, copies]).astype(float)


def has_means(problem: Problem) -> bool:
    """Whether any field can have a mean: without, moments are quicker."""
    moved = any(task.input_mean is not None for task in problem.tasks.values())
    return moved or problem.biases is not None or problem.teacher_biases is not None


def heavy_of(phase: Phase) -> int:
    """Whether a phase has momentum."""
    return int(phase.momentum_decay is not None)


def adaptive_of(phase: Phase) -> int:
    """The kernels' code of a phase's normalization."""
    if phase.normalization is None:
        return CONSTANT
    return RMS if isinstance(phase.normalization, RMSNorm) else ADAGRAD
