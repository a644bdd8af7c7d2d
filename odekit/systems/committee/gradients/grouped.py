"""The same with groups of inputs, or views of them: by the Jacobian, and by differences.

What a phase's row of constants holds moves along directions, one for each parameter of the phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.points import rows_of
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.kernels import ErrorSlopes, Kernels
from odekit.systems.committee.points import widened
from odekit_kernels.committee.equations import decode_with_groups
from odekit_kernels.committee.memory import constants
from odekit_kernels.committee.replay import Course
from odekit_kernels.committee.stencil import GroupsTape, fill_stages, pull_error
from odekit_kernels.integrators import variations
from odekit_kernels.integrators.variations import Stages, make_stages
from odekit_kernels.lanes.memory import firsts

QUADRATIC = 0.25
"""Step, in units of the direction, along which f is at most quadratic: differences are exact."""
SMOOTH = 2e-3
"""Step, relative to what is changed, of differences of fourth order: 1e-12 of f where they end."""
CURVED = ("T", "share", "ss", "st", "tt")
"""Constants on which f depends by more than a square."""
MOST_AT_ONCE = 2**24
"""Numbers (128 MiB) of derivatives at stages that are held at once."""


@dataclass
class Shared:
    """What phases of the same tasks have in common.

    Attributes
    ----------
    plan, wiring
    first, size : dict of str to int
        Where each constant begins in a row, and of how many numbers it is.
    row : ndarray, shape (size,)
        Constants of one of them.
    along, of_frame : ndarray, shapes (m, size) and (frame, size)
        Directions of the parameters that tasks are made of, and of what is carried of the frame.
    """

    plan: Any
    wiring: Any
    first: dict[str, int]
    size: dict[str, int]
    row: Floats
    along: Floats
    of_frame: Floats


def kernels_of(points: Any, index: int, phase: Any, frame: Any, columns: Columns) -> Kernels:
    """Those of the reverse pass for white inputs, else those by the Jacobian."""
    kind = GroupsKernels if points.G else Kernels
    return kind(points, index, phase, frame, columns)


class GroupsKernels(Kernels):
    """Groups of inputs, or views of them: differences along directions in the row of constants."""

    def _committee(self, phase: Any, frame: Any) -> Any:
        own = self._shared(phase, frame, ())
        self.row = self.points.constants(phase, frame, own.plan)[0]
        return decode_with_groups(own.plan, own.wiring, self.row)

    def _prepare(self, phase: Any, frame: Any) -> None:
        points, places, m = self.points, self.places, self.columns.m
        every = replace(
            phase, tasks=dict.fromkeys(points.tasks, 1.0 / len(points.tasks)), until=None,
            consolidation=None, copy_heads=None, learning_rate=0.0,
        )  # fmt: skip
        own = self._shared(phase, frame, ())
        whole = self._shared(every, frame, ("row",))
        row, along = self.row, own.along.copy()
        kappa = self.own.kappa
        parts = {"p": self.own.p, "pace": self.own.pace, "kappa_w": kappa[:1], "kappa_v": kappa[1:]}
        for name, part in parts.items():
            along[:, own.first[name] + np.arange(len(part))] += part.T
        active = np.flatnonzero(along.any(axis=1) | whole.along.any(axis=1))
        self.theta = np.zeros((active.size, m))
        self.theta[np.arange(active.size), active] = 1.0
        moves, moves_whole = (
            np.concatenate([one.of_frame, directions[active]])
            for one, directions in ((own, along), (whole, whole.along))
        )
        self.kept: Stages | None = None
        self.d = len(moves)
        n, D, wants = places.n, places.K + places.P, np.zeros(2)
        wants[[layer for layer, *_ in self.own.rates]] = 1.0
        self.tape = GroupsTape(
            own.plan, own.wiring, whole.plan, whole.wiring, *_stencil(own, row, moves), whole.row,
            moves_whole, wants, np.zeros((n, n)), np.zeros(n), np.zeros((D, D)), np.zeros(D),
            np.zeros(D), np.zeros(4), np.zeros(len(whole.row)), self.work,
        )  # fmt: skip

    def _shared(self, phase: Any, frame: Any, kind: tuple[str, ...]) -> Shared:
        """What phases of the same tasks have in common, found once."""
        key = (id(frame), *phase.mixture, *phase.thresholds, phase.gradient_flow, *kind)
        key = (*key, *(phase.frozen or ()))
        memory = self.columns.memory
        if key not in memory:
            plan = self.points.plan(phase, frame)
            row = self.points.constants(phase, frame, plan)[0]
            # The frame is kept, so that no other has its id.
            memory[key] = frame, Shared(
                plan, self.points.wiring(phase, frame, plan), firsts(constants(plan)),
                {name: at.size for name, at in constants(plan).items()}, row,
                self._directions(phase, plan), self._of_frame(plan, len(row)),
            )  # fmt: skip
        found: Shared = memory[key][1]
        return found

    def slopes(self, q: int) -> Any:
        """Nothing: derivatives at stages are found before."""
        del q
        return None, None

    def errors(self, y: Floats) -> tuple[Floats, ErrorSlopes]:
        """Errors of all tasks, and their derivatives."""
        W, n, frame, d = len(self.points.tasks), self.places.n, self.places.frame, self.d
        by_y, by_theta = np.zeros((W, n)), np.zeros((W, d))
        found = [pull_error(y, w, self.tape, by_y[w], by_theta[w]) for w in range(W)]
        direct = by_theta[:, frame:] @ self.theta
        return np.array(found), ErrorSlopes(by_y, by_theta[:, :frame], direct)

    def integrals(self, course: Course, pair: Any, Z: Floats, rows: int) -> Floats:
        """Move integrals of the errors (W,) along steps; what they are at the rows, (rows, W)."""
        out = np.zeros((rows, Z.size))
        for part, stages in self._blocks(course, pair, Z.size) if Z.size else ():
            pieces = part.h[:, np.newaxis] * np.einsum("s,tsw->tw", pair.B, stages.e)
            whole = Z + np.cumsum(pieces, axis=0)
            here = part.row >= 0
            out[part.row[here]], Z[:] = whole[here], whole[-1]
        return out

    def forward(
        self, course: Course, pair: Any, S: Floats, Z: Floats, theta: Floats, along: Any,
        by_rate: Floats, rows: int,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Move sensitivities of state and integrals along steps; what they are at the rows."""
        out_S, out_Z = np.zeros((rows, *S.shape)), np.zeros((rows, *Z.shape))
        begin = 0
        for part, stages in self._blocks(course, pair, len(Z)):
            end = begin + part.h.size
            rates = np.ascontiguousarray(by_rate[:, begin:end])
            variations.forward(
                stages, part.h, part.row, pair.A, pair.B, S, theta, along, rates, Z, out_S, out_Z
            )
            begin = end
        return out_S, out_Z

    def backward(
        self, course: Course, pair: Any, lam: Floats, zeta: Floats, bump: Floats,
        bump_zeta: Floats, by_rate: Floats,
    ) -> Floats:  # fmt: skip
        """Move derivatives by state and integrals back; those by frame and θ, (q, …)."""
        found, end = np.zeros((len(lam), self.d)), course.h.size
        for part, stages in self._blocks(course, pair, zeta.shape[1], back=True):
            begin = end - part.h.size
            rates = np.zeros((len(lam), part.h.size, pair.B.size, 2))
            variations.backward(
                stages, part.h, part.row, pair.A, pair.B, lam, zeta, bump, bump_zeta, found, rates
            )
            by_rate[:, begin:end], end = rates, begin
        return found

    def _blocks(
        self, course: Course, pair: Any, W: int, *, back: bool = False
    ) -> Iterator[tuple[Course, Stages]]:
        """Some steps at a time, and derivatives at their stages; all are kept if they may be."""
        n, s, steps = self.places.n, pair.B.size, course.h.size
        most = max(MOST_AT_ONCE // (s * (n * (n + self.d + 2) + W * (n + self.d + 1))), 1)
        begins = range(0, steps, most)
        for begin in reversed(begins) if back else begins:
            part = Course(*(array[begin : begin + most] for array in course))
            stages = self.kept if len(begins) == 1 else None
            if stages is None or stages.e.shape[2] != W:
                stages = make_stages(part.h.size, s, n, self.d, W)
                fill_stages(part, pair, self.committee, self.work, self.tape, W, stages)
            self.kept = stages if len(begins) == 1 else None
            yield part, stages

    def _of_frame(self, plan: Any, size: int) -> Floats:
        """Unit rows of what is carried of the frame; zeros where nothing is."""
        places, first = self.places, firsts(constants(plan))
        found = np.zeros((places.frame, size))
        if self.columns.carries_frame:
            at = np.concatenate([
                first[name] + np.arange(part.size)
                for name, part in (("T", places.T), ("F", places.F), ("F_v", places.F_v),
                                   ("v_anchor", places.v_anchor))
            ])  # fmt: skip
            found[np.arange(places.frame), at] = 1.0
        return found

    def _directions(self, phase: Any, plan: Any) -> Floats:
        """Derivatives, by all parameters, of what tasks are, in a row of constants: (m, size)."""
        columns, m = self.columns, self.columns.m
        places = [self.points.tasks.index(name) for name in phase.mixture]
        given: dict[str, Floats] = {
            "u": widened(np.moveaxis(columns.u[places], -1, 0), self.places.P - self.points.P),
            "sigma": columns.sigma[places].T,
            **{name: np.moveaxis(getattr(columns, name), -1, 0) for name in ("ss", "st", "tt")},
        }
        wanted = constants(plan)
        zeros = {name: np.zeros((1, at.size)) for name, at in wanted.items()}
        found = rows_of(wanted, zeros | given)
        return np.array(np.broadcast_to(found, (m, found.shape[1])))


def _stencil(shared: Shared, row: Floats, along: Floats) -> tuple[Floats, Floats, Any]:
    """Shifted rows, their weights, and the direction that each belongs to."""
    curved = np.zeros(row.size, dtype=bool)
    scale = np.ones(row.size)
    for name in CURVED:
        place = slice(shared.first[name], shared.first[name] + shared.size[name])
        curved[place] = True
        scale[place] = max(np.abs(row[place]).max(initial=0.0), 1e-300)
    rows, weights, entries = [], [], []
    for d in np.flatnonzero(along.any(axis=1)):
        direction = along[d]
        if direction[curved].any():
            h = SMOOTH / np.abs(direction / scale)[curved].max()
            shifts = {h: 8.0, -h: -8.0, 2 * h: -1.0, -2 * h: 1.0}
            over = 12.0 * h
        else:
            h = QUADRATIC / np.abs(direction).max()
            shifts, over = {h: 1.0, -h: -1.0}, 2.0 * h
        for shift, weight in shifts.items():
            rows.append(row + shift * direction)
            weights.append(weight / over)
            entries.append(d)
    shape = (len(rows), row.size)
    return np.array(rows).reshape(shape), np.array(weights), np.array(entries, dtype=np.int64)
