"""Learning rates that change in time: a table, or a function tabulated once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from odekit.base.checks import as_floats, choice, readonly
from odekit.base.errors import ProblemError

TABULATION_TOLERANCE = 1e-8
"""Largest deviation of a tabulated function from its table, relative to its largest value: the
default relative tolerance of a run."""
MAX_KNOTS = 65_536
PROBES = 4096
"""Points at which a function is looked at before anything else: features narrower than this part of
the phase may be missed."""
MAX_BREAKS = 64


@dataclass(frozen=True, eq=False)
class Schedule:
    """A learning rate as a function of the time since its phase began.

    Parameters
    ----------
    times : array_like, shape (n,)
        Times since the start of the phase, units of steps/N, strictly increasing, the first >= 0.
        Before the first and after the last the nearest value holds.
    values : array_like, shape (n,)
        Learning rates >= 0 at these times.
    interpolation : {"linear", "cubic"}
        Between the times. For jumps use several phases.

    Raises
    ------
    ProblemError
        If the table is not increasing, not finite or negative.

    Examples
    --------
    >>> from odekit import Schedule
    >>> decay = Schedule([0.0, 100.0, 1000.0], [1.0, 1.0, 0.1])
    >>> decay(550.0)
    0.55
    """

    times: np.ndarray[Any, np.dtype[np.float64]]
    values: np.ndarray[Any, np.dtype[np.float64]]
    interpolation: str = "linear"

    def __post_init__(self) -> None:
        times = as_floats("times", self.times, "a table of times")
        values = as_floats("values", self.values, "a table of learning rates")
        if times.ndim != 1 or times.shape != values.shape or times.size < 2:
            raise ProblemError(
                "times",
                "must be one axis of at least two times, as many as `values`",
                f"shapes {times.shape} and {values.shape}",
                "Give one learning rate for each time.",
            )
        if times[0] < 0 or (np.diff(times) <= 0).any():
            raise ProblemError(
                "times", "must increase strictly from >= 0", str(times[:5]), "Sort the table."
            )
        if (values < 0).any():
            raise ProblemError("values", "must be >= 0", f"{values.min():g}", "Drop the sign.")
        choice("interpolation", self.interpolation, ("linear", "cubic"))
        object.__setattr__(self, "times", readonly(times))
        object.__setattr__(self, "values", readonly(values))

    @classmethod
    def from_function(cls, function: Callable[[float], float], duration: float) -> Schedule:
        """Tabulate a smooth function of time on [0, duration] to a relative 1e-8.

        The table is what is solved and stored, so that a file holds the whole problem. Features
        narrower than duration/4096 may be missed: write these down as a `Schedule` or as phases.

        Raises
        ------
        ProblemError
            If the function is not finite and >= 0, or needs a table of more than 65,536 times.
        """
        knots = np.unique(
            np.concatenate(
                [np.linspace(0, duration, 33), np.geomspace(duration * 1e-6, duration, 49)]
            )
        )
        values = _sample(function, knots)
        probes = _probes(duration)
        seen = _sample(function, probes)
        while True:
            table = cls(knots, values, "cubic")
            centres = 0.5 * (knots[1:] + knots[:-1])
            exact = _sample(function, centres)
            allowed = TABULATION_TOLERANCE * max(values.max(), seen.max())
            rough = np.abs([table(t) for t in centres] - exact) > allowed
            missed = np.abs([table(t) for t in probes] - seen) > allowed
            rough[np.searchsorted(knots, probes[missed], side="right") - 1] = True
            if not rough.any():
                return table
            if knots.size + rough.sum() > MAX_KNOTS:
                raise ProblemError(
                    "learning_rate",
                    f"must fit a cubic table of {MAX_KNOTS} times when it is a function",
                    f"one that needs more to be within {TABULATION_TOLERANCE:g}",
                    "Give a Schedule (linear table) or one phase for each piece.",
                )
            order = np.argsort(np.concatenate([knots, centres[rough]]))
            values = np.concatenate([values, exact[rough]])[order]
            knots = np.concatenate([knots, centres[rough]])[order]

    def __call__(self, time: float) -> float:
        """Learning rate at a time since the start of the phase."""
        starts, coefficients = self.pieces
        if time <= starts[0]:
            return float(self.values[0])
        if time >= self.times[-1]:
            return float(self.values[-1])
        piece = bisect_right(starts, time) - 1
        c3, c2, c1, c0 = coefficients[piece]
        x = time - starts[piece]
        # A cubic may dip below zero between knots where the function touches it.
        return max(((c3 * x + c2) * x + c1) * x + c0, 0.0)

    def at(self, times: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Learning rates at many times since the start of the phase, shape (n,)."""
        if self.interpolation == "linear":
            return np.asarray(np.interp(times, self.times, self.values))
        from scipy.interpolate import CubicSpline

        inside = np.clip(times, self.times[0], self.times[-1])
        return np.asarray(np.maximum(CubicSpline(self.times, self.values)(inside), 0.0))

    @cached_property
    def pieces(self) -> tuple[list[float], list[tuple[float, ...]]]:
        """Left ends and polynomial coefficients as plain floats: 20x faster than scipy's call."""
        if self.interpolation == "linear":
            slopes = np.diff(self.values) / np.diff(self.times)
            zeros = np.zeros_like(slopes)
            table = np.stack([zeros, zeros, slopes, self.values[:-1]])
        else:
            from scipy.interpolate import CubicSpline

            table = CubicSpline(self.times, self.values).c
        return self.times[:-1].tolist(), [tuple(c) for c in table.T.tolist()]

    def breaks(self, duration: float) -> list[float]:
        """Times that a step may not straddle, so that no feature of the table is missed.

        All knots of a short table; of a long one some evenly, and those where it bends most.
        """
        inside = (self.times > 0) & (self.times < duration)
        if inside.sum() > MAX_BREAKS:
            bends = np.zeros(self.times.size)
            bends[1:-1] = np.abs(np.diff(np.diff(self.values) / np.diff(self.times)))
            places = np.flatnonzero(inside)
            sharpest = places[np.argsort(-bends[places], kind="stable")[: MAX_BREAKS // 2]]
            even = places[:: -(-places.size // (MAX_BREAKS // 2))]
            inside = np.isin(np.arange(self.times.size), [*sharpest, *even])
        return [float(t) for t in self.times[inside]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, enough to rebuild the schedule."""
        return {
            "times": self.times.tolist(),
            "values": self.values.tolist(),
            "interpolation": self.interpolation,
        }


def _probes(duration: float) -> Any:
    """One point in each of many equal parts, at no regular place: a period may not hide them."""
    inside = np.random.default_rng(0).random(PROBES)
    return duration * (np.arange(PROBES) + inside) / PROBES


def _sample(function: Callable[[float], float], times: Sequence[float] | Any) -> Any:
    rates = as_floats(
        "learning_rate", [function(float(t)) for t in times], "a function of time giving numbers"
    )
    if rates.shape != np.shape(times) or (rates < 0).any():
        raise ProblemError(
            "learning_rate",
            "must be a function giving one number >= 0",
            f"values from {rates.min():g}, shape {rates.shape}",
            "Check the function over [0, duration].",
        )
    return rates
