"""What the student and the teacher see of each group of inputs, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import is_labelled
from odekit.base.errors import ProblemError
from odekit.problem.points import of_some
from odekit.systems.committee.problem import WHITE
from odekit.systems.committee.structure import refuse_general
from odekit_kernels.committee.inputs import Inputs

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.problem.points import Points
    from odekit.systems.committee.points import CommitteePoints
    from odekit.systems.committee.problem import Problem, Task

Indices = np.ndarray[Any, np.dtype[np.int64]]


SHARP = 1e8
"""Factor on what a sign teacher sees: to double precision erf(1e8 x/√2) is sign(x)."""


@dataclass(frozen=True)
class Seen:
    """Groups of inputs as arrays: laws are what tasks have in common.

    Attributes
    ----------
    share : ndarray, shape (points or 1, G)
        Fractions of the inputs; G = 0 where all inputs are alike and of unit variance.
    ss, st, tt : ndarray, shape (points or 1, V, G)
        Second moments of what the student sees, of that and what the teacher sees, and of that.
    law : ndarray of int64, shape (tasks,)
        Law of each task of the problem.
    """

    share: Floats
    ss: Floats
    st: Floats
    tt: Floats
    law: Indices

    @property
    def size(self) -> tuple[int, int]:
        """Groups and laws."""
        return self.share.shape[1], self.ss.shape[1]

    def inputs(self, law: Indices, point: int = 0) -> Inputs | None:
        """Those of one point as the kernels of a single trajectory take them; None without any."""
        if not self.share.size:
            return None
        share, ss, st, tt = (
            np.ascontiguousarray(x[min(point, len(x) - 1)])
            for x in (self.share, self.ss, self.st, self.tt)
        )
        return Inputs(share, np.ones_like(share), ss, st, tt, law)

    def total(self, blocks: Floats, points: Any = None) -> Floats:
        """Σ_τ f_τ of blocks (points or 1, ..., G, a, b) of all points, or of some."""
        some = of_some(self.share, points)
        share = some.reshape(len(some), *(1,) * (blocks.ndim - 4), -1, 1, 1)
        return np.asarray((share * blocks).sum(axis=-3))


def seen_of(problem: Problem, points: Points, *, apart: bool = False) -> Seen:
    """What the tasks of a problem see, with tasks that see the same under one law.

    With `apart` each task has a law of its own, and white inputs are one group.
    """
    tasks = list(problem.tasks.values())
    names: list[str | None] = list(problem.groups or [None])
    sharp = sharpness(problem)
    changed = any(phase.input_variance for phase in problem.phases)
    alike = problem.groups is None and sharp == 1.0 and not changed
    if not apart and alike and all(sees_all(task) for task in tasks):
        none = np.zeros((1, 0, 0))
        return Seen(np.zeros((1, 0)), none, none, none, np.zeros(len(tasks), dtype=np.int64))
    share = [1.0] if problem.groups is None else list(problem.groups.values())
    m, a, s = (
        points.stack([of_group(getattr(t, kind), g) for t in tasks for g in names], 0)
        for kind in ("input_variance", "student_gain", "student_noise_std")
    )
    every = [
        x.reshape(len(x), len(tasks), len(names))
        for x in (a * a * m + s * s, sharp * a * m, sharp**2 * m + 0 * a)
    ]
    size = max(len(x) for x in every)
    views = np.array([np.broadcast_to(x, (size, *x.shape[1:])) for x in every])
    every_law = np.arange(len(tasks))
    first, law = (list(every_law), every_law) if apart else distinct(views)
    ss, st, tt = (np.ascontiguousarray(x[:, first]) for x in views)
    return Seen(points.stack(share, 0), ss, st, tt, law)


def sharpness(problem: Problem) -> float:
    """Factor on what teachers see."""
    return SHARP if problem.teacher_activation == "sign" else 1.0


def noise_in(problem: Problem, phase: Phase, task: str) -> Any:
    """Label noise of a task in a phase."""
    return (phase.noise_std or {}).get(task, problem.tasks[task].noise_std)


Views = dict[str, tuple[Floats, Floats]]
"""Scale and base (points or 1,) of the second moments ss, st and tt, by name."""


def views_of(
    problem: Problem, points: Points, task: str, group: str | None, sharp: float = 1.0
) -> Views:
    """Second moments of what a task sees, scale · variance + base."""
    gain, noise = (
        points.values(of_group(getattr(problem.tasks[task], kind), group))
        for kind in ("student_gain", "student_noise_std")
    )
    none, one = np.zeros(1), np.ones(1)
    return {
        "ss": (gain * gain, noise * noise),
        "st": (sharp * gain, none),
        "tt": (sharp * sharp * one, none),
    }


def laws_in(
    points: Any, phase: Phase, known: Mapping[str, Floats], law: Indices
) -> tuple[dict[str, Floats], Indices]:
    """Second moments of laws (points or 1, V, G) in a phase, and the law of each task.

    After those of the problem stand those of the tasks to which the phase gives a variance.
    """
    names: list[Any] = list(points.problem.groups or [None])
    blocks, law = {name: [x] for name, x in known.items()}, law.copy()
    for task, variance in (phase.input_variance or {}).items():
        law[points.tasks.index(task)] = len(blocks["ss"]) - 1 + known["ss"].shape[1]
        parts: dict[str, list[Floats]] = {name: [] for name in known}
        for group in names:
            m = points.values(points.first(of_group(variance, group)))
            for name, (scale, base) in points.views(task, group).items():
                parts[name].append(scale * m + base)
        for name, row in parts.items():
            blocks[name].append(joined(row)[:, np.newaxis])
    return {name: np.ascontiguousarray(joined(x)) for name, x in blocks.items()}, law


def joined(parts: Sequence[Floats]) -> Floats:
    """Arrays (points or 1, n, ...) side by side along n; those of one axis have n = 1."""
    parts = [x[:, np.newaxis] if x.ndim == 1 else x for x in parts]
    size = max(len(x) for x in parts)
    return np.concatenate([np.broadcast_to(x, (size, *x.shape[1:])) for x in parts], axis=1)


def seen_in(points: CommitteePoints, phase: Phase) -> Seen:
    """What the tasks of a problem see in a phase."""
    seen = points.seen
    if not phase.input_variance:
        return seen
    known = {name: getattr(seen, name) for name in ("ss", "st", "tt")}
    blocks, law = laws_in(points, phase, known, seen.law)
    return replace(seen, **blocks, law=law)


def distinct(views: Floats) -> tuple[list[int], Indices]:
    """First task of each law, and the law of each task; views (3, points, tasks, G)."""
    first: list[int] = []
    law = np.zeros(views.shape[2], dtype=np.int64)
    for task in range(views.shape[2]):
        same = [i for i, j in enumerate(first) if (views[:, :, j] == views[:, :, task]).all()]
        if not same:
            first.append(task)
        law[task] = same[0] if same else len(first) - 1
    return first, law


def refuse_views(points: CommitteePoints, what: str) -> None:
    """Refuse groups and views of inputs where what is computed knows white inputs alone."""
    refuse_general(points.problem, what)
    if points.G:
        rule = f"must have white inputs, which the student sees as they are, for {what}"
        given = "groups of inputs" if points.problem.groups is not None else "views of inputs"
        raise ProblemError("problem", rule, given, "Leave them out.")


def of_group(value: Any, group: str | None) -> Any:
    """A number of one group, of a number for all or a mapping."""
    return value[group] if isinstance(value, Mapping) else value


def sees_all(task: Task) -> bool:
    """Whether a task's student sees white inputs of unit variance, as its teacher does."""
    given = {name: getattr(task, name) for name in WHITE}
    return all(
        not isinstance(x, Mapping) and bool(np.all(np.asarray(x) == WHITE[name]))
        for name, x in given.items()
    )


def fractions_of(problem: Problem) -> Any:
    """Fractions of the groups over the dim ``group``, and those of a sweep."""
    import xarray as xr

    groups = problem.groups or {}
    if not any(is_labelled(f) for f in groups.values()):
        return np.array(list(groups.values()))
    parts = [f if is_labelled(f) else xr.DataArray(f) for f in groups.values()]
    return xr.concat(xr.broadcast(*parts), dim="group").transpose(..., "group")


def total(problem: Problem, blocks: Any) -> Any:
    """Σ_τ f_τ of overlaps (..., G, a, b), labelled where they or the fractions are."""
    share = fractions_of(problem)
    if not is_labelled(blocks) and not is_labelled(share):
        return np.tensordot(share, np.asarray(blocks), 1)
    import xarray as xr

    if not is_labelled(share):
        share = xr.DataArray(share, dims="group")
    core = ("teacher", "teacher_other")
    if not is_labelled(blocks):
        blocks = xr.DataArray(blocks, dims=("group", *core))
    return (share * blocks).sum("group").transpose(..., *core)
