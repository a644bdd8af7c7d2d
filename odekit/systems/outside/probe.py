"""A user's functions in plain Python: whether they run, and the values that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.problem.axes import at, axes
from odekit_kernels.outside.functions import RATES, Fields, layout

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.outside.problem import DeclaredProblem

PROBES = 3
"""Points at which the functions are written down, to be known again."""
KNOWN_TO = 1e-9


def layouts(problem: DeclaredProblem) -> tuple[Any, Any]:
    """Types of the records of the state and of the parameters."""
    own, lengths = problem.declaration, problem.lengths
    state = {name: tuple(lengths[d] for d in dims) for name, dims in own.state.items()}
    given = {name: tuple(lengths[d] for d in dims) for name, dims in own.parameters.items()}
    return layout(state), layout({**given, **dict.fromkeys(RATES, ())})


def _flat(values: Mapping[str, Any]) -> Floats:
    blocks = [np.ravel(np.asarray(value, dtype=float)) for value in values.values()]
    return np.concatenate(blocks) if blocks else np.zeros(0)


class Probe:
    """The functions of the first point of a problem, called as they are written."""

    def __init__(self, problem: DeclaredProblem) -> None:
        found = axes(problem)
        self.problem: DeclaredProblem = at(problem, dict.fromkeys(found, 0)) if found else problem
        self.own = problem.declaration
        self.state, self.given = layouts(problem)
        self.start = _flat(self.problem.state)

    def parameters(self, task: str, phase: Phase | None, rates: tuple[float, float]) -> Floats:
        """Numbers of the parameters of a task."""
        return np.append(_flat(self.problem.values_of(task, phase)), rates)

    def rhs(self, y: Floats, p: Floats) -> Floats:
        """Derivative; NaN where it is not written."""
        dy = np.full(y.size, np.nan)
        assert self.own.rhs is not None
        with np.errstate(all="ignore"):
            _plain(self.own.rhs)(*self._records(y, p), Fields(dy, self.state))
        return dy

    def error(self, y: Floats, p: Floats) -> float:
        """Error."""
        assert self.own.error is not None
        with np.errstate(all="ignore"):
            return float(_plain(self.own.error)(*self._records(y, p)))

    def jacobian(self, y: Floats, p: Floats) -> Floats:
        """Jacobian by the user's function."""
        J = np.zeros((y.size, y.size))
        assert self.own.jacobian is not None
        with np.errstate(all="ignore"):
            _plain(self.own.jacobian)(*self._records(y, p), J)
        return J

    def _records(self, y: Floats, p: Floats) -> tuple[Fields, Fields]:
        y, p = y.copy(), p.copy()
        y.setflags(write=False)
        p.setflags(write=False)
        return Fields(y, self.state), Fields(p, self.given)

    def place(self, index: int) -> str:
        """Name and indices of a number of the state."""
        for name in self.state.names:
            kind, first = self.state.fields[name][:2]
            inside = index - first // 8
            if inside < kind.itemsize // 8:
                found = ", ".join(str(i) for i in np.unravel_index(inside, kind.shape))
                return f"{name}[{found}]" if kind.shape else name
        raise IndexError(index)


def _plain(function: Any) -> Any:
    return getattr(function, "py_func", function)


def check_functions(problem: DeclaredProblem) -> None:
    """Call everything once where the problem begins, in each of its phases and tasks."""
    probe = Probe(problem)
    for phase in probe.problem.phases:
        rates = tuple(float(r(0.0) if callable(r) else r) for r in phase.rates)
        for task in phase.mixture:
            p = probe.parameters(task, phase, (rates[0], rates[1]))
            _check_rhs(probe, p)
            if probe.own.jacobian is not None:
                _run("jacobian", probe.jacobian, probe.start, p)
    for task in problem.tasks:
        _run("error", probe.error, probe.start, probe.parameters(task, None, (np.nan, np.nan)))


def _run(what: str, function: Any, y: Floats, p: Floats) -> Any:
    try:
        return function(y, p)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ProblemError(
            what,
            "must run where the problem begins",
            said[:300],
            "It may read y and p, and writes only its last argument."
            if "read-only" in said
            else "Names and dims are those of the declaration.",
        ) from error


def _check_rhs(probe: Probe, p: Floats) -> None:
    dy = _run("rhs", probe.rhs, probe.start, p)
    bad = np.flatnonzero(~np.isfinite(dy))
    if bad.size:
        shown = ", ".join(f"d.{probe.place(i)}" for i in bad[:4])
        raise ProblemError(
            "rhs",
            "must write a finite derivative of every number of the state",
            f"none for {shown}{'' if bad.size < 5 else ', ...'} ({bad.size} of {dy.size})",
            "What it does not write is NaN.",
        )


# ------------------------------------------------------------------------------------ known again


def fingerprint(problem: DeclaredProblem) -> dict[str, Any]:
    """Values of the functions near the start of the first point, for each task."""
    probe, found = Probe(problem), {}
    i = np.arange(probe.start.size)
    for task in problem.tasks:
        p, q = (probe.parameters(task, None, rates) for rates in ((0.3, 0.2), (np.nan, np.nan)))
        values = []
        for k in range(PROBES):
            y = probe.start * (1.0 + 0.01 * k * np.cos(i + k)) + 0.01 * k * np.sin(1.0 + i * k)
            values += [_tried(probe.rhs, y, p), _tried(probe.error, y, q)]
        found[task] = values
    return found


def _tried(function: Any, y: Floats, p: Floats) -> Any:
    """Values as JSON data: null for what is not finite or cannot be had."""
    try:
        values = np.atleast_1d(function(y, p))
    except Exception:
        return None
    return [float(x) if np.isfinite(x) else None for x in values]


def same(found: Any, written: Any) -> bool:
    """Whether two fingerprints are of the same functions."""
    if not isinstance(written, Mapping) or found.keys() != written.keys():
        return False
    return all(_alike(a, b) for task in found for a, b in _pairs(found[task], written[task]))


def _pairs(a: Any, b: Any) -> list[tuple[Any, Any]]:
    if not isinstance(b, list) or len(a) != len(b):
        return [(0.0, None)]
    return list(zip(a, b, strict=True))


def _alike(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    x, y = np.array(a, dtype=float), np.array(b, dtype=float)
    return x.shape == y.shape and np.allclose(x, y, rtol=KNOWN_TO, atol=1e-12, equal_nan=True)
