"""How the weights of a network on data pack into vectors, and what is read from them.

The vector holds the layers' weights, each row-major, input to output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.axes import Axis
from odekit.problem.points import Points, side_by_side
from odekit.systems.data.equations import DataPhase, batch_of

if TYPE_CHECKING:
    from odekit.systems.data.problem import DataProblem


class DataPoints(Points):
    """Packing of the weights of every point of a sweep.

    Parameters
    ----------
    problem : DataProblem
    found : mapping
        Its sweep dims, from `odekit.problem.axes.axes`; may be empty.
    """

    def __init__(self, problem: DataProblem, found: Mapping[str, Axis]) -> None:
        super().__init__(problem, found)
        self.problem, self.layers = problem, problem.layers
        self.batches = [batch_of(problem, task) for task in problem.tasks]

    def start(self) -> tuple[None, Floats]:
        """States (points, n) at time 0; nothing changes at a switch but what is learnt."""
        y = side_by_side([self.values(W, 2) for W in self.problem.weights.values()])
        return None, np.array(np.broadcast_to(y, (self.size, y.shape[1])))

    def enter(self, index: int, frame: None, y: Floats) -> tuple[None, Floats]:
        """States as a phase begins."""
        del index, frame
        return None, y

    def shown(self, frame: None) -> Any:
        """All entries of a state."""
        del frame
        return np.arange(self.layers.size)

    def equations(self, index: int, frame: None, begin: float) -> DataPhase:
        """The equations of a phase of the first point, as functions of time and state."""
        del frame
        return DataPhase(self.problem, self.problem.phases[index], begin)

    def errors(
        self, rows: Floats, tasks: Any = None, frame: None = None, points: Any = None
    ) -> Floats:
        """Losses (points, ..., tasks) of states (points, ..., n)."""
        del frame, points
        whole, layers = rows.reshape(-1, rows.shape[-1]), self.layers
        with np.errstate(over="ignore", invalid="ignore"):  # of a descent that diverges
            losses = np.array([[layers.loss(y, batch) for batch in self.batches] for y in whole])
        found = losses.reshape(*rows.shape[:-1], len(self.tasks))
        return found if tasks is None else found[..., tasks]

    def arrays(self, rows: Floats, points: Any = None) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n); errors are asked for apart."""
        del points
        with np.errstate(over="ignore", invalid="ignore"):
            return self._arrays(rows)

    def _arrays(self, rows: Floats) -> dict[str, Any]:
        names, split = list(self.problem.weights), self.layers.split(rows)
        found: dict[str, Any] = {
            "layer_norm": np.stack([np.sqrt(np.sum(W * W, axis=(-2, -1))) for W in split], axis=-1)
        }
        found |= {f"last_{name}": W[:, -1] for name, W in zip(names, split, strict=True)}
        if "weights" in self.problem.kept:
            found |= dict(zip(names, split, strict=True))
        if "answers" in self.problem.kept:
            found["answer"] = self.answers(rows)
        return found

    def answers(self, rows: Floats) -> Floats:
        """(points, times, tasks, samples, outputs); NaN for samples that a task has not."""
        most, outputs = self.problem.most_samples, self.problem.widths[-1]
        found = np.full((*rows.shape[:-1], len(self.batches), most, outputs), np.nan)
        for place in np.ndindex(*rows.shape[:-1]):
            for i, batch in enumerate(self.batches):
                found[(*place, i, slice(len(batch.x)))] = self.layers.answers(rows[place], batch.x)
        return found
