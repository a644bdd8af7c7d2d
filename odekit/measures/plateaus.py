"""Plateaus of the error: stretches of a phase in which it stands almost still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import positive, single
from odekit.base.errors import ProblemError
from odekit.dataset.common import no_clash, sweep_dims
from odekit.measures.again import SIMULATION, NotAgain, from_rows
from odekit.measures.course import Course, read
from odekit.measures.curves import index, trained_task
from odekit.measures.dense import solved
from odekit.measures.stretches import Stretch, stretches

if TYPE_CHECKING:
    import xarray as xr

TEXTS = {
    "level": "error on the plateau",
    "start": "start of the plateau",
    "end": "end of the plateau",
}


def plateau(
    ds: xr.Dataset,
    task: str | None = None,
    phase: int = 0,
    threshold: float = 0.1,
    contrast: float = 5.0,
) -> xr.Dataset:
    """All plateaus of a task's error in a phase, in order.

    A plateau is a stretch of a phase in which the error ε stays within a factor 1 + `threshold` of
    its level, and before and after which it moves much faster: within as much time as the plateau
    lasts, ε goes on beyond the edge of that band by at least another factor 1 + `threshold`, and
    somewhere on this way its average d ln ε/dt since the edge is `contrast` times what crosses the
    band in the time that the plateau lasts, 2 ln(1 + threshold)/(end − start). The level is ε where
    |d ln ε/dt| is least. Of stretches that overlap the flattest is the plateau.

    So exponentials have none, nor have power laws (of exponents above half the `threshold`) or a
    single maximum or minimum, and a late and short plateau counts as an early one does. The stretch
    with which a phase begins, before anything has been learned, is none, unless the error jumped at
    the switch (a copied head). One that lasts to the end of the phase, where nothing tells a
    plateau from a floor, is the last and has no end. Errors below 1e-12 of the largest, or 10
    `rtol` of it, are none.

    Parameters
    ----------
    ds : Dataset
        With the sweep dims it has. The problem that it holds is solved again, as it was, with rows
        of its own: the rows of `ds` do not matter.
    task : str, optional
        By default the task that the phase trains.
    phase : int
    threshold : float
        Largest relative distance of the error from the level.
    contrast : float
        How much faster the error moves before and after.

    Returns
    -------
    Dataset, dims (…, plateau)
        ``level``, ``start`` and ``end`` on the axis ``time``; `end` is NaN where the phase ends on
        the plateau. As many entries as the trajectory with most has, none if there is no plateau at
        all; those that others lack are NaN.

    Warns
    -----
    UserWarning
        If a result of theory cannot be solved again (functions of one's own, data that were changed
        or joined): its rows decide.

    Raises
    ------
    ProblemError
        If the phase or the task does not exist, the task is ambiguous, or a sweep dim has the name
        of a variable of the result.

    Notes
    -----
    Simulations have nothing between their rows: a running median over five of them is taken, and
    levels are means over the plateau.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters.draw(2, 2, weight_std=1e-3, input_dim=10_000, seed=7),
    ...     heads={"main": [1.0, 1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0, 1.0])},
    ...     phases=[ok.Phase("main", duration=1000.0, learning_rate=0.5)],
    ... )
    >>> found = ok.measures.plateau(ok.solve(problem, t_eval=[0.0, 1000.0]))
    >>> found.level.values.round(4)
    array([0.0147])
    """
    limits = {
        "threshold": single(positive, "threshold", threshold),
        "contrast": single(positive, "contrast", contrast),
    }
    index("phase", phase, 0, int(ds.sizes.get("phase_index", int(ds["phase"].max()) + 1)) - 1)
    name = trained_task(ds, phase, "plateau") if task is None else task
    known = ds["task"].values.tolist()
    if name not in known:
        raise ProblemError(
            "task", f"must be a task of the run ({', '.join(map(repr, known))})", repr(name)
        )
    no_clash("ds", ds, [*TEXTS, "plateau"])
    dims = sweep_dims(ds)
    found = np.full([ds.sizes[d] for d in dims], None, dtype=object)
    noisy = SIMULATION in ds.attrs
    for place, course in _courses(ds, name, phase, limits["threshold"]):
        one = np.full((), None, dtype=object)
        one[()] = _stretches(course, limits, noisy)
        found[(*(place.get(d, slice(None)) for d in dims), ...)] = one
    return _listed(ds, found)


def _courses(
    ds: xr.Dataset, task: str, phase: int, threshold: float
) -> Iterator[tuple[dict[str, int], Course]]:
    """Places in a dataset and the courses that belong there: later ones replace earlier ones."""
    try:
        yield from solved(ds, task, phase, threshold)
    except NotAgain as reason:
        from_rows(reason, "plateau")
        yield from read(ds, task, phase)


def _stretches(course: Course, limits: dict[str, float], noisy: bool) -> list[Stretch]:
    """Plateaus along a course."""
    if course.t.size < 3:
        return []
    error = np.maximum(course.error, course.floor)
    before = np.maximum(course.before, course.floor)
    jumped = bool(abs(np.log(error[0] / before)) > np.log1p(limits["threshold"]))
    found = stretches(course.t, error, begin=course.begin, jumped=jumped, noisy=noisy, **limits)
    least = course.floor * (1 + limits["threshold"])
    return [one for one in found if one.level > least]


def _listed(ds: xr.Dataset, found: Any) -> xr.Dataset:
    """Lists of stretches of every trajectory as a dataset."""
    import xarray as xr

    dims = sweep_dims(ds)
    most = max((len(one) for one in found.flat), default=0)
    values = np.full((*found.shape, most, 3), np.nan)
    for place in np.ndindex(found.shape):
        values[place][: len(found[place])] = np.array(found[place]).reshape(-1, 3)
    variables = {
        key: ((*dims, "plateau"), values[..., i], {"long_name": text})
        for i, (key, text) in enumerate(TEXTS.items())
    }
    return xr.Dataset(variables, {d: ds[d] for d in dims if d in ds.coords})
