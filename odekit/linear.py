"""Linear networks, at the front door: see `odekit.systems.linear`."""

from odekit.systems.linear import (
    Correlations,
    LinearProblem,
    Network,
    aligned,
    balanced,
    balanced_mode,
    deep,
    multimodal,
    normal,
    one_mode,
    pathways,
)

__all__ = [
    "Correlations",
    "LinearProblem",
    "Network",
    "aligned",
    "balanced",
    "balanced_mode",
    "deep",
    "multimodal",
    "normal",
    "one_mode",
    "pathways",
]
