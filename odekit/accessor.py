"""What a result can say and do of itself: ``run.odekit.plot()``, ``run.odekit.forgetting()``.

An accessor of xarray, registered once a name of `odekit` is used that returns a dataset; to have it
for files that xarray itself opens, import this module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr

from odekit.base.errors import ProblemError
from odekit.base.html import as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from odekit.problem.base import AnyProblem
    from odekit.problem.system import Finding


_register: Callable[..., Any] = xr.register_dataset_accessor
_register_array: Callable[..., Any] = xr.register_dataarray_accessor


class Accessor:
    """A result of odekit, as ``run.odekit``; the measures of `odekit.measures` are its methods.

    Parameters
    ----------
    ds : Dataset
        What `odekit.solve`, `odekit.simulate`, `odekit.descend` or `odekit.open` returned.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=10.0, learning_rate=0.5)],
    ... )
    >>> run = ok.solve(problem)
    >>> run.odekit.problem == problem
    True
    >>> shorter = run.odekit.rerun(rtol=1e-6, t_eval=[0.0, 10.0])
    >>> shorter.sizes["time"]
    2
    >>> run.odekit.overlap_cosine().dims
    ('time', 'student', 'teacher')
    """

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    @property
    def problem(self) -> AnyProblem:
        """The problem that was solved.

        Functions of the user's own are in no file: `odekit.Problem.from_dict` takes them.

        Raises
        ------
        ProblemError
            If the dataset holds none, or it was changed.
        """
        from odekit.dataset.provenance import problem_of
        from odekit.problem.plain import problem_from_dict

        return problem_from_dict(problem_of(self._ds))

    def rerun(self, **changes: Any) -> xr.Dataset:
        """Solve the problem once more, with the same options but for `changes`.

        Parameters
        ----------
        **changes : object
            Keyword arguments of `odekit.solve`.

        Raises
        ------
        ProblemError
            If the dataset is no result of `odekit.solve`.
        """
        from odekit.integrate.options import stored_options
        from odekit.verbs.solve import solve

        if "ordinary differential equations" not in str(self._ds.attrs.get("source", "")):
            rule = "must be a result of odekit.solve"
            remedy = "Take `problem`, and simulate or descend it again."
            raise ProblemError("rerun", rule, str(self._ds.attrs.get("source", "none")), remedy)
        return solve(self.problem, **{**stored_options(self._ds.attrs), **changes})

    def plot(self, *arguments: Any, **keywords: Any) -> Figure:
        """Draw it: see `odekit.plot.plot_run`."""
        from odekit.verbs.plot import plot_run

        return plot_run(self._ds, *arguments, **keywords)

    def summary(self) -> str:
        """Say it in words, as ``odekit show`` does."""
        from odekit.verbs.show import summary

        return summary(self._ds)

    def validate(self, activation: Any = None) -> list[Finding]:
        """What must hold in any one result: see ``odekit validate``."""
        from odekit.verbs.validate import validate

        return validate(self._ds, activation)

    def save(self, path: Any, overwrite: bool = False) -> Any:
        """Write it to a file or a store: see `odekit.save`."""
        from odekit.store.netcdf import save

        return save(self._ds, path, overwrite)

    def measure(self, name: str) -> xr.DataArray:
        """A measure by the name that figures use, such as ``"forgetting.final"``."""
        from odekit.measures.named import evaluate

        return evaluate(self._ds, name)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        from odekit import measures

        if name not in measures.__all__:
            listed = ", ".join(measures.__all__)
            raise AttributeError(f"a result has no measure {name!r}; there are {listed}")
        return partial(getattr(measures, name), self._ds)

    def __dir__(self) -> list[str]:
        from odekit import measures

        return [*super().__dir__(), *measures.__all__]

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return as_text(self.summary())


class ArrayAccessor:
    """A variable of a result, or a measure, as ``run.generalization_error.odekit``.

    Parameters
    ----------
    array : DataArray

    Examples
    --------
    >>> import xarray as xr
    >>> import odekit.accessor
    >>> curve = xr.DataArray([1.0, 0.5], dims="time", coords={"time": [0.0, 1.0]}, name="error")
    >>> lines = curve.odekit.plot()
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def plot(self, *arguments: Any, **keywords: Any) -> Any:
        """Draw it as ``array.plot`` does, without the units of pure numbers at the axes."""
        array = self._array.copy(deep=False)
        for one in (array, *array.coords.values()):
            if one.attrs.get("units") == "1":
                del one.attrs["units"]
        return array.plot(*arguments, **keywords)


_register("odekit")(Accessor)
_register_array("odekit")(ArrayAccessor)
