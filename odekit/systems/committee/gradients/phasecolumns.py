"""What parameters change in one phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.problem.phase import PENALTIES, Phase
from odekit.problem.schedule import Schedule
from odekit.systems.committee.gradients.tables import Basis, constant, of_table, values_of
from odekit.systems.committee.seen import of_group

LAYERS = {"learning_rate": 0, "readout_learning_rate": 1}
OF_TABLE = ("values", "times")
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
        Of what moves in time: learning rates of the two layers, tables (`tables`), and `views`. The
        function takes times since the phase began to its derivatives by the parameter; where
        these jump, a step is on the side of its middle.
    views : list of (law, group, slopes)
        Derivatives of second moments that are to be multiplied by a variance that moves.
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
    views: list[tuple[int, int, Slopes]] = field(default_factory=list)

    @property
    def tables(self) -> list[Schedule]:
        """What moves in the phase besides the rates of whole layers, each once."""
        return list({id(table): table for table in self.phase.curves}.values())

    def which(self, table: Schedule) -> int:
        """Number of a table in `rates`."""
        return len(LAYERS) + next(i for i, one in enumerate(self.tables) if one is table)

    @property
    def moving(self) -> int:
        """How many of what moves in time are there, without the rates of whole layers."""
        return len(self.tables) + len(self.views)


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
    if len(keys) > 2 and keys[-2] in OF_TABLE:
        _put_in_table(columns, name, keys[:-2], (keys[-2], index[0]), j)
    elif what == "learning_rate" and isinstance(phase.learning_rate, Mapping):
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
        columns.p[:, j] = _of_share(name, phase.mixture, keys[1])
    elif what == "noise_std":
        columns.sigma[list(phase.mixture).index(keys[1]), j] = 1.0
    elif what == "input_variance":
        law = list(phase.input_variance or ()).index(keys[1])
        for g, group in enumerate(places.groups):
            if len(keys) == 2 or group == keys[2]:
                for moment, slope in zip(
                    ("ss", "st", "tt"), places.slopes(keys[1], group, what), strict=True
                ):
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
        columns.rates.append((len(LAYERS) + columns.moving, j, values_of(m)))
        columns.views.append((law, g, slopes))
        return
    for moment, slope in zip(("ss", "st", "tt"), slopes, strict=True):
        getattr(columns, moment)[law, g, j] = slope


def _put_in_table(
    columns: PhaseColumns, name: str, keys: list[str], part: tuple[str, int], j: int
) -> None:
    """A value or a time of a table."""
    phase, what = columns.phase, keys[0]
    table: Any = getattr(phase, what)
    for key in keys[1:]:
        table = getattr(table, key) if what == "consolidation" else table[key]
    basis = of_table(name, table, *part)
    if what in LAYERS and len(keys) == 1:
        columns.rates.append((LAYERS[what], j, basis))
        return
    if what == "learning_rate":
        _fastest(name, phase)
    columns.rates.append((columns.which(table), j, basis))
    if what == "consolidation" and part == ("values", table.values.size - 1):
        columns.strength[j] = 1.0
    if what == "tasks":
        others = [p for task, p in phase.mixture.items() if task != keys[1]]
        if len(others) != 1:
            rule = "must be of a mixture of two tasks, to be a table of probabilities"
            raise ProblemError("wrt", rule, name, "Which of the others makes room is not said.")
        columns.rates.append((columns.which(others[0]), j, lambda t, mid: -basis(t, mid)))


def _fastest(name: str, phase: Phase) -> float:
    most = float(phase.common_rates[0])
    if most == 0.0:
        rule = "must not be of rates by group that are all 0"
        raise ProblemError("wrt", rule, name, "Give one learning rate to all groups.")
    return most


def _of_share(name: str, mixture: Mapping[str, Any], task: str) -> Floats:
    """The others change in proportion, so that they still sum to 1 (`names.replace`)."""
    if len(mixture) == 1:
        rule = "must be a probability beside others"
        raise ProblemError("wrt", rule, name, "That of the only task of a phase is 1.")
    if any(isinstance(p, Schedule) for p in mixture.values()):
        rule = "must be a probability beside others that are numbers, not tables"
        raise ProblemError("wrt", rule, name, "Which of the others makes room is not said.")
    p = np.array(list(mixture.values()), dtype=float)
    own = np.array([other == task for other in mixture])
    rest = p[~own].sum()
    shares = p / rest if rest > 0 else np.full(p.size, 1.0 / (p.size - 1))
    return np.where(own, 1.0, -shares)
