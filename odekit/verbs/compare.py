"""How far a simulation is from the theory, in the units that decide whether that is far."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.dataset.assemble import system_in
from odekit.dataset.common import REPLICA, no_clash
from odekit.dataset.fluctuating import FLUCTUATIONS, RELIABLE, STD
from odekit.dataset.simulated import simulation_of

if TYPE_CHECKING:
    import xarray as xr

VARIABLES = ("Q", "R", "readout", "generalization_error")
CORE = ("time", "head", "task", "student", "student_other", "teacher")
FIGURES = (
    "aligned",
    "deviation",
    "mean_deviation",
    "largest",
    "spread",
    "times_root_n",
    "in_standard_errors",
    "in_predicted_std",
)


def compare(
    run: xr.Dataset,
    sim: xr.Dataset,
    *,
    align: bool = True,
    fluctuations: xr.Dataset | None = None,
) -> xr.Dataset:
    """Compare a simulation with the theory, variable by variable.

    Deviations are root mean squares over the times that both have and over components. Those of
    single networks are random and fall as 1/√N, the mean over networks as 1/N: so look at
    `in_standard_errors`, about 1 where theory and simulation agree, for whether they do, and at
    `times_root_n`, the same number for every large N, for how far a network of any size will be.

    Parameters
    ----------
    run : Dataset
        Theory: what `odekit.solve` returned.
    sim : Dataset
        What `odekit.simulate` returned, for the same problem.
    align : bool
        Whether networks that found the theory's solution with their units in another order, or of
        another sign, are relabelled first (`Problem.system`'s `aligned`).
    fluctuations : Dataset, optional
        What `odekit.fluctuations` predicted for the run, at these or more times and any N.

    Returns
    -------
    Dataset
        With the dim ``variable`` (``Q, R, readout, generalization_error``) after those of a sweep:

        ``deviation``
            of single networks from the theory.
        ``times_root_n``
            √N times that.
        ``mean_deviation``, ``largest``
            of the mean over networks: its root mean square and its largest value.
        ``spread``
            Standard deviation between networks (NaN for fewer than two, as is the next).
        ``in_standard_errors``
            `mean_deviation` in units of the standard error of the mean.
        ``in_predicted_std``
            With `fluctuations`: deviation of single networks in units of the standard deviation
            predicted for their N, its root mean square over networks, times and components: 1 but
            for sampling. Times at which the prediction does not hold are left out.
        ``aligned``
            Number of networks that were relabelled (without the dim ``variable``).

    Raises
    ------
    ProblemError
        If they have no times or not the same units, tasks and sweep in common, or if a sweep dim
        has the name of a part of the result.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=5.0, learning_rate=1.0)],
    ... )
    >>> sim = ok.simulate(problem, input_dim=1000, seed=0, replicas=8)
    >>> bool(ok.compare(ok.solve(problem), sim).in_standard_errors.sel(variable="R") < 3)
    True
    """
    import xarray as xr

    words, moved = simulation_of(sim), xr.zeros_like(sim.status, dtype=bool)
    system = system_in(sim)
    if align and system is not None:
        sim, moved = system.aligned(run, sim)
    theory, networks = aligned(run, sim)
    no_clash("run", theory, ["variable", *FIGURES])
    if REPLICA not in networks.dims:
        networks = networks.expand_dims(REPLICA)
    _check_reached(theory, networks)
    parts = [_figures(theory[name], networks[name]) for name in VARIABLES]
    found = xr.concat(parts, xr.Variable("variable", list(VARIABLES)))
    found["times_root_n"] = found.deviation * np.sqrt(words["input_dim"])
    replicas = networks.sizes[REPLICA]
    error = found.spread / np.sqrt(replicas)
    # Readouts that do not move have neither deviation nor spread.
    found["in_standard_errors"] = found.mean_deviation / error.where(error > 0)
    if fluctuations is not None:
        off = [_in_predicted(theory, networks, name, fluctuations, words) for name in VARIABLES]
        found["in_predicted_std"] = xr.concat(off, found["variable"])
    found["aligned"] = moved.sum(REPLICA) if REPLICA in moved.dims else moved.astype("int64")
    found = found.transpose(..., "variable")
    return found.assign_attrs(input_dim=words["input_dim"], replicas=replicas)


def _check_reached(theory: xr.Dataset, networks: xr.Dataset) -> None:
    """Warn where one of the two has no value at a common time: the figures leave these out."""
    missing = theory.R.isnull() | networks.R.isnull()
    if bool(missing.any()):
        share = float(missing.mean())
        warnings.warn(
            f"{100 * share:.0f} % of the values at common times are left out: theory or networks "
            "did not reach them, or their phases ended at other times (see `phase_end`)",
            stacklevel=3,
        )


def aligned(run: xr.Dataset, sim: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Both at the times that they have in common."""
    import xarray as xr

    names = list(VARIABLES)
    try:
        a, b = xr.align(run[names], sim[names], join="exact", exclude={"time", REPLICA})
        a, b = xr.align(a, b, join="inner", exclude={REPLICA})
    except (KeyError, ValueError) as error:
        raise ProblemError(
            "sim", "must have the units, tasks and sweep of `run`", error, "Simulate its problem."
        ) from None
    if not a.sizes["time"] or not float(a.time.max()):
        raise ProblemError(
            "sim", "must have times in common with `run`", "none", "Give both the same t_eval."
        )
    return a, b


def _in_predicted(
    theory: xr.Dataset,
    networks: xr.Dataset,
    name: str,
    predicted: xr.Dataset,
    words: Mapping[str, Any],
) -> xr.DataArray:
    """Deviation of single networks in predicted standard deviations, root mean square."""
    if FLUCTUATIONS not in predicted.attrs:
        raise ProblemError("fluctuations", "must be of odekit.fluctuations", "another", "")
    N = float(predicted.attrs[FLUCTUATIONS])
    std = predicted[name + STD] * np.sqrt(N / words["input_dim"])
    holds = (predicted[RELIABLE] == 1) & (std > 0)
    off = (networks[name] - theory[name]) / std.where(holds)
    if not off.sizes["time"]:
        raise ProblemError("fluctuations", "must have times in common with both", "none", "")
    core = [d for d in off.dims if d in CORE]
    squared: xr.DataArray = (off**2).mean([REPLICA, *core])
    return squared**0.5


def _figures(theory: xr.DataArray, networks: xr.DataArray) -> xr.Dataset:
    import xarray as xr

    core = [d for d in theory.dims if d in CORE]
    off = networks - theory
    mean = off.mean(REPLICA)
    spread = networks.std(REPLICA, ddof=1) if networks.sizes[REPLICA] > 1 else mean * np.nan
    return xr.Dataset(
        {
            "deviation": np.sqrt((off**2).mean([REPLICA, *core])),
            "mean_deviation": np.sqrt((mean**2).mean(core)),
            "largest": abs(mean).max(core),
            "spread": np.sqrt((spread**2).mean(core)),
        }
    )
