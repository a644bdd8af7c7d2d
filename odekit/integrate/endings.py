"""Where phases of a sweep end, and how their lengths depend on the numbers differentiated by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Flags, Floats, Indices
from odekit.integrate.differences import Ghosts, Slope, parts_of, slope
from odekit.integrate.extended import Extended, Packing
from odekit_kernels.integrators.batch import BEGIN, END, TIME

LATE = 1e-5
"""Distance of the state, from the threshold at which a phase ends, that one step of a Taylor series
may bridge: it leaves the square of that."""


class Ends(NamedTuple):
    """When phases end that may do so by a threshold.

    Attributes
    ----------
    times : ndarray, shape (points, phases)
        NaN of points that do not reach their end. Good to what dense output is; they are
        corrected.
    hit : ndarray of bool, shape (points, phases)
        Whether by the threshold.
    """

    times: Floats
    hit: Flags


class Ending:
    """The end of a phase at all points.

    Parameters
    ----------
    packing, ghosts, index
        As for `extended`.
    flow : Extended
    numbers : ndarray
        Those of the batch.
    at, along
        Frame and states there, and their derivatives; views of those of the batch.
    ends : Ends or None
    threads : int

    Attributes
    ----------
    doubt : ndarray of bool, shape (points,)
        Points of which it says nothing.
    """

    def __init__(
        self,
        packing: Packing,
        ghosts: Sequence[Ghosts],
        index: int,
        flow: Extended,
        numbers: Floats,
        at: tuple[Any, Floats],
        along: Sequence[Sequence[Floats]],
        ends: Ends | None,
        threads: int,
    ) -> None:
        self.packing, self.ghosts, self.index, self.flow = packing, ghosts, index, flow
        self.numbers, self.at, self.along, self.threads = numbers, at, along, threads
        self.everyone, self.doubt = np.arange(len(numbers)), np.zeros(len(numbers), dtype=bool)
        self.by_threshold = np.zeros_like(self.doubt) if ends is None else ends.hit[:, index]
        # Thresholds that are met as a phase begins do not move its end.
        self.hit = self.by_threshold & (numbers[:, END] > numbers[:, BEGIN])

    def rates(self) -> Floats:
        """Time derivatives of the states."""
        return self.flow.rates(self.at[1], self.everyone, self._since, self.threads)

    @property
    def _since(self) -> Floats:
        since: Floats = self.numbers[:, TIME] - self.numbers[:, BEGIN]
        return since

    def correct(self) -> None:
        """Go to the thresholds, from where the dense output of another run saw them."""
        (off, _, falls), rates = self._falls(), self.rates()
        late = off / falls
        far, size = np.abs(late) * np.abs(rates).max(axis=1), np.abs(self.at[1]).max(axis=1)
        near = far <= LATE * (1.0 + size)
        self.doubt |= self.hit & ~near
        moved = self.hit & near
        late = np.where(moved, late, 0.0)
        y, since = self.at[1], self._since
        tangents = [
            self.flow.rates_along(y, along[-1], j, since, self.threads)
            for j, along in enumerate(self.along)
        ]
        step = late[:, np.newaxis] * np.concatenate([rates, *tangents], axis=1)
        self.flow.batch.y[moved] -= step[moved]
        self.numbers[:, TIME] -= late

    def paces(self) -> Floats:
        """Derivatives of the length of the phase, (points, m)."""
        found = np.zeros((len(self.doubt), len(self.ghosts)))
        lasting = ~self.by_threshold

        def duration(p: Packing, _: Any) -> Any:
            return p.points.values(p.phases[self.index].duration)

        for j, ghosts in enumerate(self.ghosts):
            by = self._kept(slope(duration, self.packing, (), ghosts=ghosts), lasting)[0]
            found[:, j] = np.where(lasting, by, 0.0)
        if self.hit.any():
            self._of_thresholds(found)
        return found

    def _of_thresholds(self, found: Floats) -> None:
        _, last, falls = self._falls()
        for j, (ghosts, along) in enumerate(zip(self.ghosts, self.along, strict=True)):
            by = slope(self._watched, self.packing, self.at, ghosts=ghosts, along=along)
            errors, levels = self._kept(by, self.hit)
            pace = self._of_last(levels - errors, last) / falls
            self.doubt |= self.hit & ~np.isfinite(pace)
            found[self.hit, j] = pace[self.hit]

    def _watched(self, p: Packing, at: Any) -> Any:
        """Errors of the tasks that may end the phase, and their levels."""
        tasks = p.points.watched(p.phases[self.index])
        return p.points.errors(at[1], tasks, at[0]), p.points.levels(p.phases[self.index])

    def _falls(self) -> tuple[Floats, Indices, Floats]:
        """How far off the threshold that is reached last is, which it is, and its pace."""
        errors, levels = self._watched(self.packing, self.at)
        last = np.argmax(errors / levels, axis=1)
        still = [np.zeros_like(part) for part in parts_of(self.at)[:-1]]
        along = slope(self._watched, self.packing, self.at, along=[*still, self.rates()])
        by_time = self._of_last(self._kept(along, self.hit)[0], last)
        return self._of_last(errors - levels, last), last, by_time

    def _kept(self, found: Slope, used: Flags) -> list[Floats]:
        self.doubt |= found.doubt & used
        return found.parts

    def _of_last(self, values: Floats, last: Indices) -> Floats:
        whole = np.broadcast_to(values, (len(last), values.shape[1]))
        return np.take_along_axis(whole, last[:, np.newaxis], axis=1)[:, 0]
