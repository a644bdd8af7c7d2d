"""Families of related tasks: several teachers, how alike they are, and the heads that answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count, is_labelled
from odekit.base.errors import ProblemError
from odekit.systems.committee import teachers
from odekit.systems.committee.problem import Task

SHARED_HEAD = "shared"


@dataclass(frozen=True, eq=False)
class TaskFamily:
    """Fixed vectors and tasks that belong together: what `task_family` returns.

    Attributes
    ----------
    T : ndarray, shape (tasks * units, tasks * units), or DataArray
        Overlaps of all teachers' units, one teacher after the other; labelled in a sweep.
    tasks : dict of str to Task
    """

    T: Any
    tasks: dict[str, Task]

    @property
    def head_names(self) -> list[str]:
        """Names of the heads that the tasks need, each once."""
        return list(dict.fromkeys(task.head or name for name, task in self.tasks.items()))

    def heads(self, readout: Any) -> dict[str, Any]:
        """The student's heads at time 0.

        Parameters
        ----------
        readout : array_like, shape (K,) or (heads, K)
            Where every head starts, or one row for each. A labelled array with the dim ``student``
            is where every head starts, along its sweep.

        Examples
        --------
        >>> import odekit as ok
        >>> ok.task_family(feature_similarity=0.5).heads([1.0, 1.0])
        {'1': [1.0, 1.0], '2': [1.0, 1.0]}
        """
        names = self.head_names
        if is_labelled(readout) or np.ndim(readout) != 2:
            return dict.fromkeys(names, readout)
        if len(readout) != len(names):
            raise ProblemError(
                "readout",
                f"must have one row for each of the heads {names}",
                f"{len(readout)} rows",
                "Give one readout (K,) for all to start alike.",
            )
        return dict(zip(names, readout, strict=True))


def task_family(
    units: int = 1,
    *,
    tasks: int = 2,
    feature_similarity: Any = None,
    shared_units: int | None = None,
    readout_similarity: Any = 1.0,
    readout_scale: float = 1.0,
    noise_std: Any = 0.0,
    names: Sequence[str] | None = None,
    shared_head: bool = False,
) -> TaskFamily:
    """Several tasks whose teachers are alike to a given degree in features and in readouts.

    Parameters
    ----------
    units : int
        Units M of each teacher; those of one teacher are orthonormal.
    tasks : int
        Number of tasks.
    feature_similarity : float or array_like, shape (tasks, tasks), optional
        V = B_n·B'_n/N between the n-th units of every two teachers: every unit is rotated. Or the
        whole matrix, with ones on its diagonal. A labelled array is swept over. Default 0:
        unrelated features.
    shared_units : int, optional
        In its place, that the first units are the same in every teacher, the others orthogonal.
    readout_similarity : float or array_like, shape (tasks, tasks)
        Cosine between every two readouts; 1 gives all tasks the even readout. With one unit there
        are only 1 and −1. A labelled array is swept over.
    readout_scale : float
        Root mean square of a readout's entries.
    noise_std : float or sequence of float
        Label noise of every task, or of each.
    names : sequence of str, optional
        "1", "2", … by default.
    shared_head : bool
        One head, "shared", for all tasks; otherwise each has its own, with the task's name.

    Returns
    -------
    TaskFamily

    Raises
    ------
    ProblemError
        If no vectors have these similarities, or both ways of feature similarity are given.

    Examples
    --------
    Two tasks, learned one after the other by a student of two units:

    >>> import odekit as ok
    >>> family = ok.task_family(feature_similarity=0.5)
    >>> family.T
    array([[1. , 0.5],
           [0.5, 1. ]])
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters.draw(
    ...         2, family.T, weight_std=1e-3, input_dim=10_000, seed=7),
    ...     heads=family.heads(ok.polar(1.0, 0.785)),
    ...     tasks=family.tasks,
    ...     phases=[ok.Phase(task, 300.0, 1.0, 1.0) for task in family.tasks],
    ... )
    >>> [problem.head_of(task) for task in problem.tasks]
    ['1', '2']
    """
    M, n = count("units", units), count("tasks", tasks)
    labels = _names(names, n)
    T = _features(M, n, feature_similarity, shared_units)
    readouts = teachers.readouts(M, readout_similarity, tasks=n, scale=readout_scale)
    if not isinstance(shared_head, bool | np.bool_):
        raise ProblemError("shared_head", "must be True or False", repr(shared_head))
    noise = _noise(noise_std, n)
    family = {
        label: Task(
            readout=_placed(readouts, i),
            noise_std=noise[i],
            head=SHARED_HEAD if shared_head else None,
        )
        for i, label in enumerate(labels)
    }
    return TaskFamily(T, family)


def _placed(readouts: Any, i: int) -> Any:
    """Readout of one teacher over the fixed vectors of all."""
    n, M = readouts.shape[-2:]
    full: Floats = np.zeros((*readouts.shape[:-2], n, M))
    full[..., i, :] = readouts[..., i, :]
    flat = full.reshape(*readouts.shape[:-2], n * M)
    if not is_labelled(readouts):
        return flat
    import xarray as xr

    dims = (*readouts.dims[:-2], "teacher")
    return xr.DataArray(flat, dims=dims, coords=dict(readouts.coords))


def _features(M: int, n: int, similarity: Any, shared_units: int | None) -> Any:
    if shared_units is None:
        return teachers.rotated(M, 0.0 if similarity is None else similarity, tasks=n)
    if similarity is not None:
        raise ProblemError(
            "shared_units",
            "cannot be given together with `feature_similarity`",
            f"{shared_units} and {similarity}",
            "Share the first units, or rotate all of them.",
        )
    return teachers.shared(M, shared_units, tasks=n)


def _names(names: Sequence[str] | None, n: int) -> list[str]:
    if names is None:
        return [str(i + 1) for i in range(n)]
    listed = [] if isinstance(names, str) else list(names)
    if len(listed) != n or not all(isinstance(x, str) for x in listed) or len(set(listed)) != n:
        raise ProblemError(
            "names", f"must be {n} different texts, one for each task", repr(names)[:80]
        )
    return listed


def _noise(noise_std: Any, n: int) -> list[Any]:
    if is_labelled(noise_std) or np.ndim(noise_std) == 0:
        return [noise_std] * n
    if len(noise_std) != n:
        raise ProblemError(
            "noise_std", f"must be one number, or {n}: one for each task", repr(noise_std)[:80]
        )
    return list(noise_std)
