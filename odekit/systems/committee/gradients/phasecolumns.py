"""What parameters change in one phase."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.problem.mixture import kind_beside, parts_in_time, parts_of
from odekit.problem.phase import PENALTIES, Phase
from odekit.problem.schedule import Schedule
from odekit.systems.committee.gradients.tables import (
    Basis,
    constant,
    interpolated,
    knots,
    of_table,
    scaled,
    values_of,
)
from odekit.systems.committee.seen import of_group

LAYERS = {"learning_rate": 0, "readout_learning_rate": 1}
MOMENTS = ("ss", "st", "tt")
Slopes = tuple[float, float, float]
"""Of the second moments ss, st and tt of one group under one law."""


@dataclass
class PhaseColumns:
    """Derivatives of the numbers of a phase by all parameters, the last axis.

    Attributes
    ----------
    phase : Phase
    p : ndarray, shape (S, m)
    sigma : ndarray, shape (S, m)
        Of label noise that the phase has itself, alike for all outputs.
    ss, st, tt : ndarray, shape (…, G, m)
        Of laws of inputs that the phase has itself.
    kappa : ndarray, shape (2, m)
    level : ndarray, shape (watched, m)
    pace : ndarray, shape (G, m)
    keep : ndarray, shape (K, m)
    duration, strength, eta_b, friction : ndarray, shape (m,)
        The strength is that at the end of its table, if it has one.
    rates : list of (which, parameter, function)
        Of what moves in time: learning rates of the two layers, tables (`tables`), and `turns`. The
        function takes times since the phase began to its derivatives by the parameter; where
        these jump, a step is on the side of its middle.
    turns : list of list of (constant, entry, slope)
        Directions, besides those of tables, in what is constant until a parameter moves it.
    tables : list of Schedule
        What moves in the phase besides the rates of whole layers.
    """

    phase: Phase
    p: Floats
    sigma: Floats
    ss: Floats
    st: Floats
    tt: Floats
    kappa: Floats
    level: Floats
    pace: Floats
    keep: Floats
    duration: Floats
    strength: Floats
    eta_b: Floats
    friction: Floats
    rates: list[tuple[int, int, Basis]] = field(default_factory=list)
    turns: list[list[tuple[str, int, float]]] = field(default_factory=list)
    tables: list[Schedule] = field(init=False)

    def __post_init__(self) -> None:
        self.tables = self.phase.curves

    @property
    def knots(self) -> Floats:
        """Times at which derivatives are not smooth, wherever a table itself bends."""
        return knots([basis for *_, basis in self.rates])

    def which(self, table: Schedule) -> int:
        """Number of a table in `rates`."""
        return len(LAYERS) + next(i for i, one in enumerate(self.tables) if one is table)

    @property
    def moving(self) -> int:
        """How many of what moves in time are there, without the rates of whole layers."""
        return len(self.tables) + len(self.turns)

    def turn(self, *entries: tuple[str, int, float]) -> int:
        """Number in `rates` of a direction of its own."""
        if list(entries) not in self.turns:
            self.turns.append(list(entries))
        return len(LAYERS) + len(self.tables) + self.turns.index(list(entries))


def none_of(phase: Phase, K: int, G: int, m: int) -> PhaseColumns:
    """A phase that nothing changes."""
    S, V = len(phase.mixture), len(phase.input_variance or ())
    shapes = [(S,), (S,), *[(V, G)] * 3, (2,), (len(phase.thresholds),), (G,), (K,), *[()] * 4]
    zeros: Any = (np.zeros((*shape, m)) for shape in shapes)
    return PhaseColumns(phase, *zeros)


def put(columns: PhaseColumns, places: Any, name: str, keys: list[str], index: Any, j: int) -> None:
    """Note what parameter j, a number of the phase by these keys, changes.

    Parameters
    ----------
    places : Columns
        Knows the groups of inputs, and slopes of second moments.
    """
    phase, what = columns.phase, keys[0]
    if what == "learning_rate" and isinstance(phase.learning_rate, Mapping):
        columns.pace[places.groups.index(keys[1]), j] = 1.0 / _fastest(name, phase)
    elif what in LAYERS:
        columns.rates.append((LAYERS[what], j, constant))
    elif what == "keep_probability":
        columns.keep[(*(index or (...,)), j)] = 1.0
    elif what == "bias_learning_rate":
        columns.eta_b[j] = 1.0
    elif what == "momentum_decay":
        columns.friction[j] = 1.0
    elif what in PENALTIES:
        columns.kappa[PENALTIES.index(what), j] = 1.0
    elif what == "duration":
        columns.duration[j] = 1.0
    elif what == "until":
        chosen = list(phase.thresholds)
        columns.level[[True] * len(chosen) if len(keys) == 1 else chosen.index(keys[1]), j] = 1
    elif what == "consolidation":
        columns.strength[j] = 1.0
    elif what == "tasks":
        _put_share(columns, name, keys[1], j)
    elif what == "noise_std":
        columns.sigma[list(phase.mixture).index(keys[1]), j] = 1.0
    elif what == "input_variance":
        law = list(phase.input_variance or ()).index(keys[1])
        for g, group in enumerate(places.groups):
            if len(keys) == 2 or group == keys[2]:
                for moment, slope in zip(MOMENTS, places.slopes(keys[1], group, what), strict=True):
                    getattr(columns, moment)[law, g, j] = slope
    else:
        raise ProblemError("wrt", "must name a number that a run depends on", name)


def put_view(columns: PhaseColumns, places: Any, task: str, what: str, g: int, j: int) -> None:
    """Note what a view of a task's inputs changes where the phase says their variance."""
    variance = columns.phase.input_variance or {}
    if task not in variance or what == "input_variance":
        return
    law, group = list(variance).index(task), places.groups[g]
    m = of_group(variance[task], group)
    moves = isinstance(m, Schedule) and what == "student_gain"
    slopes = places.slopes(task, group, what, 1.0 if isinstance(m, Schedule) else float(m))
    if moves:
        points = places.points
        entry = (points.laws + law) * points.G + g
        turn = columns.turn(*((n, entry, x) for n, x in zip(MOMENTS, slopes, strict=True)))
        columns.rates.append((turn, j, values_of(m)))
        return
    for moment, slope in zip(MOMENTS, slopes, strict=True):
        getattr(columns, moment)[law, g, j] = slope


def put_in_table(columns: PhaseColumns, name: Any) -> None:
    """Note what values or times of a table change: those of a `Name`."""
    phase, keys, part = columns.phase, name.keys[2:-2], name.part
    what, table = keys[0], getattr(phase, keys[0])
    for key in keys[1:]:
        table = getattr(table, key) if what == "consolidation" else table[key]
    whole = what in LAYERS and len(keys) == 1
    which = LAYERS[what] if whole else columns.which(table)
    if what == "learning_rate" and len(keys) > 1:
        _fastest(name.name, phase)
    for entry, (k,), j in zip(name.entries, name.indices, itertools.count(name.first)):
        basis = of_table(entry, table, part, k)
        columns.rates.append((which, j, basis))
        if what == "consolidation" and (part, k) == ("values", table.values.size - 1):
            columns.strength[j] = 1.0
        if what == "tasks":
            _put_others(columns, entry, keys[1], (part, k), j, basis)


def _put_others(
    columns: PhaseColumns, name: str, task: str, part: tuple[str, int], j: int, basis: Basis
) -> None:
    """How others make room for a table of probabilities (`mixture.with_share`)."""
    mixture = columns.phase.mixture
    others = [other for other in mixture if other != task]
    if len(others) == 1:
        columns.rates.append((columns.which(mixture[others[0]]), j, scaled(-1.0, basis)))
        return
    table = mixture[task]
    if part[0] == "times":
        kind_beside(mixture, task, table, "wrt", moved=True)
        for other in others:
            if isinstance(mixture[other], Schedule):
                moved = of_table(name, mixture[other], *part)
                columns.rates.append((columns.which(mixture[other]), j, moved))
        return
    kind, parts = parts_in_time(mixture, task, table, "wrt")
    at = kind.times[:, np.newaxis]
    gained = basis(at, at)[:, 0]
    for other in others:
        lost = interpolated(kind, -parts[other] * gained)
        columns.rates.append((_moved(columns, other), j, lost))


def _put_share(columns: PhaseColumns, name: str, task: str, j: int) -> None:
    """A probability that is a number: others change in proportion (`mixture.with_share`)."""
    mixture = columns.phase.mixture
    if len(mixture) == 1:
        rule = "must be a probability beside others"
        raise ProblemError("wrt", rule, name, "That of the only task of a phase is 1.")
    places = list(mixture)
    columns.p[places.index(task), j] = 1.0
    for other, part in parts_of(mixture, task).items():
        if isinstance(part, Schedule):
            columns.rates.append((_moved(columns, other), j, scaled(-1.0, values_of(part))))
        else:
            columns.p[places.index(other), j] = -part


def _moved(columns: PhaseColumns, task: str) -> int:
    """Number in `rates` of the probability of a task, a table or one that a parameter moves."""
    mixture = columns.phase.mixture
    if isinstance(mixture[task], Schedule):
        return columns.which(mixture[task])
    return columns.turn(("p", list(mixture).index(task), 1.0))


def _fastest(name: str, phase: Phase) -> float:
    most = float(phase.common_rates[0])
    if most == 0.0:
        rule = "must not be of rates by group that are all 0"
        raise ProblemError("wrt", rule, name, "Give one learning rate to all groups.")
    return most
