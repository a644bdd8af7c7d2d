"""The search from several starts, which keeps the best where it is stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.base.progress import Bar
from odekit.control.budgets import Feasible, descend
from odekit.control.pieces import Controls
from odekit.control.variables import variables_of

SPREAD = (0.3, 1.7)
"""Other starts than the first are the problem's own values times factors between these."""


@dataclass
class Start:
    """Where a search ended that began at one start.

    Attributes
    ----------
    x, gradient : ndarray, shape (names,)
    value : float
    history : list of float
        The best so far, evaluation by evaluation.
    message : str
    """

    x: Floats
    value: float
    gradient: Floats
    history: list[float]
    message: str


class Stopped(Exception):
    """The time allowed is over, or the user asks to stop."""


@dataclass
class Search:
    """An objective and its gradient as functions of the controls.

    Attributes
    ----------
    controls : Controls
    within : Feasible
    weights : dict of str to float
        Quantities of `odekit.sensitivity`, whose weighted sum is minimised.
    tools, how
        What differentiates runs of the system, and how accurately.
    deadline : float
        On `time.monotonic`.
    evaluations : int
        Most of a start.
    """

    controls: Controls
    within: Feasible
    weights: Mapping[str, float]
    tools: Any
    how: Any
    deadline: float
    evaluations: int
    interrupts: Any = None
    bar: Bar | None = None

    @cached_property
    def asked(self) -> Any:
        """Its quantities and controls, as they are differentiated."""
        return self.tools.check(self.controls.problem, list(self.weights), self.controls.every)

    def check(self) -> None:
        """Refuse what has no derivative, or is not one number."""
        for reading in self.asked.readings:
            if reading.picked.size != 1:
                rule = "must be one number: name its entry"
                raise ProblemError("objective", rule, reading.name)

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Objective and gradient."""
        if time.monotonic() > self.deadline or (self.interrupts and self.interrupts.asked):
            raise Stopped
        answer = self.tools.differentiate(
            self.controls.at(x), self.asked, None, self.how, None, estimate=False
        )
        value, slope, place = 0.0, np.zeros(len(self.controls.every)), 0
        for reading, weight in zip(answer.readings, self.weights.values(), strict=True):
            if reading.base == "phase_end":
                value += weight * float(answer.fine.ends[reading.picked[0]])
                slope += weight * answer.fine.by_end[reading.picked[0]]
            else:
                value += weight * float(answer.fine.values[0, place])
                slope += weight * answer.fine.slopes[0, place]
                place += 1
        if not value > 0.0:
            rule = "must be positive: its logarithm is minimised"
            raise ProblemError("objective", rule, f"{value:.6g}")
        if self.bar is not None:
            self.bar.update(1)
        return value, np.asarray(np.bincount(self.controls.leads, weights=slope), dtype=float)

    def run(self, starts: int, seed: int, tolerance: float) -> list[Start]:
        """The best of every start, as many as time allows."""
        rng = np.random.default_rng(seed)
        own, found = self.controls.own, []
        for i in range(starts):
            factors = rng.uniform(*SPREAD, own.size) if i else 1.0
            one = self._from(self.within.project(own * factors), tolerance)
            if one is not None:
                found.append(one)
            if one is None or one.message.startswith("stopped"):
                break
        if not found:
            raise ProblemError("max_seconds", "must allow one run", "less", "Allow more.")
        return found

    def _from(self, x: Floats, tolerance: float) -> Start | None:
        best = Start(x, np.inf, np.zeros(x.size), [], "")

        def logarithm(z: Floats) -> tuple[float, Floats]:
            inside = np.clip(z, self.within.low, self.within.high)
            value, slope = self(inside)
            if value < best.value:
                best.x, best.value, best.gradient = inside.copy(), value, slope
            best.history.append(best.value)
            return float(np.log(value)), slope / value

        try:
            if self.within.sums:
                best.message = descend(logarithm, x, self.within, tolerance, self.evaluations)
            else:
                best.message = self._bounded(logarithm, x, tolerance)
        except (Stopped, KeyboardInterrupt):
            best.message = "stopped: the best so far"
        return best if best.history else None

    def _bounded(self, logarithm: Any, x: Floats, tolerance: float) -> str:
        from scipy.optimize import Bounds, minimize

        most, variables = self.evaluations, variables_of(self.controls)

        def of_variables(z: Floats) -> tuple[float, Floats]:
            there = variables.back(z)
            value, slope = logarithm(there)
            return value, slope * variables.pace(there)

        result = minimize(
            of_variables, variables.of(x), jac=True, method="L-BFGS-B",
            bounds=Bounds(variables.of(self.within.low), variables.of(self.within.high)),
            options={
                "maxfun": most, "maxiter": most, "ftol": tolerance, "gtol": 1e-9, "maxcor": 30,
            },
        )  # fmt: skip
        return str(result.message)
