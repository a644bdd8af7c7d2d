"""Ghosts: packings of a whole sweep in which one number is a little larger or smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.differences import SHIFTS, STEP, Ghosts
from odekit.integrate.extended import OutOfReach, Packing
from odekit.problem.axes import Axis, replaced
from odekit.problem.shifted import shifted, value_of
from odekit.systems.committee.gradients.columns import VIEWS, Name
from odekit.systems.committee.gradients.places import is_structured
from odekit.systems.committee.laws_of_inputs import laws_of
from odekit.systems.committee.seen import seen_of

OF_GENERAL = ("keep_probability", "test_scale", "label")
"""Numbers that are there without structure, at the values that they have then."""
LEAST = 1e-2
"""Size below which numbers are shifted as if they had it: no rounding of 1e-16 is over 1e-5."""


def asks_views(names: Sequence[Name]) -> bool:
    """Whether a view of inputs is differentiated by: then each task has a law of its own."""
    return any(f".{view}" in one.name for one in names for view in (*VIEWS, "input_mean"))


def asks_general(names: Sequence[Name]) -> bool:
    """Whether derivatives by what the equations of structured problems alone have are wanted."""
    return any(f".{what}" in f".{one.name}" for one in names for what in OF_GENERAL)


def see_apart(problem: Any, points: Any) -> None:
    """Give each task a law of its own; white inputs are one group."""
    find = laws_of if is_structured(points) else seen_of
    points.see(find(problem, points, apart=True))


def packing_of(problem: Any, found: Mapping[str, Axis], names: Sequence[Name]) -> Packing:
    """A sweep whose phases end by their durations alone, with those that have thresholds."""
    lasting = tuple(replaced(phase, {"until": None}) for phase in problem.phases)
    bare = replaced(problem, {"phases": lasting})
    points = problem.system.points(bare, found)
    if asks_views(names):
        see_apart(bare, points)
    return Packing(points, problem.phases)


def ghosts_of(
    problem: Any, found: Mapping[str, Axis], names: Sequence[Name], own: Packing
) -> tuple[list[Ghosts], Floats]:
    """Ghosts for every number of some names, and the units of the numbers, (points or 1, m).

    A number is measured in its own size where that is above one, so that derivatives are of the
    size of the state, whose tolerances they have.
    """
    ghosts, units = [], []
    for name in (entry for one in names for entry in one.entries):
        value = value_of(problem, name)
        h = STEP * np.maximum(abs(value), LEAST)
        mirrored = name.startswith(("state.Q", "state.T"))
        packings = {
            s: packing_of(shifted(problem, name, s * h, mirrored=mirrored), found, names)
            for s in SHIFTS
        }
        if any(type(p.points) is not type(own.points) for p in packings.values()):
            raise OutOfReach
        unit = np.maximum(1.0, np.abs(own.points.values(value)))
        ghosts.append(Ghosts(packings, own.points.values(h) / unit))
        units.append(unit)
    size = max(len(unit) for unit in units)
    return ghosts, np.stack([np.broadcast_to(unit, size) for unit in units], axis=1)
