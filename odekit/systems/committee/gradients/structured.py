"""Structured problems: outputs, means, biases, dropout, momentum; by differences throughout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.points import rows_of
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.grouped import GroupsKernels
from odekit.systems.committee.gradients.kernels import ErrorSlopes, Kernels
from odekit.systems.committee.gradients.moving import held, moving, of_laws, of_noise
from odekit.systems.committee.gradients.places import Places, is_structured, of_frame
from odekit.systems.committee.gradients.stages import ByStages, Shared, stencil
from odekit_kernels.committee.general.plan import constants
from odekit_kernels.committee.general.stages import (
    GeneralTape,
    errors_and_slopes,
    fill_jacobian,
    fill_stages,
)
from odekit_kernels.committee.replay import Course
from odekit_kernels.committee.tape import Watch
from odekit_kernels.integrators.variations import Stages
from odekit_kernels.lanes.memory import firsts, make_memory, places_of


def kernels_of(points: Any, index: int, phase: Any, frame: Any, columns: Columns) -> Kernels:
    """Those of the reverse pass for white inputs, else those by the Jacobian."""
    if is_structured(points):
        return GeneralKernels(points, index, phase, frame, columns)
    kind = GroupsKernels if points.G else Kernels
    return kind(points, index, phase, frame, columns)


@dataclass
class General(Shared):
    """Besides, where constants stand in a memory, two memories, and shifted rows of the errors."""

    places: Any
    memories: tuple[Floats, Floats]
    stencil: Any


class GeneralKernels(ByStages):
    """A phase of a structured problem."""

    def __init__(self, points: Any, index: int, phase: Any, frame: Any, columns: Columns) -> None:
        self.points, self.columns, self.own = points, columns, columns.phases[index]
        self.places: Places = of_frame(points, frame, 0)
        self.committee = self.work = None
        none = np.zeros(0, dtype=np.int64)
        self.watch = Watch(np.zeros((0, 0)), none, none)
        self._prepare(phase, frame)

    def _prepare(self, phase: Any, frame: Any) -> None:
        points, m, n, W = self.points, self.columns.m, self.places.n, len(self.points.tasks)
        own, whole = self._shared(phase, frame), self._shared(phase, frame, whole=True)
        # Packed whole for each of many phases, rows took longer than the run.
        row, along = own.row.copy(), own.along.copy()
        for name, value in points.own_numbers(phase).items():
            row[own.first[name] : own.first[name] + own.size[name]] = value[0].ravel()
        kappa = self.own.kappa
        parts = {
            "p": self.own.p, "pace": self.own.pace, "kappa_w": kappa[:1], "kappa_v": kappa[1:],
            "keep": self.own.keep, "eta_b": self.own.eta_b[np.newaxis],
            "friction": self.own.friction[np.newaxis],
        }  # fmt: skip
        for name, part in parts.items():
            if part.any():
                along[:, own.first[name] : own.first[name] + len(part)] += part.T
        active = np.flatnonzero(along.any(axis=1) | whole.along.any(axis=1))
        self.theta = np.zeros((active.size, m))
        self.theta[np.arange(active.size), active] = 1.0
        moves = np.concatenate([own.of_frame, along[active]])
        found = moving(points, self.own, frame, constants(own.plan), own)
        self.more, self.held = self.own.moving, held(self.places, frame)
        shifted, weight, entry = whole.stencil
        # Directions of the errors count all parameters: here those of the phase.
        number = np.zeros(len(whole.of_frame) + m, dtype=np.int64)
        number[: len(whole.of_frame)] = np.arange(len(whole.of_frame))
        number[len(whole.of_frame) + active] = len(whole.of_frame) + np.arange(active.size)
        around: tuple[Any, Any, Any] = stencil(own, row, np.concatenate([moves, found.directions]))
        self.tape = GeneralTape(
            own.plan, whole.plan, own.wiring, whole.wiring, *_memories(own.plan, own.places, row),
            *whole.memories, own.places, whole.places, row, whole.row, found.driven, *around,
            found.offset(around[0], row), shifted, weight, number[entry],
            self.wants, np.zeros((n, n)), np.zeros(n), np.zeros(W), np.zeros((1, n)),
        )  # fmt: skip

    def _shared(self, phase: Any, frame: Any, *, whole: bool = False) -> General:
        """What phases of the same tasks have in common, found once."""
        of_frame = (frame.T.tobytes(), frame.F.tobytes(), frame.heavy, frame.adaptive)
        key = (*of_frame, *phase.mixture, *phase.thresholds, phase.gradient_flow)
        memory, key = self.columns.memory, (*key, *(phase.frozen or ()), whole or self.apart(phase))
        if key not in memory:
            if whole:
                tasks = self.points.tasks
                phase = replace(
                    phase, tasks=dict.fromkeys(tasks, 1.0 / len(tasks)), consolidation=None,
                    until=dict.fromkeys(tasks, 1.0), learning_rate=0.0, keep_probability=1.0,
                    copy_heads=None, noise_std=None, input_variance=None, weight_decay=0.0,
                    readout_weight_decay=0.0,
                )  # fmt: skip
            plan = self.points.plan(phase, frame)
            row, first = self.points.constants(phase, frame, plan)[0], firsts(constants(plan))
            places = places_of(constants(plan))
            made = General(
                plan, self.points.wiring(phase, frame), first,
                {name: at.size for name, at in constants(plan).items()}, row,
                self._directions(phase, plan, whole=whole), self._unit_rows(first, len(row)),
                places, _memories(plan, places, row), (),
            )  # fmt: skip
            if whole:
                moves = np.concatenate([made.of_frame, made.along])
                made = replace(made, stencil=stencil(made, row, moves))
            memory[key] = made
        found: General = memory[key]
        return found

    def _directions(self, phase: Any, plan: Any, *, whole: bool) -> Floats:
        """Derivatives, by all parameters, of what tasks are, in a row of constants: (m, size)."""
        columns = self.columns
        places = [self.points.tasks.index(name) for name in phase.mixture]
        parts = of_laws(self.points, columns, self.own, phase)
        parts |= {"u": columns.u[places], "label": columns.label[places], "bias": columns.bias}
        parts |= {"sigma": of_noise(self.points, columns, self.own, phase)}
        if whole:  # what errors alone depend on
            parts |= {"watched": columns.u, "watched_label": columns.label, "scale": columns.scale}
        for name in {"u", "watched", "mean", "bias"} & parts.keys():  # of fixed vectors
            none = [(0, 0)] * parts[name].ndim
            none[-2] = (0, self.places.P - self.points.P)
            parts[name] = np.pad(parts[name], none)
        given = {name: np.moveaxis(part, -1, 0) for name, part in parts.items()}
        wanted = constants(plan)
        zeros = {name: np.zeros((1, at.size)) for name, at in wanted.items()}
        found = rows_of(wanted, zeros | given)
        return np.array(np.broadcast_to(found, (columns.m, found.shape[1])))

    def _fill(self, course: Course, pair: Any, W: int, stages: Stages) -> None:
        fill_stages(course, pair, self.tape, W, stages)

    def _fill_jacobian(self, y: Floats, eta_w: float, eta_v: float, J: Floats) -> None:
        fill_jacobian(y, eta_w, eta_v, self.tape, J)

    def errors(self, y: Floats) -> tuple[Floats, ErrorSlopes]:
        """Errors of all tasks, and their derivatives."""
        W, n, frame = len(self.points.tasks), self.places.n, self.places.frame
        found, by_y, by_theta = np.zeros(W), np.zeros((W, n)), np.zeros((W, self.d))
        errors_and_slopes(y, self.tape, found, by_y, by_theta)
        return found, ErrorSlopes(by_y, by_theta[:, :frame], by_theta[:, frame:] @ self.theta)


def _memories(plan: Any, places: Any, row: Floats) -> tuple[Floats, Floats]:
    """Of one trajectory, and of eight."""
    one, eight = np.zeros(plan.size), make_memory(plan.size)
    one[places] = row
    eight[:] = one[:, np.newaxis]
    return one, eight
