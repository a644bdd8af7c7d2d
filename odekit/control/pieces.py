"""Controls of a schedule: numbers of a problem, cut into pieces of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.problem.base import AnyProblem
from odekit.problem.names import _replaced as replaced
from odekit.problem.names import get, steps_of
from odekit.problem.phase import OF_TASKS, PENALTIES, Phase
from odekit.problem.schedule import Schedule

BOUNDS = {
    "learning_rate": (0.0, np.inf), "readout_learning_rate": (0.0, np.inf),
    "bias_learning_rate": (0.0, np.inf), "keep_probability": (0.0, 1.0), "tasks": (0.0, 1.0),
    "test_scale": (0.0, np.inf), "duration": (0.0, np.inf),
    "consolidation.strength": (0.0, np.inf),
    **dict.fromkeys(PENALTIES, (0.0, np.inf)),
}  # fmt: skip
"""What a control may be where nothing else is said."""
TABLED = (
    "learning_rate", "readout_learning_rate", *PENALTIES, *OF_TASKS, "keep_probability", "tasks",
    "consolidation.strength",
)  # fmt: skip
"""Numbers of a phase that may change in time."""


@dataclass(frozen=True)
class Controls:
    """Numbers that are searched.

    Attributes
    ----------
    problem : AnyProblem
        With phases in pieces, or tables, as the controls need them.
    names : list of str
        Numbers of it, one control after the other.
    of : ndarray of int, shape (names,)
        Which control each belongs to.
    low, high : ndarray, shape (names,)
    begin : ndarray, shape (names,)
        When each piece begins, or where the value of a table stands.
    positive : list of bool
        Of each control: whether it may be any positive number by its nature.
    tied : list of (int, str)
        Which of the names others are kept equal to, and those.
    """

    problem: AnyProblem
    names: list[str]
    of: Any
    low: Floats
    high: Floats
    begin: Floats
    positive: list[bool]
    tied: list[tuple[int, str]] = field(default_factory=list)

    @property
    def every(self) -> list[str]:
        """All numbers that are set."""
        return [*self.names, *(name for _, name in self.tied)]

    @property
    def leads(self) -> Any:
        """Which of the names each of them follows, ndarray of int."""
        return np.array([*range(len(self.names)), *(i for i, _ in self.tied)], dtype=np.int64)

    @property
    def own(self) -> Floats:
        """Values in the problem as it is."""
        return np.array([float(get(self.problem, name)) for name in self.names])

    def at(self, x: Floats) -> AnyProblem:
        """The problem with these controls."""
        fields: dict[str, Any] = {"phases": list(self.problem.phases)}
        # Part by part, and the whole checked once: one by one fifty took longer than the run.
        for name, value in zip(self.every, x[self.leads], strict=True):
            (_, field), *steps = steps_of(self.problem, name, "controls")
            part = fields.get(field, getattr(self.problem, field))
            fields[field] = replaced(part, steps, float(value))
        changed: Any = self.problem
        found: AnyProblem = changed.replace(**fields)
        return found


def word_of(name: str) -> str:
    """What a number is, without where."""
    return name.rpartition("].")[2].partition("[")[0]


def phase_of(name: str) -> int | None:
    """Which phase a number is of."""
    return int(name[7 : name.index("]")]) if name.startswith("phases[") else None


def controls_of(
    problem: AnyProblem,
    parts: Mapping[str, int],
    shape: str,
    bounds: Mapping[str, tuple[float, float]],
    tied: Mapping[str, str],
) -> Controls:
    """Cut a problem for its controls; see `odekit.optimise`."""
    for name in bounds:
        if name not in parts:
            raise ProblemError("bounds", "must name controls", repr(name), f"There are {parts}.")
    names, parts = list(parts), _with_followers(problem, parts, tied)
    for name in parts:
        get(problem, name, "controls")
    pieces = [1] * len(problem.phases)
    for name, n in parts.items():
        i = phase_of(name)
        tabled = shape == "linear" and n > 1
        if tabled and word_of(name) not in TABLED:
            rule = "must be what may change in a phase, to be linear between values"
            raise ProblemError("controls", rule, name, "Leave out shape, for pieces.")
        if n > 1 and (i is None or (not tabled and pieces[i] not in (1, n))):
            rule = "must be of a phase, and of one with as many pieces as its others"
            raise ProblemError("controls", rule, f"{name}: {n}")
        if i is not None and not tabled:
            pieces[i] = max(pieces[i], n)
    if shape == "linear":
        found = _tables(problem, parts, bounds)
    else:
        found = _pieces(problem, parts, pieces, bounds)
    return _tie(found, names, list(tied.values()))


def _with_followers(
    problem: AnyProblem, parts: Mapping[str, int], tied: Mapping[str, str]
) -> dict[str, int]:
    """Controls, and after them what is tied to some, in as many pieces."""
    found = dict(parts)
    for name, leader in tied.items():
        if leader not in parts:
            raise ProblemError("tied", "must tie to controls", repr(leader), f"There are {parts}.")
        if name in parts:
            rule = "must tie numbers that are no controls themselves"
            raise ProblemError("tied", rule, repr(name), "Leave it out of the controls.")
        get(problem, name, "tied")
        found[name] = parts[leader]
    return found


def _tie(controls: Controls, names: list[str], leaders: list[str]) -> Controls:
    """Take what follows, the last of the controls, out of those that are searched."""
    own = controls.of < len(names)
    followers: list[tuple[int, str]] = []
    for place, leader in enumerate(leaders, len(names)):
        pairs = zip(
            np.flatnonzero(controls.of == names.index(leader)),
            np.flatnonzero(controls.of == place),
            strict=True,
        )
        followers += [(int(i), controls.names[j]) for i, j in pairs]
    return replace(
        controls,
        names=controls.names[: own.sum()],
        **{name: getattr(controls, name)[own] for name in ("of", "low", "high", "begin")},
        positive=controls.positive[: len(names)],
        tied=followers,
    )


def _pieces(
    problem: AnyProblem, parts: Mapping[str, int], pieces: Sequence[int], bounds: Any
) -> Controls:
    first = np.concatenate([[0], np.cumsum(pieces)])
    phases = [part for i, phase in enumerate(problem.phases) for part in _cut(i, phase, pieces[i])]
    fields: Any = problem
    changed = fields.replace(phases=phases)
    places: list[list[str]] = []
    for name, n in parts.items():
        i = phase_of(name)
        if i is None:
            places.append([name])
            continue
        rest = name[name.index("]") :]
        if n < pieces[i]:
            rule = "must be cut into as many pieces as others of its phase"
            raise ProblemError("controls", rule, f"{name}: {n}", f"Write {pieces[i]}.")
        places.append([f"phases[{first[i] + j}{rest}" for j in range(n)])
    ends = np.concatenate([[0.0], np.cumsum([float(p.duration) for p in changed.phases])])
    begins = [0.0 if phase_of(n) is None else ends[phase_of(n)] for names in places for n in names]
    return _joined(changed, parts, places, begins, bounds)


def _cut(index: int, phase: Phase, n: int) -> list[Phase]:
    if n == 1:
        return [phase]
    if phase.thresholds or phase.schedules:
        given = "`until`" if phase.thresholds else "a table"
        rule = "must last its whole duration and have no tables, to be cut into pieces"
        raise ProblemError(f"phases[{index}]", rule, given)
    first = replace(phase, duration=phase.duration / n)
    return [first, *([replace(first, consolidation=None, copy_heads=None)] * (n - 1))]


def _tables(problem: AnyProblem, parts: Mapping[str, int], bounds: Any) -> Controls:
    phases, places, begins = list(problem.phases), [], []
    ends = np.concatenate([[0.0], np.cumsum([float(p.duration) for p in phases])])
    for name, n in parts.items():
        i = phase_of(name)
        if n == 1 or i is None:
            places.append([name])
            begins.append(0.0 if i is None else float(ends[i]))
            continue
        times = np.linspace(0.0, float(phases[i].duration), n)
        table = Schedule(times, np.full(n, float(get(problem, name))))
        phases[i] = replaced(phases[i], steps_of(problem, name, "controls")[2:], table)
        places.append([f"{name}.values[{j}]" for j in range(n)])
        begins += list(ends[i] + times)
    fields: Any = problem
    return _joined(fields.replace(phases=phases), parts, places, begins, bounds)


def _joined(
    problem: AnyProblem, parts: Mapping[str, int], places: list[list[str]], begins: Any, bounds: Any
) -> Controls:
    found, positive = [], []
    for name, n in parts.items():
        of_phase = phase_of(name) is not None and word_of(name) in OF_TASKS
        natural = (0.0, np.inf) if of_phase else BOUNDS.get(word_of(name), (-np.inf, np.inf))
        positive.append(natural == (0.0, np.inf))
        low, high = bounds.get(name, natural)
        if not low < high:
            raise ProblemError(f"bounds[{name!r}]", "must increase", f"({low}, {high})")
        found += [(float(low), float(high))] * n
    low, high = np.array(found).T
    sizes = [len(names) for names in places]
    of = np.repeat(np.arange(len(places)), sizes)
    names = [name for part in places for name in part]
    return Controls(problem, names, of, low, high, np.array(begins, dtype=float), positive)
