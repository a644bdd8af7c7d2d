"""`fluctuations`: how far networks of N inputs scatter about a run, and how far they are off."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.base.errors import FluctuationWarning, ProblemError
from odekit.dataset.fluctuating import FLUCTUATIONS, LEVEL, QUANTILES, RELIABLE, SHIFT, STD
from odekit.dataset.simulated import SIMULATION
from odekit.dataset.wholeness import fitting_problem
from odekit.dynamics.departure import Departure, departure
from odekit.dynamics.noise import Noise, half_curvature
from odekit.dynamics.phases import PhaseFlow, Stops, noise_of
from odekit.problem.axes import at, axes, points
from odekit.verbs.equations import equations

if TYPE_CHECKING:
    import xarray as xr

STEP = 1e-5
MOST = 2**53


def fluctuations(
    run: xr.Dataset, *, input_dim: int, activation: Any = None, covariance: bool = False
) -> xr.Dataset:
    """Predict how networks of N inputs deviate from a run: their spread, and the shift of the mean.

    A step of SGD changes the order parameters y by Z/N. For large N those of a network are
    y + m/N + ξ/√N, with ξ Gaussian of covariance S,

        dS/dt = J S + S Jᵀ + B,       B = (E[Z Zᵀ] − E[Z] E[Z]ᵀ)/b,
        dm/dt = J m + ½ f'':S + f₁ − ½ df/dt,

    where J is the Jacobian of the equations dy/dt = f, b the batch size, and f₁ what the mean of a
    step has beyond f, because |x|²/N, the inputs of a batch, and decay go with the fields.

    Parameters
    ----------
    run : Dataset
        Theory: what `odekit.solve` returned, with the sweep that it has. Its problem is solved
        again, with all that is needed beside it.
    input_dim : int
        N.
    activation : Activation, optional
        The user's own that the run was made with: no file holds its functions.
    covariance : bool
        Whether to return the whole covariance of the order parameters as well.

    Returns
    -------
    Dataset
        At the run's times, for each of ``Q, R, readout, generalization_error``:

        ``NAME_std``
            standard deviation between networks, √(S/N), and √(∇εᵀ S ∇ε/N) for the error.
        ``NAME_shift``
            mean of networks less the run, m/N: of order 1/N. NaN in phases of gradient flow,
            and after a threshold has ended a phase.

        ``reliable(time)``
            1 while the spread is so small that the equations do not bend within it: less than 5 %
            of √((1 + Q_kk)(1 + T_nn)) for R, and so on; 0 from the first row on where it is not.
        ``escape_time``, ``escape_time_std``, ``escape_quantile(quantile)``
            Where it is not, and the state is unstable: when max R − min R of a network reaches
            0.3, of networks whose deviation grows linearly (NaN elsewhere).
        ``covariance(time, number, number_other)``
            If asked for: S/N, with labels of the numbers (copies of units are left out).

    Raises
    ------
    ProblemError
        If `run` is not of the theory, or of a system without finite networks.

    Warns
    -----
    FluctuationWarning
        Once, if the expansion does not hold at some time: beside the escape from a symmetric start
        S is no error bar, and the distribution of the time of escape is what can be said.

    Notes
    -----
    A phase in gradient flow is taken at its learning rate as it stands, as by `odekit.simulate`; S
    is then that about the flow. The averages B and f₁ are taken by quadrature: of four fields good
    to 1e-4 for erf, 0.2 % for tanh, 1.5 % for ReLU; of six, B to 0.5 % and f₁ to 5 %. Copies of
    units keep the noise that these had.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=5.0, learning_rate=1.0)],
    ... )
    >>> run = ok.solve(problem)
    >>> bands = ok.fluctuations(run, input_dim=1000)
    >>> bands.R_std.dims, float(bands.R_std.sel(time=2.0, method="nearest").squeeze().round(3))
    (('time', 'student', 'teacher'), 0.01)
    """
    N = count("input_dim", input_dim, most=MOST)
    if SIMULATION in run.attrs:
        raise ProblemError("run", "must be of the theory", "a simulation", "Give what `solve` did.")
    if FLUCTUATIONS in run.attrs or "phase_end" not in run:
        raise ProblemError("run", "must be a result of odekit.solve", "another dataset", "")
    problem = fitting_problem(run, activation)
    noise, found = problem.system.noise(), axes(problem)
    shape = tuple(size for size, _ in found.values())
    table: dict[str, Any] = {}
    for place, index in points(found):
        one = at(problem, index)
        own = _Point(one, noise, run.isel(index), N, covariance)
        for name, array in own.arrays().items():
            table.setdefault(name, np.full((*shape, *array.shape), np.nan))[place] = array
    ds = _dataset(run, problem, tuple(found), table, N)
    _warn(ds, N)
    return ds


class _Point:
    """Fluctuations about one run."""

    def __init__(self, problem: Any, noise: Any, run: xr.Dataset, N: int, whole: bool) -> None:
        self.problem, self.noise, self.N, self.whole = problem, noise, N, whole
        self.points = problem.system.points(problem, {})
        self.time = run.time.values
        frame, start = self.points.start()
        layout = problem.system.layout(problem, self.points, frame)
        self.layout = {name: block.places for name, block in layout.items()}
        self.stops = Stops(run.phase_end.values, run.phase_outcome.values)
        self.size, self.tasks = start.shape[1], len(self.points.tasks)
        self.escape: Departure | None = None
        self.since = np.nan

    def arrays(self) -> dict[str, Floats]:
        """Variables by name."""
        rows, found = self.time.size, {}
        for name, places in self.layout.items():
            for kind in (STD, SHIFT):
                found[name + kind] = np.full((rows, *places.shape), np.nan)
        for kind in (STD, SHIFT):
            found[f"generalization_error{kind}"] = np.full((rows, self.tasks), np.nan)
        found[RELIABLE] = np.zeros(rows)
        if self.whole:
            found["covariance"] = np.full((rows, self.size, self.size), np.nan)
        holds = True
        for i, flow, at_row in noise_of(
            self.points, self.noise, self.stops, self.time, self._threshold_gradient
        ):
            shown = self.points.shown(flow.frame)
            S = at_row.S[np.ix_(shown, shown)] / self.N
            m = self._shift(flow, at_row)[shown]
            self._overlaps(found, i, S, m)
            self._errors(found, i, flow, at_row, S, m)
            holds = holds and self._holds(flow, at_row, self.time[i])
            found[RELIABLE][i] = holds
            if self.whole:
                found["covariance"][i] = S
        return {**found, **self._escaped()}

    def _shift(self, flow: PhaseFlow, row: Noise) -> Floats:
        """Shift of the mean; it is not one of 1/N about a flow that steps do not follow."""
        n = row.y.size
        return np.full(n, np.nan) if flow.phase.gradient_flow else row.m[:n] / self.N

    def _overlaps(self, found: dict[str, Floats], i: int, S: Floats, m: Floats) -> None:
        std = np.sqrt(np.maximum(np.diagonal(S), 0.0))
        for name, places in self.layout.items():
            found[name + STD][i], found[name + SHIFT][i] = std[places], m[places]

    def _errors(
        self, found: dict[str, Floats], i: int, flow: PhaseFlow, row: Noise, S: Floats, m: Floats
    ) -> None:
        y = row.y[self.points.shown(flow.frame)]

        def errors(step: Floats) -> Floats:
            return np.asarray(self.points.errors((y + step)[np.newaxis, np.newaxis])[0, 0])

        steps = STEP * np.eye(y.size)
        gradient = np.array([(errors(s) - errors(-s)) / (2.0 * STEP) for s in steps])
        variance = np.einsum("it,ij,jt->t", gradient, S, gradient)
        found[f"generalization_error{STD}"][i] = np.sqrt(np.maximum(variance, 0.0))
        shift = m @ gradient
        if np.isfinite(m).all():
            shift = shift + half_curvature(errors, S)
        found[f"generalization_error{SHIFT}"][i] = shift

    def _threshold_gradient(self, flow: PhaseFlow, y: Floats) -> Floats:
        """Gradient of the watched error that came to its threshold last."""
        names = list(flow.phase.thresholds)
        places = [self.points.tasks.index(name) for name in names]
        levels = np.array([float(level) for level in flow.phase.thresholds.values()])

        def errors(state: Floats) -> Floats:
            rows = state[np.newaxis, np.newaxis]
            return np.asarray(self.points.errors(rows, places, frame=flow.frame)[0, 0])

        last = int((errors(y) / levels).argmax())
        steps = STEP * np.eye(y.size)
        return np.array([(errors(y + s)[last] - errors(y - s)[last]) / (2 * STEP) for s in steps])

    def _holds(self, flow: PhaseFlow, row: Noise, t: float) -> bool:
        """Whether the spread is small; the first time that it is not, when networks escape."""
        n = row.y.size
        S = row.S[:n, :n]
        spread = np.sqrt(np.maximum(np.diagonal(S), 0.0) / self.N)
        if (spread <= LEVEL * self.noise.scales(self.points, flow.frame, row.y)).all():
            return True
        if np.isnan(self.since):
            self.since = t

            def seen(deviation: Floats) -> Floats:
                return np.asarray(self.noise.spread(self.points, deviation))

            J, (B, _) = flow.jac(t, row.y), flow.scatter(t, row.y)
            self.escape = departure(J, B, S, self.N, seen, self.noise.ESCAPED)
        return False

    def _escaped(self) -> dict[str, Floats]:
        times = np.full(1, np.nan) if self.escape is None else self.since + self.escape.times
        return {
            "escape_time": np.array(times.mean()),
            "escape_time_std": np.array(times.std()),
            "escape_quantile": np.quantile(times, QUANTILES),
        }


def _dataset(
    run: xr.Dataset, problem: Any, sweep: tuple[str, ...], table: Mapping[str, Floats], N: int
) -> xr.Dataset:
    """The arrays with the run's labels."""
    import xarray as xr

    packing = problem.system.points(problem, axes(problem))
    layout = problem.system.layout(problem, packing, packing.start()[0])
    dims = {name: block.dims for name, block in layout.items()}
    dims["generalization_error"] = ("task",)
    made = {}
    for name, array in table.items():
        base = name.removesuffix(STD).removesuffix(SHIFT)
        core = {
            RELIABLE: ("time",),
            "covariance": ("time", "number", "number_other"),
            "escape_time": (),
            "escape_time_std": (),
            "escape_quantile": ("quantile",),
        }.get(name) or (("time", *dims[base]) if base in dims else ())
        made[name] = ((*sweep, *core), array.astype("int8") if name == RELIABLE else array)
    kept = {d: run[d] for d in run.coords if set(run[d].dims) <= _all_dims(made)}
    attrs = {k: v for k, v in run.attrs.items() if k not in ("odekit_figure", "odekit_solver")}
    about = f"linear noise of networks in N = {N} dimensions about the equations' solution"
    large = {n: run[n] for n in run.data_vars if str(n).startswith("problem_")}
    ds = xr.Dataset({**made, **large}, kept, {**attrs, FLUCTUATIONS: N, "source": about})
    if "covariance" in table:
        names = list(equations(next(at(problem, i) for _, i in points(axes(problem)))).names)
        ds = ds.assign_coords(number=names, number_other=names)
    return ds.assign_coords(quantile=list(QUANTILES))


def _all_dims(made: Mapping[str, tuple[tuple[str, ...], Any]]) -> set[str]:
    return {dim for dims, _ in made.values() for dim in dims}


def _warn(ds: xr.Dataset, N: int) -> None:
    """Say where the expansion does not hold, and what can be said there."""
    reached = ds.generalization_error_std.notnull().any("task")
    lost = (ds[RELIABLE] == 0) & reached
    if not bool(lost.any()):
        return
    first = float(ds.time.where(lost).min())
    words = f"the spread of networks of N = {N} is not small from t = {first:.4g} on"
    if bool(ds.escape_time.notnull().any()):
        mean, std = float(ds.escape_time.min()), float(ds.escape_time_std.min())
        words += f": they escape at t = {mean:.4g} ± {std:.2g} (`escape_time`)"
    text = f"{words}. There `*_std` are no error bars: see `reliable`, or take a larger N."
    warnings.warn(text, FluctuationWarning, stacklevel=3)
