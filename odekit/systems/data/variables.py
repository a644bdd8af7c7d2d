"""The variables of a dataset of a network on data: they follow its layers."""

from __future__ import annotations

from collections.abc import Sequence

from odekit.dataset.common import registry
from odekit.dataset.variable import Variable, coordinate
from odekit.systems.data.initial import nodes

DESCENT = "W_l -> W_l - eta dL/dW_l"
LOSS = "L = 1/(2n) sum_samples |y - W_L g(... g(W_1 x))|^2"


def variables(widths: Sequence[int]) -> dict[str, Variable]:
    """Every variable by name."""
    depth = len(widths) - 1
    ends = nodes(depth)
    found = [coordinate(node, "int64", f"unit of the layer {node}") for node in ends]
    found.append(coordinate("sample", "int64", "sample of a task"))
    found.append(coordinate("layer", "str", "layer of weights"))
    for i in range(depth):
        name, core = f"W{i + 1}", (ends[i + 1], ends[i])
        text = f"weights from {ends[i]} to {ends[i + 1]}"
        found.append(
            Variable(name, ("time", *core), "float64", text, "W_l", DESCENT, required=False)
        )
        found.append(
            Variable(f"last_{name}", core, "float64", f"{text} in the last row", "W_l", DESCENT)
        )
    found += [
        Variable("layer_norm", ("time", "layer"), "float64", "Frobenius norm", "|W_l|"),
        Variable(
            "answer",
            ("time", "task", "sample", "output"),
            "float64",
            "answer of the network (NaN for samples that the task has not)",
            "f(x)",
            required=False,
        ),
        Variable(
            "generalization_error",
            ("time", "task"),
            "float64",
            "half the mean squared error over the samples",
            "L",
            LOSS,
        ),
    ]
    return registry(found, "steps of gradient descent")
