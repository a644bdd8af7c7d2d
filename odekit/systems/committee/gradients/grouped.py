"""Groups of inputs, or views of them: by the Jacobian, and by differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.points import rows_of
from odekit.systems.committee.gradients.kernels import ErrorSlopes
from odekit.systems.committee.gradients.moving import held, moving, of_laws, of_noise
from odekit.systems.committee.gradients.phasecolumns import MOMENTS
from odekit.systems.committee.gradients.stages import ByStages, Shared, stencil
from odekit.systems.committee.points import widened
from odekit_kernels.committee.equations import decode_with_groups
from odekit_kernels.committee.groups import jacobian
from odekit_kernels.committee.memory import constants
from odekit_kernels.committee.replay import Course
from odekit_kernels.committee.stencil import GroupsTape, fill_stages, pull_error
from odekit_kernels.integrators.variations import Stages
from odekit_kernels.lanes.memory import firsts


class GroupsKernels(ByStages):
    """A phase with groups of inputs."""

    def _committee(self, phase: Any, frame: Any) -> Any:
        own = self._shared(phase, frame, ())
        self.row = self.points.constants(phase, frame, own.plan)[0]
        return decode_with_groups(own.plan, own.wiring, self.row)

    def _prepare(self, phase: Any, frame: Any) -> None:
        points, places, m = self.points, self.places, self.columns.m
        every = replace(
            phase, tasks=dict.fromkeys(points.tasks, 1.0 / len(points.tasks)), until=None,
            consolidation=None, copy_heads=None, learning_rate=0.0, noise_std=None,
            input_variance=None, weight_decay=0.0, readout_weight_decay=0.0,
        )  # fmt: skip
        own = self._shared(phase, frame, ())
        whole = self._shared(every, frame, ("row",))
        row, along = self.row, own.along.copy()
        found = moving(points, self.own, frame, constants(own.plan), own)
        self.more, self.held = self.own.moving, held(self.places, frame)
        kappa = self.own.kappa
        parts = {"p": self.own.p, "pace": self.own.pace, "kappa_w": kappa[:1], "kappa_v": kappa[1:]}
        for name, part in parts.items():
            along[:, own.first[name] : own.first[name] + len(part)] += part.T
        active = np.flatnonzero(along.any(axis=1) | whole.along.any(axis=1))
        self.theta = np.zeros((active.size, m))
        self.theta[np.arange(active.size), active] = 1.0
        moves, moves_whole = (
            np.concatenate([one.of_frame, directions[active]])
            for one, directions in ((own, along), (whole, whole.along))
        )
        n, D = places.n, places.K + places.P
        around: tuple[Any, Any, Any] = stencil(own, row, np.concatenate([moves, found.directions]))
        self.tape = GroupsTape(
            own.plan, own.wiring, whole.plan, whole.wiring, row, found.driven, *around,
            found.offset(around[0], row), whole.row, moves_whole, self.wants,
            np.zeros((n, n)), np.zeros(n), np.zeros((D, D)), np.zeros(D), np.zeros(D), np.zeros(4),
            np.zeros(len(whole.row)), self.work,
        )  # fmt: skip

    def _shared(self, phase: Any, frame: Any, kind: tuple[str, ...]) -> Shared:
        """What phases of the same tasks have in common, found once."""
        key = (id(frame), *phase.mixture, *phase.thresholds, phase.gradient_flow, *kind)
        key = (*key, *(phase.frozen or ()), self.apart(phase))
        memory = self.columns.memory
        if key not in memory:
            plan = self.points.plan(phase, frame)
            row, first = self.points.constants(phase, frame, plan)[0], firsts(constants(plan))
            # The frame is kept, so that no other has its id.
            memory[key] = frame, Shared(
                plan, self.points.wiring(phase, frame, plan), first,
                {name: at.size for name, at in constants(plan).items()}, row,
                self._directions(phase, plan), self._unit_rows(first, len(row)),
            )  # fmt: skip
        found: Shared = memory[key][1]
        return found

    def _fill(self, course: Course, pair: Any, W: int, stages: Stages) -> None:
        fill_stages(course, pair, self.work, self.tape, W, stages)

    def _fill_jacobian(self, y: Floats, eta_w: float, eta_v: float, J: Floats) -> None:
        system = decode_with_groups(self.tape.plan, self.tape.wiring, self.tape.row)
        jacobian(y, eta_w, eta_v, system, self.work, J)

    def errors(self, y: Floats) -> tuple[Floats, ErrorSlopes]:
        """Errors of all tasks, and their derivatives."""
        W, n, frame, d = len(self.points.tasks), self.places.n, self.places.frame, self.d
        by_y, by_theta = np.zeros((W, n)), np.zeros((W, d))
        found = [pull_error(y, w, self.tape, by_y[w], by_theta[w]) for w in range(W)]
        direct = by_theta[:, frame:] @ self.theta
        return np.array(found), ErrorSlopes(by_y, by_theta[:, :frame], direct)

    def _directions(self, phase: Any, plan: Any) -> Floats:
        """Derivatives, by all parameters, of what tasks are, in a row of constants: (m, size)."""
        columns, m = self.columns, self.columns.m
        places = [self.points.tasks.index(name) for name in phase.mixture]
        given: dict[str, Floats] = {
            "u": widened(np.moveaxis(columns.u[places], -1, 0), self.places.P - self.points.P),
            "sigma": of_noise(self.points, columns, self.own, phase).T,
        }
        laws = of_laws(self.points, columns, self.own, phase)
        given |= {name: np.moveaxis(laws[name], -1, 0) for name in MOMENTS}
        wanted = constants(plan)
        zeros = {name: np.zeros((1, at.size)) for name, at in wanted.items()}
        found = rows_of(wanted, zeros | given)
        return np.array(np.broadcast_to(found, (m, found.shape[1])))
