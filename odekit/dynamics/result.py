"""The labelled dataset of fixed points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.base.status import Convergence
from odekit.dataset.assemble import assemble, variables_of
from odekit.dataset.common import registry
from odekit.dataset.result import prepare
from odekit.dataset.variable import Variable, coordinate
from odekit.dynamics.many import PhasePoints
from odekit.dynamics.rest import NOT_MOVED, OTHER, PHYSICAL, Rests

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.axes import Axis

ATTRIBUTE = "odekit_fixed_point"
"""Attribute of datasets of fixed points: what was looked for, as JSON."""
SOURCE = "fixed points by Newton's method"
RATES = "per unit of time"
KINDS = {
    NOT_MOVED: "entries of the state that nothing moves: heads that are not trained, frozen units",
    OTHER: "directions along a family of fixed points, or neutral to first order",
}

JOINT = "the joint covariance, over the largest"
VARIABLES = [
    coordinate("entry", "str", "entry of the flat state"),
    coordinate("part", "str", "part of the state"),
    coordinate("zero_kind", "str", "kind of eigenvalues that vanish"),
    coordinate("direction", "int64", "eigenvalue, the fastest growing first"),
    Variable("status", (), "int8", "how the search ended", flags=Convergence),
    Variable("name", (), "str", "what the field calls it; empty without a name"),
    Variable("start_time", (), "float64", "time of the row at which the search began"),
    Variable("residual", (), "float64", "largest entry of |dy/dt| there", "|f|"),
    Variable("moved", (), "float64", "distance from where the search began", "|y - y_0|"),
    Variable("n_steps", (), "int64", "steps of Newton's method"),
    Variable("physical", (), "int8", "whether the state is one of real vectors (1) or not (0)"),
    Variable("smallest_eigenvalue", (), "float64", f"smallest eigenvalue of {JOINT}"),
    Variable("index", (), "int64", "number of directions that grow"),
    Variable("n_zero", ("zero_kind",), "int64", "number of eigenvalues that vanish"),
    Variable("eigenvalue_real", ("direction",), "float64", f"growth rate, {RATES}", "Re lambda"),
    Variable("eigenvalue_imag", ("direction",), "float64", f"frequency, {RATES}", "Im lambda"),
    Variable(
        "weight",
        ("direction", "part"),
        "float64",
        "squared weight of the eigenvector in each part of the state",
    ),
    Variable("eigenvector_real", ("direction", "entry"), "float64", "eigenvector, real part"),
    Variable("eigenvector_imag", ("direction", "entry"), "float64", "eigenvector, imaginary part"),
]
OWN = frozenset(v.name for v in VARIABLES)


def refuse_clashes(names: Any, more: Iterable[str] = ()) -> None:
    """Refuse sweep dims, and dims of a state, that are named as a part of the result is."""
    taken = {*OWN, *more}
    for name in names:
        if name in taken:
            rule = "must not have a dim that is named as a part of the result is"
            raise ProblemError("problem", rule, repr(name), "Rename it.")


def known_variables(phase: PhasePoints) -> dict[str, Variable]:
    """What is known of every variable of a dataset of fixed points."""
    theirs = {
        name: replace(v, dims=tuple(d for d in v.dims if d != "time"))
        for name, v in variables_of(phase.problem).items()
    }
    return {**registry([]), **theirs, **{v.name: v for v in VARIABLES}}


def dataset(
    phase: PhasePoints,
    axes: Mapping[str, Axis],
    rests: Rests,
    times: Floats,
    words: Mapping[str, Any],
    eigenvectors: bool,
) -> xr.Dataset:
    """The dataset of fixed points at every point of a sweep.

    Parameters
    ----------
    phase : PhasePoints
    axes : mapping
        The sweep dims.
    rests : Rests
    times : ndarray, shape (m,)
        Of the rows at which the searches began, NaN where they began elsewhere.
    words : mapping
        What was looked for.
    eigenvectors : bool
        Whether they are kept.
    """
    result = prepare(phase.problem, (ATTRIBUTE, words), SOURCE)
    sweep = tuple(axes)
    arrays = {**_state(phase, rests), **_search(rests, times), **_spectrum(phase, rests)}
    if eigenvectors:
        vectors = _whole(rests, np.swapaxes(rests.found.vectors, 1, 2), complex(np.nan, np.nan))
        arrays["eigenvector_real"] = (("direction", "entry"), vectors.real)
        arrays["eigenvector_imag"] = (("direction", "entry"), vectors.imag)
    system = phase.system
    parts = system.parts(phase.problem, phase.layout)
    labels = {**system.labels(phase.problem), **_labels(phase, list(parts), eigenvectors)}
    labels |= {d: coord for d, (_, coord) in axes.items() if coord is not None}
    made = {
        n: ((*sweep, *dims), phase.points.fold(np.asarray(a))) for n, (dims, a) in arrays.items()
    }
    everything = {**made, **system.constants(phase.problem), **result.kept}
    ds = assemble(everything, labels, result.attrs, sweep, variables=known_variables(phase))
    for name, text in _kinds(phase).items():
        ds.n_zero.attrs[name.replace(" ", "_").replace("-", "_")] = text
    return ds


def _kinds(phase: PhasePoints) -> dict[str, str]:
    return {NOT_MOVED: KINDS[NOT_MOVED], **phase.system.zero_kinds, OTHER: KINDS[OTHER]}


def _labels(phase: PhasePoints, parts: list[str], eigenvectors: bool) -> dict[str, Any]:
    from odekit.dynamics.field import names_of

    labels = phase.system.labels(phase.problem)
    found = {"part": parts, "zero_kind": list(_kinds(phase))}
    if eigenvectors:
        found["entry"] = list(names_of(phase.layout, labels, phase.size[1]))
    return found


def _whole(rests: Rests, good: Any, missing: Any) -> Any:
    """An array of the good points as one of all points."""
    array = np.asarray(good)
    full = np.full((len(rests.y), *array.shape[1:]), missing)
    full[rests.good] = array
    return full


def _state(phase: PhasePoints, rests: Rests) -> dict[str, Any]:
    found = {name: (b.dims, rests.y[:, b.places]) for name, b in phase.layout.items()}
    return {**found, "generalization_error": (("task",), rests.errors)}


def _search(rests: Rests, times: Floats) -> dict[str, Any]:
    names = np.full(len(rests.y), "", dtype="U64")
    names[rests.good] = rests.judged.names
    found = {
        "status": ((), rests.status),
        "name": ((), names),
        "start_time": ((), times),
        "residual": ((), rests.residual),
        "moved": ((), rests.moved),
        "n_steps": ((), rests.steps),
    }
    lowest = rests.judged.lowest
    physical = np.ones(len(rests.good)) if lowest is None else lowest >= PHYSICAL
    found["physical"] = ((), _whole(rests, np.asarray(physical, dtype=np.int8), np.int8(0)))
    if lowest is not None:
        found["smallest_eigenvalue"] = ((), _whole(rests, lowest, np.nan))
    return found


def _spectrum(phase: PhasePoints, rests: Rests) -> dict[str, Any]:
    found, k = rests.found, len(rests.good)
    values = _whole(rests, found.values, complex(np.nan, np.nan))
    squares = np.abs(found.vectors) ** 2
    parts = phase.system.parts(phase.problem, phase.layout)
    weight = np.stack([squares[:, p].sum(axis=1) for p in parts.values()], axis=-1)
    zeros = {kind: rests.zeros.get(kind, np.zeros(k, dtype=np.int64)) for kind in _kinds(phase)}
    return {
        "index": ((), _whole(rests, found.unstable, 0)),
        "n_zero": (("zero_kind",), _whole(rests, np.stack(list(zeros.values()), axis=-1), 0)),
        "eigenvalue_real": (("direction",), values.real),
        "eigenvalue_imag": (("direction",), values.imag),
        "weight": (("direction", "part"), _whole(rests, weight, np.nan)),
    }
