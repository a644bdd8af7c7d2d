"""Measures of a result: labelled arrays from a dataset, for runs, sweeps and simulations alike.

Every function takes the dataset and works along ``time``; all dims of a sweep stay in front, and
rows or trajectories without values stay NaN.

- after a switch of phases: `forgetting` and `transfer`, of errors or of their logarithms,
  `adjusted_forgetting`, `tabula_rasa`;
- numbers of a curve: `initial_rate`, `maximum`, `time_mean`, `final`;
- what each unit does: `overlap_cosine`, `student_cosine`, `readout_entropy`, `activation_entropy`,
  `contribution_entropy`, `specialised`, `imbalance`;
- of labels that are signs: `misclassification`;
- of draws: `fraction`;
- `plateau`: level, start and end of all plateaus;
- `escape_time`, `hitting_time`: when a curve first reaches a level, or its target;
- `context_share`: which contexts the units of a network on data answer in;
- `conserved`: what the problem conserves, and how far the run drifts from it;
- of linear networks: `conserved_layers`, `mode_share`, `unit_entropy`, `mode_entropy`; `kernel`,
  the neural tangent kernel, and `kernel_distance`, how far it turns.
"""

from odekit.measures.adjusted import adjusted_forgetting
from odekit.measures.conserved import conserved
from odekit.measures.curves import forgetting, switch_row, trained_task, transfer
from odekit.measures.fractions import fraction
from odekit.measures.fresh import tabula_rasa
from odekit.measures.plateaus import plateau
from odekit.measures.summaries import final, initial_rate, maximum, time_mean
from odekit.measures.times import escape_time, hitting_time
from odekit.systems.committee.misclassified import misclassification
from odekit.systems.committee.specialisation import (
    activation_entropy,
    contribution_entropy,
    imbalance,
    overlap_cosine,
    readout_entropy,
    specialised,
    student_cosine,
)
from odekit.systems.data.measures import context_share
from odekit.systems.linear.conserved import conserved_layers
from odekit.systems.linear.kernel import kernel, kernel_distance
from odekit.systems.linear.measures import mode_entropy, mode_share, unit_entropy

__all__ = [
    "activation_entropy",
    "adjusted_forgetting",
    "conserved",
    "conserved_layers",
    "context_share",
    "contribution_entropy",
    "escape_time",
    "final",
    "forgetting",
    "fraction",
    "hitting_time",
    "imbalance",
    "initial_rate",
    "kernel",
    "kernel_distance",
    "maximum",
    "misclassification",
    "mode_entropy",
    "mode_share",
    "overlap_cosine",
    "plateau",
    "readout_entropy",
    "specialised",
    "student_cosine",
    "switch_row",
    "tabula_rasa",
    "time_mean",
    "trained_task",
    "transfer",
    "unit_entropy",
]
