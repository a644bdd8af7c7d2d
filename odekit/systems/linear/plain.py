"""Linear problems as plain data and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from odekit.problem.plain import phase_from, phase_plain, plain, rich
from odekit.scenario.write import used
from odekit.systems.linear.correlations import Correlations
from odekit.systems.linear.network import Network
from odekit.systems.linear.problem import LinearProblem

if TYPE_CHECKING:
    from odekit.problem.plain import Apart


def write(problem: LinearProblem, apart: Apart | None = None) -> dict[str, Any]:
    """Plain data; large arrays may be kept apart."""
    tasks = {
        name: {
            field: plain(value, f"tasks_{name}_{field}", apart) for field, value in vars(t).items()
        }
        for name, t in problem.tasks.items()
    }
    weights = {e: plain(W, f"weights_{e}", apart) for e, W in problem.weights.items()}
    phases = [phase_plain(phase, f"phases_{i}", apart) for i, phase in enumerate(problem.phases)]
    network = problem.network.to_dict()
    return {"network": network, "weights": weights, "tasks": tasks, "phases": phases}


def written(problem: LinearProblem) -> dict[str, Any]:
    """The sections of a scenario."""
    parts = write(problem)
    return {
        "system": problem.kind,
        "title": problem.title or None,
        **parts,
        "weights": {"given": parts["weights"]},
        "phases": [used(phase) for phase in parts["phases"]],
    }


def read(data: Mapping[str, Any], own: object) -> LinearProblem:
    """Rebuild, and check, a problem; it has no use for an activation."""
    del own
    tasks = {
        name: Correlations(
            yx={p: rich(v) for p, v in task["yx"].items()},
            xx={q: {p: rich(v) for p, v in row.items()} for q, row in task["xx"].items()},
            yy=rich(task["yy"]),
        )
        for name, task in data["tasks"].items()
    }
    return LinearProblem(
        network=Network(**data["network"]),
        weights={e: rich(W) for e, W in data["weights"].items()},
        tasks=tasks,
        phases=[phase_from(phase) for phase in data["phases"]],
    )
