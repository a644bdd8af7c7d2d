"""How to integrate: solve's options in solve_ivp's words, checked once."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from odekit.base.checks import MAX_NUMBERS, choice, count, number, positive
from odekit.base.errors import ProblemError

SCIPY_METHODS = ("RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA")
ENGINE_METHODS = ("Rodas5P",)
METHODS = (*SCIPY_METHODS, *ENGINE_METHODS)
LANES_METHODS = ("RK23", "RK45", "DOP853", *ENGINE_METHODS)
"""Methods that advance the trajectories of a sweep together; the others go one by one."""
DEVICES = ("cpu", "cuda", "auto")
DEVICE_METHODS = (None, "RK23", "RK45", *ENGINE_METHODS)
MAX_STEPS = 10_000_000
LARGEST_RTOL = 0.1
"""Beyond it steps are judged by nothing, and errors below zero came out as completed."""
# scipy clips rtol here, with a warning, in every method.
LEAST_RTOL = 100 * np.finfo(float).eps
MULTISTEP = ("BDF", "LSODA")
MULTISTEP_SAFETY = 1 / 30
"""Tolerance of a step of these methods, in that asked for. They estimate the last step alone,
but carry those of their past: with 1 BDF was off by 20 rtol on linear problems."""

DIFFERENTIATED = ("DOP853", "RK45", "Radau")
"""Methods whose steps have derivatives here. Those of Rosenbrock methods hold the Jacobian itself,
and would need that of the Jacobian."""


@dataclass(frozen=True)
class SolverOptions:
    """Options of `odekit.solve`, documented there."""

    method: str | None = None
    rtol: float = 1e-8
    atol: float = 1e-11
    max_step: float = np.inf
    first_step: float | None = None
    steady_state: float | None = None
    max_steps: int = MAX_STEPS
    max_seconds: float | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.method is not None:
            choice("method", self.method, METHODS)
        number(
            "rtol",
            self.rtol,
            f"be >= {LEAST_RTOL:.2g} and <= {LARGEST_RTOL:g}",
            lambda x: (x >= LEAST_RTOL) & (x <= LARGEST_RTOL),
            "1e-8 is the default.",
        )
        positive("atol", self.atol)
        if self.max_step != np.inf:
            positive("max_step", self.max_step)
        for name in ("first_step", "steady_state", "max_seconds"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        count("max_steps", self.max_steps, most=2**62)
        choice("device", self.device, DEVICES)

    def since(self, begin: float) -> SolverOptions:
        """With the seconds that are left of those allowed, counted from a `time.monotonic()`."""
        if self.max_seconds is None:
            return self
        left = begin + self.max_seconds - time.monotonic()
        return replace(self, max_seconds=max(left, 1e-9))

    def late(self, begin: float) -> bool:
        """Whether the seconds allowed are over."""
        return self.max_seconds is not None and time.monotonic() > begin + self.max_seconds

    def to_dict(self) -> dict[str, Any]:
        """The options that differ from their defaults, as plain data."""
        default = asdict(SolverOptions())
        return {k: v for k, v in asdict(self).items() if v != default[k]}


def stored_options(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `solve` that a result keeps, but for its device: known ones, and nothing else."""
    known = {"t_eval", *(f.name for f in fields(SolverOptions))} - {"device"}
    try:
        stored = json.loads(attrs.get("odekit_solver", "{}"))
        return {k: v for k, v in stored.items() if k in known and v is not None}
    except (TypeError, ValueError, AttributeError):
        return {}


def tolerance_of(attrs: Mapping[str, Any]) -> float:
    """What errors of a result are accurate to, in absolute terms; 0 of what was not integrated."""
    if "odekit_solver" not in attrs:
        return 0.0
    rtol = stored_options(attrs).get("rtol", SolverOptions.rtol)
    return float(rtol) if isinstance(rtol, float) else SolverOptions.rtol


def step_tolerance(method: str, rtol: float) -> float:
    """The rtol that a method of scipy is given: smaller than that asked for where it must be."""
    return max(rtol * MULTISTEP_SAFETY, LEAST_RTOL) if method in MULTISTEP else rtol


def check_integrator(given: object) -> None:
    """Refuse methods whose steps are not differentiated."""
    if given is not None:
        choice("integrator", given, DIFFERENTIATED)


def warn_of_tolerance(options: SolverOptions) -> None:
    """Warn where a multistep method has no room for its safety, and may miss rtol by far."""
    if options.method in MULTISTEP and options.rtol * MULTISTEP_SAFETY < LEAST_RTOL:
        warnings.warn(
            f"`rtol` — {options.method} may miss it more than a hundredfold below "
            f"{LEAST_RTOL / MULTISTEP_SAFETY:.1g} — {options.rtol:.3g} — take 'DOP853' or 'Radau'",
            stacklevel=3,
        )


def check_device(options: SolverOptions, sweep: bool) -> None:
    """Refuse a device for what it cannot do."""
    if options.device != "cuda":
        return
    if not sweep:
        raise ProblemError(
            "device",
            "must be 'cpu' or 'auto' for a single run",
            "'cuda'",
            "One trajectory is too little work for a GPU.",
        )
    if options.method not in DEVICE_METHODS or options.steady_state is not None:
        given = f"method={options.method!r}, steady_state={options.steady_state!r}"
        raise ProblemError(
            "device",
            f"must be 'cpu' or 'auto' unless `method` is one of {DEVICE_METHODS} and no "
            "`steady_state` is given",
            given,
            "Leave `method` out: it is chosen for each trajectory.",
        )


def output_times(argument: str, times: Any, total: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Check times that the user asked for."""
    if getattr(times, "size", 0) > MAX_NUMBERS:  # a broadcast view is small until it is copied
        raise ProblemError(
            argument,
            f"must hold at most {MAX_NUMBERS} times",
            str(times.size),
            "Ask for fewer rows.",
        )
    given: np.ndarray[Any, np.dtype[np.float64]] = np.array([np.nan])
    with contextlib.suppress(TypeError, ValueError):
        raw = np.asarray(times)
        # numpy makes numbers of truth values among numbers
        mixed = isinstance(times, list | tuple) and any(isinstance(t, bool) for t in times)
        if raw.dtype.kind in "iuf" and not (mixed or np.ma.is_masked(times)):
            given = raw.astype(np.float64)
    if given.ndim != 1 or not given.size or not np.isfinite(given).all():
        raise ProblemError(
            argument,
            "must be one axis of finite times",
            repr(times)[:80],
            "Units are steps/N.",
        )
    if (np.diff(given) <= 0).any():
        raise ProblemError(argument, "must increase strictly", str(given[:5]), "Sort the times.")
    if given[0] < 0 or given[-1] > total * (1 + 1e-12):
        raise ProblemError(
            argument,
            f"must lie between 0 and the total duration {total:g}",
            f"{given[0]:g} to {given[-1]:g}",
            "Times are cumulative over the phases.",
        )
    clipped: np.ndarray[Any, np.dtype[np.float64]] = np.minimum(given, total)
    return clipped


LINEAR_SPAN = 10.0
FIRST_TIME = 1e-2
PER_DECADE = 50
MOST_TIMES = 501


def default_times(duration: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Times of one phase since its start: even over short spans, logarithmic over long ones."""
    if duration <= LINEAR_SPAN:
        return np.linspace(0.0, duration, 101)[1:]
    decades = np.log10(duration / FIRST_TIME)
    size = min(int(np.ceil(PER_DECADE * decades)) + 1, MOST_TIMES)
    times = np.geomspace(FIRST_TIME, duration, size)
    times[-1] = duration
    return times
