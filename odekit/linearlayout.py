"""How the weights of a linear network pack into the kernels' vector, and what is read from them.

The vector holds the edges' weights, each row-major, in the order of the network's edges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.checks import is_labelled
from odekit.linear.correlations import pairs
from odekit.schedule import Schedule
from odekit_kernels import gated
from odekit_kernels.paths import table_size

if TYPE_CHECKING:
    from odekit.linear import LinearProblem, Network
    from odekit.problem import Phase

Floats = np.ndarray[Any, np.dtype[np.float64]]
Numbers = Callable[[Any, int], Floats]
"""A value that may be labelled, and its core dims, to an array (points or 1, *core)."""

REFERENCES = (
    "Saxe, McClelland & Ganguli 2014, arXiv:1312.6120; "
    "Saxe, Sodhani & Lewallen 2022, arXiv:2207.10430"
)


def paths_of(network: Network) -> Any:
    """The network as the kernels' index arrays."""
    edges = list(network.edges)
    steps = [[edges.index(e) for e in path] for path in network.paths.values()]
    ends = [network.ends(path)[1] for path in network.paths]
    return gated.make_paths([network.shape(e) for e in edges], steps, ends)


class Readings:
    """What the rows of one run, or of the points of a sweep, show.

    Parameters
    ----------
    problem : LinearProblem
    numbers : callable
        Makes arrays (points or 1, *core) of the problem's values.
    """

    def __init__(self, problem: LinearProblem, numbers: Numbers) -> None:
        self.problem, self.network = problem, problem.network
        self.tasks = list(problem.tasks)
        self.numbers = numbers
        self.yx = {t: {p: numbers(v, 2) for p, v in c.yx.items()} for t, c in self._given()}
        self.xx = {
            t: {(q, p): numbers(c.xx[q][p], 2) for q, p in pairs(self.network)}
            for t, c in self._given()
        }
        self.yy = {t: numbers(c.yy, 0) for t, c in self._given()}
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
        share = {name: self.numbers(p, 0) for name, p in phase.mixture.items()}
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

    def errors(self, y: Floats) -> Floats:
        """Losses (points, rows, tasks) of states (points, rows, n)."""
        return self._errors(self.maps(self.weights(y)))

    def _errors(self, maps: Mapping[str, Floats]) -> Floats:
        losses = []
        for task in self.tasks:
            total: Any = self.yy[task][:, None]
            for path, yx in self.yx[task].items():
                total = total - 2.0 * np.sum(maps[path] * yx[:, None], axis=(-2, -1))
            for (q, p), xx in self.xx[task].items():
                total = total + np.sum((maps[q] @ xx[:, None]) * maps[p], axis=(-2, -1))
            losses.append(0.5 * total)
        return np.stack(losses, axis=-1)

    def arrays(self, y: Floats) -> dict[str, Floats]:
        """Variables of the dataset by name, with leading axes (points, rows)."""
        weights = self.weights(y)
        maps = self.maps(weights)
        lead = y.shape[:-1]
        shape = (*lead, len(self.tasks), len(self.network.paths), self.mode_count)
        strength, alignment = np.full(shape, np.nan), np.full(shape, np.nan)
        for i, task in enumerate(self.tasks):
            for j, (path, W) in enumerate(maps.items()):
                U, s, Vt = self.modes[task, path]
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
            "generalization_error": self._errors(maps),
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


def one_point(value: Any, core: int) -> Floats:
    """`Numbers` of a problem without sweep dims."""
    del core
    return np.asarray(value.values if is_labelled(value) else value, dtype=float)[np.newaxis]


class LinearLayout:
    """Packing of one run of a linear network."""

    def __init__(self, problem: LinearProblem) -> None:
        self.problem = problem
        self.tasks = list(problem.tasks)
        self.readings = Readings(problem, one_point)
        self.paths = paths_of(problem.network)

    def start(self) -> tuple[None, Floats]:
        """State at time 0; nothing changes at a switch but what is learnt."""
        parts = [np.ravel(self.problem.weights[e]) for e in self.problem.network.edges]
        return None, np.concatenate(parts).astype(float)

    def visible(self, y: Floats) -> Floats:
        """All of it."""
        return y

    def enter(self, index: int, frame: None, y: Floats) -> tuple[None, Floats]:
        """State as a phase begins."""
        del index, frame
        return None, y

    def system(self, index: int, frame: None, begin: float) -> LinearPhase:
        """The equations of a phase that begins at a time."""
        del frame
        return LinearPhase(self, self.problem.phases[index], begin)

    def errors(self, y: Floats) -> Floats:
        """Loss of every task, shape (rows, tasks), of states (rows, n)."""
        return np.asarray(self.readings.errors(y[np.newaxis])[0])

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Variables of the dataset by name, from states (rows, n)."""
        return {name: a[0] for name, a in self.readings.arrays(rows[np.newaxis]).items()}

    @staticmethod
    def constants(problem: LinearProblem) -> dict[str, Any]:
        """Variables of the dataset that no run changes, with the sweep dims that they have."""
        import xarray as xr

        from odekit.sweep import axes

        found = axes(problem)
        parts = [v for c in problem.tasks.values() for v in (*c.yx.values(), *_inner(c.xx))]
        dims = [d for d in found if any(d in getattr(v, "dims", ()) for v in parts)]

        def numbers(value: Any, core: int) -> Floats:
            lead = value.dims[: value.ndim - core] if is_labelled(value) else ()
            shape = [found[d][0] if d in lead else 1 for d in dims]
            plain = value.transpose(*(d for d in dims if d in lead), ...) if lead else value
            array = np.asarray(plain.values if lead else plain, dtype=float)
            tail = array.shape[array.ndim - core :]
            full = [found[d][0] for d in dims]
            whole = np.broadcast_to(array.reshape((*shape, *tail)), (*full, *tail))
            return whole.reshape((-1, *tail))

        values = Readings(problem, numbers).target_strength()
        shape = [found[d][0] for d in dims]
        core = ("task", "path", "mode")
        strength = np.broadcast_to(values, (int(np.prod(shape)), *values.shape[1:]))
        return {
            "target_strength": xr.DataArray(
                strength.reshape((*shape, *values.shape[1:])), dims=(*dims, *core)
            )
        }

    @staticmethod
    def absent(problem: LinearProblem) -> set[str]:
        """Variables of the registry that no run of a problem has."""
        del problem
        return set()

    @staticmethod
    def numbers(problem: LinearProblem) -> int:
        """Numbers that one trajectory starts from."""
        paths = paths_of(problem.network)
        return int((paths.rows * paths.cols).sum()) + len(problem.tasks) * table_size(paths)

    @staticmethod
    def sizes(problem: LinearProblem) -> dict[str, int]:
        """Length of every dim of the dataset but those of time and of a sweep."""
        network = problem.network
        modes = max(min(network.nodes[n] for n in network.ends(p)) for p in network.paths)
        return {
            **network.nodes,
            "task": len(problem.tasks),
            "path": len(network.paths),
            "mode": modes,
        }

    @staticmethod
    def labels(problem: LinearProblem) -> dict[str, list[str]]:
        """Coordinates that are names."""
        return {"task": list(problem.tasks), "path": list(problem.network.paths)}


def _inner(xx: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    return [value for row in xx.values() for value in row.values()]


class LinearPhase:
    """Equations of one phase as functions of time and state (`odekit.integrate.System`)."""

    def __init__(self, layout: LinearLayout, phase: Phase, begin: float) -> None:
        self.begin, self.rate = begin, phase.learning_rate
        self.paths, names = layout.paths, list(phase.thresholds)
        self.plan = gated.make_plan(self.paths, len(names), single=True)
        self.memory = np.zeros(self.plan.size)
        tables = [layout.readings.trained(phase), *(layout.readings.table(n) for n in names)]
        for i, table in enumerate(tables):
            first = self.plan.table if i == 0 else self.plan.watched + (i - 1) * self.plan.T
            self.memory[first : first + self.plan.T] = table[0]
        self.has_event = bool(names)
        self.levels = np.array([phase.thresholds[name] for name in names], dtype=float)
        self.losses = np.empty(len(names))
        scheduled = isinstance(self.rate, Schedule)
        kinks = self.rate.breaks(float(phase.duration)) if scheduled else []
        self.breaks = sorted({begin + b for b in kinks})

    def _eta(self, t: float) -> float:
        return float(self.rate(t - self.begin) if isinstance(self.rate, Schedule) else self.rate)

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""
        dy = np.empty_like(y)
        gated.flow(self.memory, self.plan, self.paths, y, self._eta(t), dy)
        return dy

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""
        J = np.empty((y.size, y.size))
        gated.jacobian(self.memory, self.plan, self.paths, y, self._eta(t), J)
        return J

    def event(self, y: Floats) -> float:
        """Largest loss of a watched task over its threshold, less one."""
        gated.loss(self.memory, self.plan, self.paths, y, self.losses)
        return float((self.losses / self.levels).max()) - 1.0

    def descend(self, y: Floats, steps: int) -> Floats:
        """The state after steps of gradient descent at the learning rate of the beginning."""
        after = np.array(y)
        gated.descend(self.memory, self.plan, self.paths, after, self._eta(self.begin), steps)
        return after
