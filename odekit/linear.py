"""Linear networks, at the front door: see `odekit.systems.linear`."""

from odekit.systems.linear import (
    Correlations,
    LinearProblem,
    Network,
    aligned,
    balanced,
    balanced_mode,
    deep,
    minimal,
    minimal_basin,
    multimodal,
    normal,
    one_mode,
    pathways,
    race,
    race_time_to,
    time_to,
)

__all__ = [
    "Correlations",
    "LinearProblem",
    "Network",
    "aligned",
    "balanced",
    "balanced_mode",
    "deep",
    "minimal",
    "minimal_basin",
    "multimodal",
    "normal",
    "one_mode",
    "pathways",
    "race",
    "race_time_to",
    "time_to",
]
