"""Numbers of a phase that change in time: a table, or a function tabulated once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import as_floats, choice, is_labelled, readonly
from odekit.base.errors import ProblemError
from odekit.base.html import as_table
from odekit.problem.tabulation import evaluate, pieces, tabulate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

EVERY = 8
"""Knots of a smooth table from one that steps land on to the next. Stages of a step are less than
a third of it apart, so that none jumps over more than three knots."""
SHARP = 1e-8
"""A bend that moves the number by less, relative to the largest one, is that of a smooth curve: the
default relative tolerance of a run."""
FLAT = 1e-13
"""And by less than this no bend at all."""
LEAST = -1e-7
"""Smallest value of a spline, relative to its largest, that is rounding: it counts as 0."""


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A number of a phase, such as a learning rate, as a function of the time since it began.

    Parameters
    ----------
    times : array_like, shape (n,)
        Times since the start of the phase, units of steps/N, strictly increasing, the first >= 0.
        Before the first and after the last the nearest value holds.
    values : array_like, shape (n,)
        Numbers >= 0 at these times.
    interpolation : {"linear", "cubic", "spline"}
        Between the times. Cubic is monotone wherever the values are (PCHIP), and so neither
        overshoots nor falls below 0. A spline is smoother, for values that a smooth function has;
        one that falls below 0 is refused. For jumps use several phases.
    kinks : array_like, optional
        Those of the times at which a spline ends and another begins.

    Notes
    -----
    Steps of `odekit.solve` land on every kink, however many there are: on the times of a linear
    table at which it bends, on all times of a cubic one, on `kinks` of splines. Of tables that are
    smooth otherwise they land on every eighth time, so that no feature is passed over.

    Raises
    ------
    ProblemError
        If the table is not increasing, not finite or negative, or its spline is.

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
    kinks: np.ndarray[Any, np.dtype[np.float64]] = field(default_factory=lambda: np.zeros(0))

    if TYPE_CHECKING:  # what may be given

        def __init__(
            self,
            times: ArrayLike,
            values: ArrayLike,
            interpolation: str = "linear",
            kinks: ArrayLike = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        times = as_floats("times", self.times, "a table of times")
        values = as_floats("values", self.values, "a table of numbers")
        if times.ndim != 1 or times.shape != values.shape or times.size < 2:
            raise ProblemError(
                "times",
                "must be one axis of at least two times, as many as `values`",
                f"shapes {times.shape} and {values.shape}",
                "Give one number for each time.",
            )
        if times[0] < 0 or (np.diff(times) <= 0).any():
            raise ProblemError(
                "times", "must increase strictly from >= 0", str(times[:5]), "Sort the table."
            )
        if (values < 0).any():
            raise ProblemError("values", "must be >= 0", f"{values.min():g}", "Drop the sign.")
        choice("interpolation", self.interpolation, ("linear", "cubic", "spline"))
        kinks = as_floats("kinks", np.asarray(self.kinks, dtype=float), "a table of times")
        for name, array in (("times", times), ("values", values), ("kinks", kinks)):
            object.__setattr__(self, name, readonly(array))
        if kinks.size and (self.interpolation != "spline" or not np.isin(kinks, times).all()):
            rule = "must be some of the times of a spline"
            raise ProblemError("kinks", rule, f"{kinks[:5]} of a {self.interpolation} table", "")
        if self.interpolation == "spline":
            self._check_spline()

    def _check_spline(self) -> None:
        least = _least(np.diff(self.times), np.array(self.pieces[1]).T)
        if least < LEAST * self.values.max():
            raise ProblemError(
                "values",
                "must be those of a spline that stays >= 0",
                f"one that falls to {least:.3g}",
                "Use interpolation='cubic', which does not overshoot, or more times.",
            )

    @classmethod
    def from_function(cls, function: Callable[[float], float], duration: float) -> Schedule:
        """Tabulate a function of time on [0, duration] to a relative 1e-8.

        The table is what is solved and stored, so that a file holds the whole problem: splines
        between kinks and jumps, which are located to twelve digits. In the place of a jump is a
        ramp of a relative width of 1e-9, half of it before. Features narrower than duration/4096
        may be missed: write these down as a `Schedule` or as phases.

        Raises
        ------
        ProblemError
            If the function is not finite and >= 0, or needs a table of more than 65,536 times.
        """
        times, values, kinks = tabulate(function, duration)
        return cls(times, values, "spline", kinks)

    def at_times(self, times: Any) -> Schedule:
        """The same values at other times; those of kinks move along."""
        kink = np.isin(self.times, self.kinks)
        return replace(self, times=times, kinks=np.asarray(times)[kink])

    def __call__(self, time: float) -> float:
        """The number at a time since the start of the phase."""
        starts, coefficients = self.pieces
        if time <= starts[0]:
            return float(self.values[0])
        if time >= self.times[-1]:
            return float(self.values[-1])
        piece = bisect_right(starts, time) - 1
        c3, c2, c1, c0 = coefficients[piece]
        x = time - starts[piece]
        # A spline may dip below zero by rounding where the function touches it.
        return max(((c3 * x + c2) * x + c1) * x + c0, 0.0)

    def at(self, times: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The number at many times since the start of the phase, shape (n,)."""
        if self.interpolation == "linear":
            return np.asarray(np.interp(times, self.times, self.values))
        start, coefficients = self.pieces
        inside = np.clip(times, self.times[0], self.times[-1])
        found = evaluate(np.array(start), np.array(coefficients).T, inside)
        # To the last bit what the table says, where a polynomial would round.
        return np.where(inside == self.times[-1], self.values[-1], np.maximum(found, 0.0))

    @cached_property
    def pieces(self) -> tuple[list[float], list[tuple[float, ...]]]:
        """Left ends and polynomial coefficients as plain floats: 20x faster than scipy's call."""
        if self.interpolation == "linear":
            slopes = np.diff(self.values) / np.diff(self.times)
            zeros = np.zeros_like(slopes)
            table = np.stack([zeros, zeros, slopes, self.values[:-1]])
        elif self.interpolation == "cubic":
            from scipy.interpolate import PchipInterpolator

            table = PchipInterpolator(self.times, self.values).c
        else:
            table = pieces(self.times, self.values, self.kinks)
        return self.times[:-1].tolist(), [tuple(c) for c in table.T.tolist()]

    @property
    def largest(self) -> float:
        """Largest value, between the times too."""
        return -_least(np.diff(self.times), -np.array(self.pieces[1]).T)

    def breaks(self, duration: float) -> list[float]:
        """Times that a step may not straddle: kinks, and of what is smooth every eighth knot."""
        sharp, smooth = self._bends()
        smooth[np.flatnonzero(smooth)] = np.arange(smooth.sum()) % EVERY == 0
        inside = (self.times > 0) & (self.times < duration)
        return [float(t) for t in self.times[inside & (sharp | smooth)]]

    def _bends(self) -> tuple[Any, Any]:
        """Which knots are kinks, and which are those of a smooth curve that bends."""
        if self.interpolation == "cubic":
            return np.ones(self.times.size, dtype=bool), np.zeros(self.times.size, dtype=bool)
        if self.interpolation == "spline":
            kink = np.isin(self.times, self.kinks)
            return kink, ~kink
        width = np.diff(self.times)
        slopes = np.diff(self.values) / width
        bend = np.zeros(self.times.size)
        bend[1:-1] = 0.25 * np.abs(np.diff(slopes)) * np.maximum(width[1:], width[:-1])
        # Before the first and after the last knot the number is constant.
        bend[[0, -1]] = 0.25 * np.abs(slopes[[0, -1]]) * width[[0, -1]]
        largest = self.values.max()
        sharp = bend > SHARP * largest
        return sharp, (bend > FLAT * largest) & ~sharp

    def __repr__(self) -> str:
        kinks = f", {self.kinks.size} kinks" if self.kinks.size else ""
        return (
            f"Schedule({self.interpolation}, {self.times.size} times from {self.times[0]:g} to "
            f"{self.times[-1]:g}, values from {self.values[0]:g} to {self.values[-1]:g}{kinks})"
        )

    def _repr_html_(self) -> str:
        rows = [
            ("interpolation", self.interpolation),
            ("times", f"{self.times.size}, from {self.times[0]:g} to {self.times[-1]:g}"),
            ("first and last value", f"{self.values[0]:g}, {self.values[-1]:g}"),
            ("smallest and largest", f"{self.values.min():g}, {self.values.max():g}"),
            ("kinks", str(self.kinks.size)),
        ]
        return as_table("Schedule", rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, enough to rebuild the schedule."""
        return {
            "times": self.times.tolist(),
            "values": self.values.tolist(),
            "interpolation": self.interpolation,
            **({"kinks": self.kinks.tolist()} if self.kinks.size else {}),
        }


def scheduled(argument: str, value: Any, duration: Any, check: Callable[[str, Any], Any]) -> Any:
    """A number of a phase, checked, or the schedule that it is; functions are tabulated."""
    if isinstance(value, Schedule):
        return value
    if not callable(value) or is_labelled(value):
        return check(argument, value)
    function: Callable[[float], float] = value
    try:
        return Schedule.from_function(function, float(np.max(np.asarray(duration))))
    except ProblemError as error:
        raise ProblemError(argument, error.rule, error.given, error.remedy) from None


def _least(width: Any, coefficients: Any) -> float:
    """Smallest value of piecewise cubics of these widths, shape (4, pieces)."""
    c3, c2, c1, c0 = coefficients
    found = [c0, ((c3 * width + c2) * width + c1) * width + c0]
    root = np.sqrt(np.maximum(c2 * c2 - 3.0 * c3 * c1, 0.0))
    for sign in (-1.0, 1.0):
        top, bottom = -c1, c2 + sign * root  # stable where c3 is small
        x = np.divide(top, bottom, out=np.zeros_like(width), where=bottom != 0)
        x = np.clip(x, 0.0, width)
        found.append(((c3 * x + c2) * x + c1) * x + c0)
    return float(np.min(found))
