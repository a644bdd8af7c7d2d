"""What moves in time in a phase besides learning rates of whole layers, in a row of constants."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.packing import NOTHING, Drive, driven
from odekit.problem.schedule import Schedule
from odekit.systems.committee.drives import besides_rates, drives
from odekit.systems.committee.gradients.phasecolumns import LAYERS, MOMENTS, PhaseColumns
from odekit.systems.committee.gradients.places import Places
from odekit_kernels.integrators.batch import Driven


class Moving(NamedTuple):
    """Entries of a row that follow tables.

    Attributes
    ----------
    driven : Driven
    directions : ndarray, shape (moving, size)
        Derivatives of the row by what moves; 0 where no parameter asks.
    """

    driven: Driven
    directions: Floats

    def offset(self, rows: Floats, row: Floats) -> Floats:
        """By how much rows are off a row in what is driven, (rows, driven)."""
        entry = self.driven.entry
        return np.ascontiguousarray(rows[:, entry] - row[entry])


def moving(points: Any, own: PhaseColumns, frame: Any, places: Any, shared: Any) -> Moving:
    """What moves in a phase whose constants have these places."""
    if not own.moving and not own.phase.schedules:
        return Moving(NOTHING, np.zeros((0, shared.row.size)))
    every = besides_rates(drives(points, own.phase, frame, places), places)
    return Moving(driven(every), _directions(own, every, shared))


def _directions(own: PhaseColumns, every: list[Drive], shared: Any) -> Floats:
    tables = own.tables
    found = np.zeros((own.moving, shared.row.size))
    for drive in every:
        found[own.which(drive.schedule) - len(LAYERS), drive.entry] = drive.scale[0]
    for i, turn in enumerate(own.turns, start=len(tables)):
        for name, entry, slope in turn:
            found[i, shared.first[name] + entry] = slope
    asked = {which - len(LAYERS) for which, *_ in own.rates}
    found[[i for i in range(own.moving) if i not in asked]] = 0.0
    return found


def of_laws(points: Any, columns: Any, own: PhaseColumns, phase: Any) -> dict[str, Floats]:
    """Derivatives of laws of inputs in a phase: those of the problem, then its own."""
    given = list(phase.input_variance or ())
    found = {name: getattr(columns, name) for name in (*MOMENTS, "gain", "mean")}
    if not given:
        return found
    laws = points.own_laws if hasattr(points, "own_laws") else points.seen
    own_law = [int(laws.law[points.tasks.index(name)]) for name in given]
    more = {name: getattr(own, name) for name in MOMENTS}
    more |= {name: found[name][own_law] for name in ("gain", "mean")}
    return {name: np.concatenate([part, more[name]]) for name, part in found.items()}


def of_noise(points: Any, columns: Any, own: PhaseColumns, phase: Any) -> Floats:
    """Derivatives of the label noise of the tasks of a phase, (S, [O,] m)."""
    places = [points.tasks.index(name) for name in phase.mixture]
    found = columns.sigma[places]
    for s, name in enumerate(phase.mixture):
        if name in (phase.noise_std or ()):
            found[s] = own.sigma[s]
    return np.asarray(found)


def held(places: Places, frame: Any) -> tuple[Schedule, Any] | None:
    """The table of the strength of the phase's own consolidation, and which of θ it scales."""
    if frame.held is None or not isinstance(frame.held[0], Schedule):
        return None
    scaled = np.concatenate([places.F[-1].ravel(), places.F_v[-1]])
    return frame.held[0], scaled - places.n
