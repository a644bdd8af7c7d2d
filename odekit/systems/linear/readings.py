"""What is read from the weights of a linear network: maps, losses, modes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.points import of_some
from odekit.systems.linear.correlations import pairs

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.linear.problem import LinearProblem
Values = Callable[[Any, int], Floats]
"""A value that may be labelled, and its core dims, to an array (points or 1, *core)."""


class Readings:
    """What the rows of one run, or of the points of a sweep, show.

    Parameters
    ----------
    problem : LinearProblem
    values : callable
        Makes arrays (points or 1, *core) of the problem's values.
    """

    def __init__(self, problem: LinearProblem, values: Values) -> None:
        self.problem, self.network = problem, problem.network
        self.tasks = list(problem.tasks)
        self.values = values
        self.yx = {t: {p: values(v, 2) for p, v in c.yx.items()} for t, c in self._given()}
        self.xx = {
            t: {(q, p): values(c.xx[q][p], 2) for q, p in pairs(self.network)}
            for t, c in self._given()
        }
        self.yy = {t: values(c.yy, 0) for t, c in self._given()}
        self.modes = self._modes()

    def _given(self) -> Any:
        return self.problem.tasks.items()

    def table(self, task: str) -> Floats:
        """Correlations of a task in the kernels' order, (points or 1, T)."""
        parts = [*self.yx[task].values(), *self.xx[task].values(), self.yy[task]]
        size = max(len(part) for part in parts)
        flat = [np.broadcast_to(a.reshape(len(a), -1), (size, a[0].size)) for a in parts]
        return np.concatenate(flat, axis=1)

    def trained(self, phase: Phase) -> Floats:
        """Correlations of the mixture of a phase."""
        share = {name: self.values(p, 0) for name, p in phase.mixture.items()}
        total: Any = sum(share.values())
        whole: Any = sum((p / total)[:, None] * self.table(name) for name, p in share.items())
        return np.ascontiguousarray(whole)

    def _modes(self) -> dict[tuple[str, str], tuple[Floats, Floats, Floats]]:
        """Singular vectors and values of what every path would learn alone."""
        found: dict[tuple[str, str], Any] = {}
        for task in self.tasks:
            for path, yx in self.yx[task].items():
                inverse = np.linalg.pinv(self.xx[task][path, path], rcond=1e-12, hermitian=True)
                found[task, path] = np.linalg.svd(yx @ inverse, full_matrices=False)
        return found

    @property
    def mode_count(self) -> int:
        """Most modes of any path."""
        return max(int(s.shape[-1]) for _, s, _ in self.modes.values())

    def weights(self, y: Floats) -> dict[str, Floats]:
        """Of every edge, (…, to, from), from states (…, n)."""
        found, place = {}, 0
        for name in self.network.edges:
            rows, cols = self.network.shape(name)
            found[name] = y[..., place : place + rows * cols].reshape(*y.shape[:-1], rows, cols)
            place += rows * cols
        return found

    def maps(self, weights: Mapping[str, Floats]) -> dict[str, Floats]:
        """Products along the paths."""
        found = {}
        for path, steps in self.network.paths.items():
            product = weights[steps[0]]
            for step in steps[1:]:
                product = weights[step] @ product
            found[path] = product
        return found

    def errors(self, y: Floats, points: Any = None) -> Floats:
        """Losses (points, rows, tasks) of states (points, rows, n) of all points, or of some."""

        def of(values: Floats) -> Floats:
            return np.asarray(of_some(values, points)[:, None])

        maps, losses = self.maps(self.weights(y)), []
        for task in self.tasks:
            total: Any = of(self.yy[task])
            for path, yx in self.yx[task].items():
                total = total - 2.0 * np.sum(maps[path] * of(yx), axis=(-2, -1))
            for (q, p), xx in self.xx[task].items():
                total = total + np.sum((maps[q] @ of(xx)) * maps[p], axis=(-2, -1))
            losses.append(0.5 * total)
        return np.stack(losses, axis=-1)

    def arrays(self, y: Floats, points: Any = None) -> dict[str, Floats]:
        """Variables of the dataset by name, with leading axes (points, rows)."""
        weights = self.weights(y)
        maps = self.maps(weights)
        lead = y.shape[:-1]
        shape = (*lead, len(self.tasks), len(self.network.paths), self.mode_count)
        strength, alignment = np.full(shape, np.nan), np.full(shape, np.nan)
        for i, task in enumerate(self.tasks):
            for j, (path, W) in enumerate(maps.items()):
                U, s, Vt = (of_some(x, points) for x in self.modes[task, path])
                answer = W @ np.swapaxes(Vt, -1, -2)[:, None]
                along, modes = np.sum(U[:, None] * answer, axis=-2), slice(0, s.shape[-1])
                strength[..., i, j, modes] = along
                length = np.sqrt(np.sum(answer * answer, axis=-2))
                with np.errstate(invalid="ignore", divide="ignore"):
                    alignment[..., i, j, modes] = along / length
        return {
            **weights,
            **{f"map_{path}": W for path, W in maps.items()},
            "mode_strength": strength,
            "mode_alignment": alignment,
        }

    def target_strength(self) -> Floats:
        """Singular values (points or 1, tasks, paths, modes), NaN where a path has fewer."""
        size = max(len(s) for _, s, _ in self.modes.values())
        shape = (size, len(self.tasks), len(self.network.paths), self.mode_count)
        found = np.full(shape, np.nan)
        for i, task in enumerate(self.tasks):
            for j, path in enumerate(self.network.paths):
                s = self.modes[task, path][1]
                found[:, i, j, : s.shape[-1]] = s
        return found
