"""Laws of the inputs of structured problems: what tasks and clusters see, means among it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.problem import WHITE
from odekit.systems.committee.seen import Indices, distinct, of_group

if TYPE_CHECKING:
    from odekit.problem.points import Points
    from odekit.systems.committee.problem import Problem


@dataclass(frozen=True)
class Laws:
    """What tasks have in common of their inputs; there is at least one group, and one law.

    Attributes
    ----------
    share : ndarray, shape (points or 1, G)
        Fractions of the inputs.
    ss, st, tt, gain : ndarray, shape (points or 1, V, G)
        Second moments of what the student sees, of that and what the teacher sees, and of that;
        the student's gain.
    mean : ndarray, shape (points or 1, V, P)
        Coefficients of the mean over the fixed vectors.
    law : ndarray of int64, shape (tasks,)
        Law of each task of the problem.
    """

    share: Floats
    ss: Floats
    st: Floats
    tt: Floats
    gain: Floats
    mean: Floats
    law: Indices

    @property
    def size(self) -> tuple[int, int]:
        """Groups and laws."""
        return self.share.shape[1], self.ss.shape[1]

    def constants(self) -> dict[str, Floats]:
        """By the names of the kernels."""
        names = ("share", "ss", "st", "tt", "gain", "mean")
        return {name: getattr(self, name) for name in names}

    def at(self, point: int) -> Laws:
        """Those of one point."""
        one = {n: x[min(point, len(x) - 1)][np.newaxis] for n, x in self.constants().items()}
        return Laws(**one, law=self.law)

    def students(self, v: int, Q: Floats, R: Floats, bias: Any) -> tuple[Floats, Floats]:
        """Means and variances (points, K) of the units' fields under a law.

        Parameters
        ----------
        v : int
        Q, R : ndarray, shape (points, G, K, K) and (points, G, K, at least P)
        bias : ndarray or float, shape (points, K)
        """
        share, P = self.share, self.mean.shape[-1]
        along = np.einsum("...gkn,...n->...gk", R[..., :P], self.mean[:, v])
        mean = ((share * self.gain[:, v])[..., np.newaxis] * along).sum(axis=-2)
        own = np.einsum("...kk->...k", Q)
        variance = ((share * self.ss[:, v])[..., np.newaxis] * own).sum(axis=-2)
        return mean + bias, variance


def laws_of(problem: Problem, points: Points, *, apart: bool = False) -> Laws:
    """The laws of a problem's tasks, with those that see the same under one unless `apart`."""
    tasks = list(problem.tasks.values())
    names: list[str | None] = list(problem.groups or [None])
    G, P = len(names), problem.state.teacher
    share = [1.0] if problem.groups is None else list(problem.groups.values())
    m, a, s = (
        _by_task(points.stack([of_group(getattr(t, kind), g) for t in tasks for g in names], 0), G)
        for kind in WHITE
    )
    still = np.zeros(P)
    mean = points.stack([still if t.input_mean is None else t.input_mean for t in tasks], 1)
    parts = (a * a * m + s * s, a * m, m + 0 * a, a + 0 * m, mean)
    size = max(len(x) for x in parts)
    every = np.concatenate([np.broadcast_to(x, (size, *x.shape[1:])) for x in parts], axis=-1)
    every_law = np.arange(len(tasks))
    first, law = (list(every_law), every_law) if apart else distinct(every[np.newaxis])
    views = np.split(every[:, first], np.arange(1, 5) * G, axis=-1)
    ss, st, tt, gain, means = (np.ascontiguousarray(x) for x in views)
    return Laws(points.stack(share, 0), ss, st, tt, gain, means, law)


def _by_task(numbers: Floats, G: int) -> Floats:
    return numbers.reshape(len(numbers), -1, G)
