"""Networks of nonlinear units on a given data set: every sample counts, no limit is taken.

- `Samples`: inputs and targets of a task;
- `normal`: random initial weights of a chain of layers.

`odekit.DataProblem` puts them together, `odekit.descend` takes the steps of full-batch gradient
descent, and `odekit.solve` follows its flow where the units are smooth.
"""

from odekit.systems.data.initial import normal
from odekit.systems.data.problem import DataProblem, Samples

__all__ = ["DataProblem", "Samples", "normal"]
