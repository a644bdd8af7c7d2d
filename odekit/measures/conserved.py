"""What a problem conserves: the quantities, phase by phase, and how far a run drifts from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odekit.dataset.provenance import problem_of
from odekit.problem.base import AnyProblem

if TYPE_CHECKING:
    import xarray as xr


def conserved(ds: xr.Dataset) -> xr.Dataset:
    """Every quantity that the problem of a run conserves, and its drift.

    Parameters
    ----------
    ds : Dataset
        A result of theory or simulation.

    Returns
    -------
    Dataset
        For each quantity that some phase conserves its value (dims of the run, ``time`` and those
        of its units), NaN in the rows of phases that do not conserve it; ``<name>_drift``, its
        change since the phase began; and ``<name>_size``, the size of the terms that make it up:

        - ``unit_imbalance(…, time, student)``, for homogeneous g in gradient flow:
          Q_kk/η_w + b_k²/η_b − Σ v_k²/η_v over trained heads and outputs;
        - ``imbalance_matrix(…, time, student, student_other)``, for linear g in gradient flow
          without dropout: the same of every two units;
        - ``still_Q``, ``still_R``, ``still_readout``: what no learning rate moves.

        T is constant in every problem; a dataset holds it once. Of a linear network it is what
        `conserved_layers` returns.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[1.0]], R=[[0.5]], T=[[1.0]]),
    ...     heads={"main": [0.5]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=5.0, learning_rate=0.1, readout_learning_rate=0.1,
    ...                      gradient_flow=True)],
    ...     activation="linear",
    ... )
    >>> found = ok.measures.conserved(ok.solve(problem))
    >>> sorted(found)[:3], bool(abs(found.unit_imbalance_drift).max() < 1e-6)
    (['imbalance_matrix', 'imbalance_matrix_drift', 'imbalance_matrix_size'], True)
    """
    problem = AnyProblem.from_dict(problem_of(ds))
    return problem.system.conserved(ds, problem)
