"""The equations of one phase of one problem as functions of a flat state, and what is in it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats, count, is_labelled
from odekit.base.errors import ProblemError
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.problem.schedule import Schedule
from odekit.problem.system import Block

if TYPE_CHECKING:
    import xarray as xr

STEP = 1e-3
"""Of differences, relative to the state."""
ALIKE = 1e-12
"""Relative difference of two entries that are one number of the state."""


class VectorField:
    """The equations of one phase of a problem: dy/dt = f(t, y).

    The flat state y of length n holds the variables of the dataset in their order; `names` says
    what each entry is, `pack` and `unpack` go back and forth. Times count from the beginning of the
    phase.

    Attributes
    ----------
    problem : Problem, LinearProblem or DeclaredProblem
    phase : int
    start : ndarray, shape (n,)
        The state with which the phase begins if nothing moved before.
    names : tuple of str
        The entries of the state: ``"Q[0, 1]"``, ``"readout[main, 0]"``.
    tasks : tuple of str
        The tasks whose errors `errors` gives.
    """

    def __init__(self, problem: AnyProblem, phase: int = 0) -> None:
        self.problem, self.phase = problem, checked(problem, phase)
        self.points = problem.system.points(problem, {})
        frame, y = self.points.start()
        for index in range(self.phase + 1):
            frame, y = self.points.enter(index, frame, y)
        self.frame, self.start = frame, np.array(y[0])
        self.equations = self.points.equations(self.phase, frame, 0.0)
        self.layout: dict[str, Block] = dict(problem.system.layout(problem, self.points, frame))
        self.labels = problem.system.labels(problem)
        self.tasks = tuple(problem.tasks)
        self.names = names_of(self.layout, self.labels, self.size)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {b.places.shape}" for name, b in self.layout.items())
        kind = type(self).__name__
        return f"<{kind} of phase {self.phase}, {self.size} numbers: {parts}>"

    @property
    def size(self) -> int:
        """Length n of the state."""
        return int(self.start.size)

    # ---------------------------------------------------------------------------- the equations

    def rhs(self, t: float, y: Any) -> Floats:
        """Time derivative f(t, y), shape (n,)."""
        found: Floats = self.equations.rhs(t, self.state(y))
        return found

    def jac(self, t: float, y: Any) -> Floats:
        """Jacobian J = ∂f/∂y, shape (n, n)."""
        found: Floats = self.equations.jac(t, self.state(y))
        return found

    def jvp(self, t: float, y: Any, v: Any) -> Floats:
        """J v for vectors v (n,) or (n, m): how f changes along them."""
        found: Floats = self.jac(t, y) @ self._vectors("v", v)
        return found

    def vjp(self, t: float, y: Any, w: Any) -> Floats:
        """Jᵀ w for vectors w (n,) or (n, m): the gradient of w·f."""
        found: Floats = self.jac(t, y).T @ self._vectors("w", w)
        return found

    def errors(self, y: Any) -> Floats:
        """Errors of all `tasks` at states (…, n), shape (…, tasks)."""
        rows = as_floats("y", y, "a state")
        if rows.shape[-1:] != (self.size,):
            raise _wrong_shape("y", rows.shape, self.size)
        flat = rows.reshape(1, -1, self.size)
        found = self.points.errors(flat, frame=self.frame)[0]
        return np.asarray(found.reshape(*rows.shape[:-1], len(self.tasks)))

    def errors_gradient(self, y: Any) -> Floats:
        """Gradients of these errors at a state (n,) by its entries, shape (tasks, n).

        By central differences of two steps, extrapolated, unless the system has better.
        """
        row = self.state(y)
        h = STEP * max(float(np.abs(row).max(initial=0.0)), 1.0)
        slopes = []
        for step in (h, 0.5 * h):
            ends = [self.errors(row + s * step * np.eye(self.size)) for s in (1.0, -1.0)]
            slopes.append((ends[0] - ends[1]).T / (2.0 * step))
        return np.asarray((4.0 * slopes[1] - slopes[0]) / 3.0)

    def rates(self, t: float) -> tuple[Any, Any]:
        """Learning rates at a time since the phase began: of weights (by edge), of readouts."""

        def at(rate: Any) -> Any:
            if isinstance(rate, Mapping):
                return {edge: at(one) for edge, one in rate.items()}
            return float(rate(t) if isinstance(rate, Schedule) else rate)

        w, v = self.problem.phases[self.phase].rates
        return at(w), at(v)

    def state(self, y: Any) -> Floats:
        """A state as the kernels take it, or the error that it is none."""
        row = np.ascontiguousarray(y, dtype=np.float64)
        if row.shape != (self.size,):
            raise _wrong_shape("y", row.shape, self.size)
        return row

    def _vectors(self, name: str, given: Any) -> Floats:
        vectors = np.asarray(given, dtype=np.float64)
        if vectors.ndim not in (1, 2) or len(vectors) != self.size:
            raise _wrong_shape(name, vectors.shape, self.size)
        return vectors

    # -------------------------------------------------------------------------------- the state

    def unpack(self, y: Any, dims: tuple[str, ...] = ()) -> xr.Dataset:
        """The variables of states as a labelled dataset.

        Parameters
        ----------
        y : array_like, shape (…, n)
        dims : tuple of str
            Names of its axes but the last, e.g. ``("time",)`` for the rows ``solution.y.T``.
        """
        import xarray as xr

        rows = np.asarray(y, dtype=np.float64)
        if rows.ndim != len(dims) + 1 or rows.shape[-1] != self.size:
            lead = ", ".join(dims)
            rule = f"must have shape ({lead + ', ' if lead else ''}{self.size})"
            remedy = "Name the axes before the last by `dims`."
            raise ProblemError("y", rule, rows.shape, remedy)
        variables = {
            name: ((*dims, *block.dims), rows[..., block.places])
            for name, block in self.layout.items()
        }
        there = {d for block in self.layout.values() for d in block.dims}
        return xr.Dataset(variables, {d: v for d, v in self.labels.items() if d in there})

    def pack(
        self, arrays: xr.Dataset | Mapping[Hashable, Any] | None = None, **more: Any
    ) -> Floats:
        """The flat state of labelled arrays: the inverse of `unpack`.

        Parameters
        ----------
        arrays : Dataset or mapping, optional
            One row of a result, such as ``run.isel(time=-1)``; what is no variable of the state is
            left aside.
        **more : array_like
            Variables by name. What neither gives is taken from `start`.

        Raises
        ------
        ProblemError
            If a name is not one of the state's variables, or shapes or symmetric entries do not
            agree.
        """
        given = {} if arrays is None else {k: arrays[k] for k in self.layout if k in arrays}
        for name in more:
            if name not in self.layout:
                known = ", ".join(map(repr, self.layout))
                raise ProblemError(name, f"must be a variable of the state ({known})", repr(name))
        y = self.start.copy()
        for name, value in {**given, **more}.items():
            self._put(y, str(name), value)
        return y

    def _put(self, y: Floats, name: str, value: Any) -> None:
        """Write the entries of a variable."""
        block = self.layout[name]
        if is_labelled(value):
            if set(value.dims) != set(block.dims):
                remedy = "Choose one row and one point: .isel(time=-1)."
                raise ProblemError(name, f"must have the dims {block.dims}", value.dims, remedy)
            value = value.transpose(*block.dims)
        array = as_floats(name, value, f"an array over {block.dims}")
        if array.shape != block.places.shape:
            rule = f"must have shape {block.places.shape} over {block.dims}"
            raise ProblemError(name, rule, array.shape)
        y[block.places] = array
        if np.abs(y[block.places] - array).max(initial=0.0) > ALIKE * np.abs(array).max(initial=0):
            raise ProblemError(name, "must be symmetric", "entries that differ from their mirrors")


def checked(problem: Any, phase: Any) -> int:
    """The number of a phase of a problem that has one point."""
    if not isinstance(problem, AnyProblem):
        rule = "must be a Problem, a LinearProblem, or made by odekit.system(...).problem"
        raise ProblemError("problem", rule, repr(problem)[:80])
    if axes(problem):
        remedy = "Give one number in place of every labelled array."
        raise ProblemError("problem", "must have no sweep dims", list(axes(problem)), remedy)
    return count("phase", phase, most=len(problem.phases) - 1, least=0)


def _wrong_shape(name: str, shape: tuple[int, ...], size: int) -> ProblemError:
    return ProblemError(name, f"must have {size} entries", f"shape {shape}", "See `names`.")


def names_of(
    layout: Mapping[str, Block], labels: Mapping[str, list[str]], size: int
) -> tuple[str, ...]:
    """What every entry of a state is: the first variable, and place in it, that shows it."""
    found = [""] * size
    for name, block in layout.items():
        for index in np.ndindex(block.places.shape):
            words = [
                str(labels[d][i]) if d in labels else str(i)
                for d, i in zip(block.dims, index, strict=True)
            ]
            place = int(block.places[index])
            found[place] = found[place] or (f"{name}[{', '.join(words)}]" if words else name)
    return tuple(found)
