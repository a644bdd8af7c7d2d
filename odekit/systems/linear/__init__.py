"""Linear networks: deep, with biases, multimodal, gated; exactly solvable modes.

- `Network`, and its builders `deep`, `multimodal`, `pathways`, `routing`;
- `Correlations` of the data, from samples, by context, one input at a time, or given; the data sets
  `hierarchy` and `in_contexts`;
- initial weights: `normal`, `orthogonal`, `balanced`, `aligned`, of sizes `path_scales`;
- closed solutions: `one_mode`, `balanced_mode`, `time_to`, `race`, `race_time_to`;
  `minimal`, `minimal_basin`; `balanced_map`;
  `decayed_strength`, `decay_onset`, `unimodal_ratio`; `routing_mode`; `bias_modes`, `output_bias`.

`odekit.LinearProblem` puts them together, `odekit.solve` follows its gradient flow, and
`odekit.descend` takes discrete steps.
"""

from odekit.systems.linear.build import deep, multimodal, pathways, routing
from odekit.systems.linear.constant import bias_modes, output_bias
from odekit.systems.linear.correlations import Correlations
from odekit.systems.linear.data import hierarchy, in_contexts
from odekit.systems.linear.decay import decay_onset, decayed_strength
from odekit.systems.linear.exact import balanced_mode, one_mode
from odekit.systems.linear.initial import aligned, balanced, normal, orthogonal, path_scales
from odekit.systems.linear.maps import BalancedMap, balanced_map
from odekit.systems.linear.minimal import minimal, minimal_basin
from odekit.systems.linear.network import Network
from odekit.systems.linear.problem import LinearProblem
from odekit.systems.linear.routing_modes import routing_mode
from odekit.systems.linear.times import race, race_time_to, time_to
from odekit.systems.linear.unimodal import unimodal_ratio

__all__ = [
    "BalancedMap",
    "Correlations",
    "LinearProblem",
    "Network",
    "aligned",
    "balanced",
    "balanced_map",
    "balanced_mode",
    "bias_modes",
    "decay_onset",
    "decayed_strength",
    "deep",
    "hierarchy",
    "in_contexts",
    "minimal",
    "minimal_basin",
    "multimodal",
    "normal",
    "one_mode",
    "orthogonal",
    "output_bias",
    "path_scales",
    "pathways",
    "race",
    "race_time_to",
    "routing",
    "routing_mode",
    "time_to",
    "unimodal_ratio",
]
