"""Numbers of a problem by name, as directions in what a run is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.problem.names import get, steps_of
from odekit.systems.committee.gradients.phasecolumns import (
    Slopes,
    none_of,
    put,
    put_in_table,
    put_view,
)
from odekit.systems.committee.gradients.places import is_structured
from odekit.systems.committee.seen import SHARP, of_group

ARRAY_DIMS = {
    "Q": ("student", "student_other"),
    "R": ("student", "teacher"),
    "T": ("teacher", "teacher_other"),
    "readout": ("teacher",),
    "heads": ("student",),
    "values": ("knot",),
    "times": ("knot",),
    "keep_probability": ("student",),
    "input_mean": ("teacher",),
    "biases": ("student",),
    "teacher_biases": ("teacher",),
    "test_scale": ("student",),
    "label": ("output",),
    "noise_std": ("output",),
}
OF_PROBLEM = {"biases": "b", "teacher_biases": "bias", "test_scale": "scale"}
PARTS = ((".", "values"), (".", "times"))
VIEWS = ("input_variance", "student_gain", "student_noise_std")


@dataclass
class Name:
    """A name that was asked for.

    Attributes
    ----------
    entries : list of str
    dims, shape : of the entries
    first : int
        Where they stand among all.
    keys : list of str
        What leads there; the last is of each entry where there are several.
    indices : list of tuple of int
        Of the entries.
    part : str
        "values" or "times" of a table, or nothing.
    """

    name: str
    entries: list[str]
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    first: int
    keys: list[str]
    indices: list[tuple[int, ...]]
    part: str


def names_of(problem: Any, wrt: Sequence[str]) -> list[Name]:
    """The names with their entries; refuses what is no number of the problem, or no schedule's."""
    found: list[Name] = []
    first = 0
    for name in wrt:
        value = _value(problem, name)
        shape = np.shape(value)
        steps = steps_of(problem, name, "wrt")
        keys, last = [key for _, key in steps], steps[-1][1]
        dims = ARRAY_DIMS["heads" if name.startswith("heads") else last] if shape else ()
        more = "output" if name.startswith(("heads", "tasks")) else "group"
        dims = (more, *dims) if len(shape) > len(dims) else dims
        indices = list(np.ndindex(shape)) if shape else [_index(last)]
        entries = [f"{name}[{', '.join(map(str, i))}]" for i in indices] if shape else [name]
        of = steps[-1] if shape else steps[-2:][0]
        part = of[1] if of in PARTS and keys[0] == "phases" else ""
        own = [*keys, ""] if shape else keys
        found.append(Name(name, entries, dims, shape, first, own, indices, part))
        first += len(entries)
    every = Counter(entry for one in found for entry in one.entries)
    twice = next((entry for entry, times in every.items() if times > 1), None)
    if twice is not None:
        raise ProblemError("wrt", "must name each number once", repr(twice))
    return found


def _value(problem: Any, name: Any) -> Any:
    try:
        return get(problem, name, "wrt")
    except ProblemError as error:
        words = str(name)
        if any(isinstance(_at(problem, f"{words}.{part}"), np.ndarray) for part in ("values",)):
            remedy = f"Write {words}.values for all of its values, or {words}.values[0]."
            raise ProblemError("wrt", "must name numbers, not a schedule", words, remedy) from None
        if any(word in words for word in ("seed", "batch_size", "gradient_flow", "frozen")):
            rule = "must name what may take any value between two others"
            remedy = "Draws, counts and choices have no derivative: compare runs."
            raise ProblemError("wrt", rule, words, remedy) from None
        raise error


def _at(problem: Any, name: str) -> Any:
    try:
        return get(problem, name)
    except ProblemError:
        return None


def laws_of(points: Any) -> Any:
    """What tasks see of the inputs: `Seen`, or the `Laws` of structured problems."""
    return points.own_laws if is_structured(points) else points.seen


class Columns:
    """What every parameter changes.

    Parameters
    ----------
    problem : Problem
        Without sweep dims.
    points : CommitteePoints
        Of it.
    names : list of Name

    Attributes
    ----------
    m : int
        Number of parameters.
    entries : list of str
        Their names.
    Q, R, v, T : ndarray, shapes ([G,] K, K, m), ([G,] K, P, m), (H, [O,] K, m), ([G,] P, P, m)
        Derivatives of the start; those of mirrored entries are equal.
    u, sigma : ndarray, shapes (W, [O,] P, m), (W, [O,] m)
        Of all tasks.
    ss, st, tt : ndarray, shape (V, G, m)
        Of what is seen of the inputs.
    b, gain, mean, label, bias, scale : ndarray, last axis m
        Of structured problems: biases of the units at the start (K,), the student's gain (V, G),
        means of inputs (V, P), labels (W, O), teachers' biases (P,), factors of heads at test (K,).
    carries_frame : bool
        Whether derivatives by what is constant in a phase but not in a run are needed: overlaps of
        fixed vectors, consolidations.
    memory : dict
        What the phases of a run share.
    phases : list of PhaseColumns
    """

    def __init__(self, problem: Any, points: Any, names: Sequence[Name]) -> None:
        self.problem, self.points = problem, points
        self.entries = [entry for name in names for entry in name.entries]
        self.m = m = len(self.entries)
        K, P, H, W = points.K, points.P, len(points.heads), len(points.tasks)
        laws = laws_of(points)
        G, V = laws.size
        of_outputs = (points.O,) if is_structured(points) else ()
        block = (G,) if G else ()
        self.Q, self.R, self.T = (
            np.zeros((*block, *shape, m)) for shape in ((K, K), (K, P), (P, P))
        )
        self.v, self.u = np.zeros((H, *of_outputs, K, m)), np.zeros((W, *of_outputs, P, m))
        self.sigma, self.label = (np.zeros((W, *of_outputs, m)) for _ in range(2))
        self.gain, self.mean = np.zeros((V, G, m)), np.zeros((V, P, m))
        self.b, self.scale, self.bias = (np.zeros((size, m)) for size in (K, K, P))
        self.ss, self.st, self.tt = (np.zeros((V, G, m)) for _ in range(3))
        self.memory: dict[Any, Any] = {}
        self.carries_frame = any(phase.consolidation is not None for phase in problem.phases)
        self.phases = [none_of(phase, K, G, m) for phase in problem.phases]
        for name in names:
            if name.part:
                put_in_table(self.phases[int(name.keys[1])], name)
                continue
            for j, index in enumerate(name.indices):
                self._put(name.entries[j], name.keys, index, name.first + j)

    def _put(self, name: str, keys: list[str], index: Any, j: int) -> None:
        if keys[0] == "state":
            array = {"Q": self.Q, "R": self.R, "T": self.T}[keys[1]]
            block, index = index[:-2], index[-2:]
            array[(..., *block, *index, j)] = 1.0
            if keys[1] != "R":
                array[(..., *block, *index[::-1], j)] = 1.0
            self.carries_frame |= keys[1] == "T"
        elif keys[0] == "heads":
            self.v[(self.points.heads.index(keys[1]), ..., *index, j)] = 1.0
        elif keys[0] in OF_PROBLEM:
            getattr(self, OF_PROBLEM[keys[0]])[(*(index or (...,)), j)] = 1.0
        elif keys[0] == "tasks":
            task = self.points.tasks.index(keys[1])
            if keys[2] == "noise_std":
                self.sigma[(task, ..., *index, j)] = 1.0
            elif keys[2] == "label":
                self.label[(task, ..., *index, j)] = 1.0
            elif keys[2] == "input_mean":
                self.mean[(laws_of(self.points).law[task], *index, j)] = 1.0
            elif keys[2] in VIEWS:
                self._put_view(task, keys[2], keys[3] if len(keys) > 3 else None, j)
            else:
                self.u[(task, ..., *index, j)] = 1.0
        elif keys[0] == "phases":
            put(self.phases[int(keys[1])], self, name, keys[2:], index, j)
        else:
            raise ProblemError("wrt", "must name a number that a run depends on", name)

    def _put_view(self, task: int, what: str, group: str | None, j: int) -> None:
        """Derivatives of a² m + s², a m and m, those that a sign teacher sees scaled."""
        law, name = int(laws_of(self.points).law[task]), self.points.tasks[task]
        places = range(len(self.groups)) if group is None else [self.groups.index(group)]
        for g in places:
            self.gain[law, g, j] = float(what == "student_gain")
            found = self.slopes(name, self.groups[g], what)
            self.ss[law, g, j], self.st[law, g, j], self.tt[law, g, j] = found
            for own in self.phases:
                put_view(own, self, name, what, g, j)

    @property
    def groups(self) -> list[Any]:
        """Names of the groups of inputs; None alone where there are none."""
        return list(self.problem.groups or [None])

    def slopes(self, task: str, group: str | None, what: str, m: float | None = None) -> Slopes:
        """Derivatives of ss, st and tt of a task's law by one of its numbers, at a variance m."""
        own = self.problem.tasks[task]
        signs = self.problem.teacher_activation == "sign" and not is_structured(self.points)
        sharp = SHARP if signs else 1.0
        variance, a, s = (float(of_group(getattr(own, view), group)) for view in VIEWS)
        m = variance if m is None else m
        return {
            "input_variance": (a * a, sharp * a, sharp**2),
            "student_gain": (2.0 * a * m, sharp * m, 0.0),
            "student_noise_std": (2.0 * s, 0.0, 0.0),
        }[what]


def _index(key: str) -> tuple[int, ...]:
    parts = [part.strip() for part in key.split(",")]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()
