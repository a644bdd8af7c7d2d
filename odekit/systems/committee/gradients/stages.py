"""Derivatives through a phase by what its stages need of the equations: of any plan.

What a phase's row of constants holds moves along directions, one for each parameter of the phase.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.systems.committee.gradients.kernels import Kernels
from odekit_kernels.committee.replay import Course
from odekit_kernels.integrators import variations
from odekit_kernels.integrators.runge_kutta import Pair
from odekit_kernels.integrators.variations import Stages, make_stages

QUADRATIC = 0.25
"""Step, in units of the direction, along which f is at most quadratic: differences are exact."""
SMOOTH = 2e-3
"""Step, relative to what is changed, of differences of fourth order: 1e-12 of f where they end."""
POLYNOMIAL = ("keep",)
"""Constants of which f is a polynomial of degree four: differences of fourth order are exact."""
CURVED = ("T", "share", "ss", "st", "tt", "gain", "mean", "bias", "floor")
"""Constants on which f depends by more than that."""
STANDING = Pair(
    np.zeros((1, 1)), np.ones(1), np.zeros(1), np.zeros(2), np.zeros(2), -1.0
)  # fmt: skip
"""A step's only stage, where it begins."""
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

    def scale(self, row: Floats, moved: Any) -> Floats:
        """By which a row's numbers are shifted where f is more than quadratic; ∞ elsewhere."""
        found = np.full(row.size, np.inf)
        for place, polynomial in self._curved:
            if moved[place].any():
                largest = float(np.abs(row[place]).max(initial=0.0))
                found[place] = QUADRATIC / SMOOTH if polynomial else largest or 1.0
        return found

    @cached_property
    def _curved(self) -> list[tuple[slice, bool]]:
        """Where constants stand on which f depends by more, and whether as a polynomial."""
        return [
            (slice(self.first[name], self.first[name] + self.size[name]), name in POLYNOMIAL)
            for name in (*POLYNOMIAL, *CURVED)
            if name in self.first
        ]


class ByStages(Kernels, ABC):
    """Any plan whose `_fill` finds the derivatives at the stages of recorded steps.

    Attributes
    ----------
    kept : Stages or None
    held : (Schedule, ndarray of int) or None
        See `moving.held`.
    """

    kept: Stages | None = None
    replays = False
    held: tuple[Schedule, Any] | None = None

    @abstractmethod
    def _fill(self, course: Course, pair: Any, W: int, stages: Stages) -> None:
        """Write the derivatives at the stages of some steps, and of W errors, to `stages`."""

    @property
    def wants(self) -> Floats:
        """1.0 where the derivative by a layer's learning rate is wanted, (2,)."""
        asked = {which for which, *_ in self.own.rates}
        return np.array([float(layer in asked) for layer in range(2)])

    @staticmethod
    def apart(phase: Any) -> int | None:
        """What tells a phase from others of the same tasks if its numbers are its own."""
        own = phase.curves or phase.noise_std or phase.input_variance
        return id(phase) if own else None

    def slopes(self, q: int) -> Any:
        """Nothing: derivatives at stages are found before."""
        del q
        return None, None

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
            rates = np.zeros((len(lam), part.h.size, pair.B.size, 2 + self.more))
            variations.backward(
                stages, part.h, part.row, pair.A, pair.B, lam, zeta, bump, bump_zeta, found, rates
            )
            by_rate[:, begin:end], end = rates, begin
        return found

    def linearised(self, states: Floats, times: Floats, W: int) -> Stages:
        """See `Kernels`: each state is a step of one stage, which stands where it begins."""
        state, since = np.ascontiguousarray(states), np.ascontiguousarray(times)
        row = np.full(since.size, -1, dtype=np.int64)
        rates = self.rates(since)[:, np.newaxis]
        none = np.zeros((0, 1, self.places.n))
        course = Course(since, np.zeros(since.size), state, rates, row, none)
        return self._filled(course, STANDING, W)

    def _filled(self, course: Course, pair: Any, W: int) -> Stages:
        """Derivatives at the stages of some steps, and of W errors."""
        n, s = self.places.n, pair.B.size
        found = make_stages(course.h.size, s, n, self.d, W, self.more)
        self._fill(course, pair, W, found)
        if self.held is not None:
            # Of a consolidation whose strength moves what is carried is that of one of strength 1.
            table, scaled = self.held
            times = course.t[:, np.newaxis] + course.h[:, np.newaxis] * pair.C[:s]
            found.f[..., scaled] *= table.at(times.ravel()).reshape(*times.shape, 1, 1)
        return found

    def _blocks(
        self, course: Course, pair: Any, W: int, *, back: bool = False
    ) -> Iterator[tuple[Course, Stages]]:
        """Some steps at a time, and derivatives at their stages; all are kept if they may be."""
        n, s, steps = self.places.n, pair.B.size, course.h.size
        most = max(MOST_AT_ONCE // (s * (n * (n + self.d + 2) + W * (n + self.d + 1))), 1)
        begins = range(0, steps, most)
        for begin in reversed(begins) if back else begins:
            arrays: Any = (array[begin : begin + most] for array in course)
            part = Course(*arrays)
            stages = self.kept if len(begins) == 1 else None
            if stages is None or stages.e.shape[2] != W:
                stages = self._filled(part, pair, W)
            self.kept = stages if len(begins) == 1 else None
            yield part, stages

    def _unit_rows(self, first: dict[str, int], size: int) -> Floats:
        """Unit rows of what is carried of the frame; zeros where nothing is."""
        places = self.places
        found = np.zeros((places.frame, size))
        if self.columns.carries_frame:
            at = np.concatenate([
                first[name] + np.arange(part.size)
                for name, part in (("T", places.T), ("F", places.F), ("F_v", places.F_v),
                                   ("v_anchor", places.v_anchor))
            ])  # fmt: skip
            found[np.arange(places.frame), at] = 1.0
        return found


def stencil(shared: Shared, row: Floats, along: Floats) -> tuple[Any, Any, Any]:
    """Shifted rows, their weights, and the direction that each belongs to."""
    moved = np.flatnonzero(along.any(axis=1))
    some = np.abs(along[moved])
    bends = (some / shared.scale(row, some.any(axis=0))).max(axis=1, initial=0.0)
    rows, weights, entries = [], [], []
    for d, bend, size in zip(moved, bends.tolist(), some, strict=True):
        if bend > 0.0:
            h = SMOOTH / bend
            shifts, over = [(h, 8.0), (-h, -8.0), (2.0 * h, -1.0), (-2.0 * h, 1.0)], 12.0 * h
        else:
            h = QUADRATIC / float(size.max())
            shifts, over = [(h, 1.0), (-h, -1.0)], 2.0 * h
        rows += [row + shift * along[d] for shift, _ in shifts]
        weights += [weight / over for _, weight in shifts]
        entries += [d] * len(shifts)
    shape = (len(rows), row.size)
    return np.array(rows).reshape(shape), np.array(weights), np.array(entries, dtype=np.int64)
