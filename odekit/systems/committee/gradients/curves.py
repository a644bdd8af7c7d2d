"""Derivatives of numbers of whole curves: means, maxima, and times at which levels are passed.

Where a curve is largest its value does not change, to first order, as that time moves; the time at
which a level is passed moves by minus the derivative at a fixed time over the slope. Both times are
found to rounding by steps that land on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.committee.gradients.chain import Chain, Found
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.course import Taken
from odekit.systems.committee.gradients.readings import SINCE_SWITCH, Reading, site
from odekit.systems.committee.gradients.sampled import Curve
from odekit.systems.committee.gradients.steps import Accuracy

ROUNDS = 8
"""Corrections of a time, most: Newton's method and the rule of secants, from within a step."""
NEAR = 1e-14
"""Part of the run to which times are found."""


class Moment(NamedTuple):
    """Readings at a fixed time, or at the end of the run, wherever that moves.

    Attributes
    ----------
    values, slopes, pace : ndarray, shapes (q,), (q, m) and (q,)
        The pace is the derivative by time, 0 at the end of the run.
    found : Found
        With the ends of all phases.
    """

    values: Floats
    slopes: Floats
    pace: Floats
    found: Found


@dataclass
class Curves:
    """Finds numbers of curves of one problem.

    Parameters
    ----------
    problem : Problem
        Without sweep dims.
    columns : Columns
    how : Accuracy
    ends : list or None
        As `Taken` takes them.
    method : str
        "forward" or "adjoint".
    """

    problem: Any
    columns: Columns
    how: Accuracy
    ends: Any
    method: str

    def of(self, reading: Reading) -> tuple[Floats, Floats]:
        """The numbers (q,), and their derivatives (q, m)."""
        if reading.taken == "mean":
            return self._mean(reading)
        entries = [
            replace(reading, picked=reading.picked[i : i + 1], taken="", shape=(), dims=())
            for i in range(reading.picked.size)
        ]
        find = self._maximum if reading.taken == "maximum" else self._passage
        found = [find(one, reading) for one in entries]
        return np.array([value for value, _ in found]), np.array([slope for _, slope in found])

    # ---------------------------------------------------------------------------------- at a time

    def _taken(self, time: float | None) -> Taken:
        times = None if time is None else np.array([time])
        return Taken(self.problem, self.columns, times, self.how, self.ends)

    def _chain(self, readings: list[Reading], time: float | None) -> Chain:
        return Chain(self._taken(time), self.columns, readings)

    def _moment(self, readings: list[Reading], time: float | None) -> Moment:
        phases = np.arange(len(self.problem.phases))
        ends = Reading("", "phase_end", phases, ("phase_index",), phases.shape)
        chain = self._chain([*readings, ends], time)
        found = chain.forward() if self.method == "forward" else chain.backward()
        pace = np.zeros(chain.q) if time is None else _pace(chain)
        return Moment(found.values[0], found.slopes[0], pace, found)

    # --------------------------------------------------------------------------------------- means

    def _mean(self, reading: Reading) -> tuple[Floats, Floats]:
        """∫ε dt over the time since the beginning, or since the switch, at the end of the run."""
        integral = replace(reading, base="integrated_error", taken="")
        end = self._moment([integral], None)
        T, by_T = float(end.found.ends[-1]), end.found.by_end[-1]
        if reading.base not in SINCE_SWITCH:
            values = end.values / T
            return values, (end.slopes - np.outer(values, by_T)) / T
        since, by_since = float(end.found.ends[0]), end.found.by_end[0]
        errors = replace(reading, base="generalization_error", taken="")
        switch = self._moment([integral, errors], since)
        q = reading.picked.size
        begun, known = switch.values[:q], switch.values[q:]
        by_begun = switch.slopes[:q] + np.outer(switch.pace[:q], by_since)
        by_known = switch.slopes[q:] + np.outer(switch.pace[q:], by_since)
        mean = (end.values - begun) / (T - since)
        slope = (end.slopes - by_begun - np.outer(mean, by_T - by_since)) / (T - since)
        sign = SINCE_SWITCH[reading.base]
        return sign * (mean - known), sign * (slope - by_known)

    # -------------------------------------------------------------------------------------- maxima

    def _maximum(self, one: Reading, whole: Reading) -> tuple[float, Floats]:
        sign = SINCE_SWITCH.get(one.base, 1.0)
        plain = replace(one, base="generalization_error") if one.base in SINCE_SWITCH else one
        first = 1 if one.base in SINCE_SWITCH else 0
        curve = self._curve(plain, first).times(sign)
        time, place = curve.largest()
        if place is not None:
            time = self._still(plain, time, curve.around(time))
        moment = self._moment([one], time)
        value, slope = float(moment.values[0]), moment.slopes[0]
        ends = moment.found.ends
        at_end = np.flatnonzero(np.isclose(ends, time, rtol=NEAR, atol=0.0))
        if place is None and at_end.size:
            slope = slope + sign * moment.pace[0] * moment.found.by_end[at_end[0]]
        best = float(curve.values.max()) - (sign * self._at_switch(plain) if first else 0.0)
        if value < best - 1e-3 * max(abs(best), abs(float(np.ptp(curve.values)))):
            rule = "must not be largest right after a switch that changes it by a jump"
            raise ProblemError("of", rule, whole.name)
        return value, slope

    def _at_switch(self, plain: Reading) -> float:
        taken = self._taken(None)
        leg = taken.legs[0]
        given = (leg.y_end, np.zeros(0))
        return float(
            site(taken, leg, self.columns, [plain], given, leg.duration, fixed=True).values[0]
        )

    def _still(self, plain: Reading, time: float, within: tuple[float, float]) -> float:
        """The time near `time` at which the curve has no slope: the rule of secants."""
        width, low, high = within[1] - within[0], *within
        before, slope = time, self._site(plain, time)[1]
        time = min(max(time + 1e-4 * width, low), high)
        for _ in range(ROUNDS):
            new = self._site(plain, time)[1]
            if new == slope:
                break
            step = -new * (time - before) / (new - slope)
            before, slope = time, new
            time = min(max(time + step, low), high)
            if abs(step) <= NEAR * high:
                break
        return time

    # --------------------------------------------------------------------------------------- times

    def _passage(self, one: Reading, whole: Reading) -> tuple[float, Floats]:
        """When a curve is first above a level, or within a distance of its target."""
        curve, unknown = self._curve(one, 0), np.full(self.columns.m, np.nan)
        level, sign = whole.given[0], 1.0
        if whole.taken == "hitting_time":
            target, eps = whole.given
            sign = -float(np.sign(curve.values[0] - target))
            level = sign * target - eps
        curve = curve.times(sign)
        if curve.values[0] > level:
            return 0.0, np.zeros(self.columns.m)
        passed = curve.first_above(level)
        if passed is None:
            return float("inf"), unknown
        time, within = passed
        if within is None:
            rule = "must not pass its level by a jump at a switch"
            raise ProblemError("of", rule, whole.name)
        for _ in range(ROUNDS):
            value, pace = self._site(one, time)
            step = (level - sign * value) / (sign * pace)
            time = min(max(time + step, within[0]), within[1])
            if abs(step) <= NEAR * within[1]:
                break
        moment = self._moment([one], time)
        return time, -moment.slopes[0] / moment.pace[0]

    def _site(self, plain: Reading, time: float) -> tuple[float, float]:
        """Value and slope of a curve at a time."""
        chain = self._chain([plain], time)
        return float(_row(chain).values[0]), float(_pace(chain)[0])

    def _curve(self, plain: Reading, first: int) -> Curve:
        """Values and slopes where steps begin and end, from a phase on."""
        taken = self._taken(None)
        times, found, phase = [], [], []
        for leg in taken.legs[first:]:
            since = np.append(0.0, leg.ends[0])
            for t, y in zip(since, leg.states, strict=True):
                given = (y, np.zeros(0))
                one = site(taken, leg, self.columns, [plain], given, float(t), fixed=True)
                begin = one.C.shape[1] - 1
                times.append(leg.begin + float(t))
                found.append((float(one.values[0]), -float(one.C[0, begin])))
                phase.append(leg.index)
        values, slopes = np.array(found).T
        return Curve(np.array(times), values, slopes, np.array(phase))


def _row(chain: Chain) -> Any:
    """The only row of a chain."""
    return chain.first or next(one for link in chain.links for _, one in link.sites)


def _pace(chain: Chain) -> Floats:
    """Derivatives by time at the only row."""
    row = _row(chain)
    return -np.asarray(row.C[:, row.C.shape[1] - 1 - chain.W])
