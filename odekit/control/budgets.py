"""Controls within bounds whose mean is given: the projection onto them, and a descent there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from odekit.base.arrays import Floats, Indices
from odekit.base.errors import ProblemError

BISECTIONS = 200
MEMORY = 10
"""Values that a step is compared with: they need not fall every time."""
ENOUGH, SHORTEST, LONGEST = 1e-4, 1e-10, 1e10
STILL = 1e-9
"""Length of the projected gradient of the logarithm at which the search ends."""

Objective = Callable[[Floats], tuple[float, Floats]]


@dataclass(frozen=True)
class Feasible:
    """Points with low ≤ x ≤ high, and a given sum over each of some sets of entries.

    Attributes
    ----------
    low, high : ndarray, shape (n,)
    sums : list of (ndarray of int, float)
    """

    low: Floats
    high: Floats
    sums: list[tuple[Indices, float]]

    def project(self, x: Floats) -> Floats:
        """The nearest of them."""
        found = np.clip(x, self.low, self.high)
        for entries, total in self.sums:
            found[entries] = _shifted(x[entries], self.low[entries], self.high[entries], total)
        return found

    def multipliers(self, x: Floats, gradient: Floats) -> Floats:
        """For each entry that of its sum: the mean slope of entries between their bounds."""
        found = np.zeros(x.size)
        for entries, _ in self.sums:
            inside = between(x[entries], self.low[entries], self.high[entries])
            part = gradient[entries]
            found[entries] = part[inside].mean() if inside.any() else np.median(part)
        return found


def between(x: Floats, low: Floats, high: Floats) -> Floats:
    """Which entries are at neither bound."""
    near = 1e-9 * np.maximum(1.0, np.abs(x))
    return np.asarray((x > low + near) & (x < high - near))


def feasible(
    names: list[str], of: Floats, low: Floats, high: Floats, budget: Mapping[str, float]
) -> Feasible:
    """Of controls by name, the means of some of which are given."""
    sums = []
    for name, mean in budget.items():
        if name not in names:
            raise ProblemError("budget", "must name controls", repr(name), f"There are {names}.")
        entries = np.flatnonzero(of == names.index(name))
        if not low[entries].mean() <= mean <= high[entries].mean():
            rule = "must be a mean that the bounds allow"
            raise ProblemError(f"budget[{name!r}]", rule, f"{mean}")
        sums.append((entries, float(mean) * entries.size))
    return Feasible(low, high, sums)


def _shifted(x: Floats, low: Floats, high: Floats, total: float) -> Floats:
    """clip(x − τ) whose sum is `total`: it falls with τ, which bisection finds."""
    ends = [np.where(np.isfinite(end), end, x) for end in (low, high)]
    reach = abs(total) + sum(float(np.abs(end).max()) for end in (x, *ends))
    left, right = -reach, reach
    for _ in range(BISECTIONS):
        middle = 0.5 * (left + right)
        if middle in (left, right):
            break
        if np.clip(x - middle, low, high).sum() > total:
            left = middle
        else:
            right = middle
    return np.clip(x - right, low, high)


def descend(f: Objective, x: Floats, within: Feasible, tolerance: float, most: int) -> str:
    """Spectral projected gradient (Birgin, Martínez & Raydan 2000); `f` keeps the best itself.

    Ends where `MEMORY` steps in a row lower the best by less than `tolerance` together, where the
    projected gradient vanishes, or after `most` evaluations; returns the reason.
    """
    x = within.project(x)
    value, slope = f(x)
    past, step, count = [value], 1.0 / max(float(np.abs(slope).max()), 1e-12), 1
    best, still = value, 0
    while count < most:
        way = within.project(x - step * slope) - x
        if np.abs(within.project(x - slope) - x).max() < STILL:
            return "the projected gradient vanishes"
        downhill, length = float(way @ slope), 1.0
        while True:
            trial = x + length * way
            found, slope_there = f(trial)
            count += 1
            if found <= max(past[-MEMORY:]) + ENOUGH * length * downhill or count >= most:
                break
            curvature = 2.0 * (found - value - length * downhill)
            guess = -downhill * length**2 / curvature if curvature > 0.0 else 0.5 * length
            length = min(max(guess, 0.1 * length), 0.5 * length)
            if length < SHORTEST:
                return "no step lowers the objective"
        moved, turned = trial - x, slope_there - slope
        bend = float(moved @ turned)
        step = float(np.clip(moved @ moved / bend, SHORTEST, LONGEST)) if bend > 0.0 else LONGEST
        x, value, slope = trial, found, slope_there
        past.append(value)
        gained, best = best - min(best, value), min(best, value)
        still = still + 1 if gained < tolerance / MEMORY else 0
        if still >= 2 * MEMORY:
            return "steps lower the objective no more"
    return f"{most} evaluations"
