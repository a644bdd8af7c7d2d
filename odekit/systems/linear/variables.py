"""The variables of a linear network's dataset: they follow its nodes, edges and paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odekit.dataset.common import registry
from odekit.dataset.variable import Variable, coordinate

FLOW = (
    "dW_e/dt = eta sum_(p with e) W_above^T [S_yx(p) - sum_q W_q S_xx(q,p)] W_below^T; "
    "Saxe, Sodhani & Lewallen 2022"
)
LOSS = "1/2 E|y - sum_p g_p W_p x_p|^2"


def variables(network: Mapping[str, Any]) -> dict[str, Variable]:
    """Every variable by name.

    Parameters
    ----------
    network : mapping
        `odekit.linear.Network.to_dict`.
    """
    edges, found = network["edges"], []
    for node in network["nodes"]:
        found.append(coordinate(node, "int64", f"unit of the layer {node}"))
    found.append(coordinate("path", "str", "path from an input to an output", symbol="p"))
    found.append(coordinate("mode", "int64", "mode of the target", symbol="alpha"))
    for name, (start, end) in edges.items():
        text = f"weights of the edge {name}, from {start} to {end}"
        found.append(Variable(name, ("time", end, start), "float64", text, "W_e", FLOW))
    for name, steps in network["paths"].items():
        dims = ("time", edges[steps[-1]][1], edges[steps[0]][0])
        text = f"product of the weights along the path {name}"
        found.append(Variable(f"map_{name}", dims, "float64", text, "W_p"))
    modes = ("task", "path", "mode")
    found += [
        Variable(
            "target_strength",
            modes,
            "float64",
            "strength of each mode of what the path would learn alone (NaN where there is none)",
            "s_alpha",
            "S_yx(p) S_xx(p,p)^+ = sum_alpha u_alpha s_alpha v_alpha^T",
        ),
        Variable(
            "mode_strength",
            ("time", *modes),
            "float64",
            "strength of each mode of the target in the network",
            "a_alpha",
            "a_alpha = u_alpha^T W_p v_alpha",
        ),
        Variable(
            "mode_alignment",
            ("time", *modes),
            "float64",
            "cosine between the network's answer to a mode and the target's (NaN for no answer)",
            "",
            "u_alpha^T W_p v_alpha / |W_p v_alpha|",
        ),
        Variable(
            "generalization_error",
            ("time", "task"),
            "float64",
            "half the mean squared error",
            "L",
            LOSS,
        ),
    ]
    return registry(found, "steps of gradient descent")
