"""Networks on data as plain data and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from odekit.base.checks import is_labelled
from odekit.problem.plain import phase_from, phase_plain, plain, rich
from odekit.systems.data.initial import nodes
from odekit.systems.data.problem import DataProblem, Samples

if TYPE_CHECKING:
    from odekit.problem.plain import Apart


def write(problem: DataProblem, apart: Apart | None = None) -> dict[str, Any]:
    """Plain data; large arrays may be kept apart."""
    ends = nodes(len(problem.weights))
    weights = {
        name: plain(_labelled(W, ends[i + 1], ends[i]), f"weights_{name}", apart)
        for i, (name, W) in enumerate(problem.weights.items())
    }
    tasks = {
        name: {
            "inputs": plain(_labelled(t.inputs, "sample", "input"), f"inputs_{name}", apart),
            "targets": plain(_labelled(t.targets, "sample", "output"), f"targets_{name}", apart),
        }
        for name, t in problem.tasks.items()
    }
    return {
        "widths": problem.widths,
        "activation": problem.activation,
        "weights": weights,
        "tasks": tasks,
        "phases": [phase_plain(p, f"phases_{i}", apart) for i, p in enumerate(problem.phases)],
        **({} if problem.keep is None else {"keep": list(problem.keep)}),
    }


def read(data: Mapping[str, Any], own: object) -> DataProblem:
    """Rebuild, and check, a problem; its activations are all known."""
    del own
    return DataProblem(
        weights={name: rich(W) for name, W in data["weights"].items()},
        tasks={
            name: Samples(rich(task["inputs"]).values, rich(task["targets"]).values)
            for name, task in data["tasks"].items()
        },
        phases=[phase_from(phase) for phase in data["phases"]],
        activation=data["activation"],
        keep=data.get("keep"),
    )


def _labelled(values: Any, *dims: str) -> Any:
    """With names, so that a large array may be kept apart."""
    return values if is_labelled(values) else xr.DataArray(values, dims=dims)
