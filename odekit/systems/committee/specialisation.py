"""How the work is shared among the student's units: cosines, entropies, layer imbalance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import number
from odekit.base.errors import ProblemError
from odekit.dataset.variable import named
from odekit.problem.system import Measured
from odekit.systems.committee.misclassified import misclassification

if TYPE_CHECKING:
    import xarray as xr


def overlap_cosine(ds: xr.Dataset) -> xr.DataArray:
    """Normalised overlaps ρ_kn = R_kn/√(Q_kk T_nn) of student units with fixed vectors.

    Parameters
    ----------
    ds : Dataset

    Returns
    -------
    DataArray, dims (…, time, student, teacher)
        NaN where a unit or a fixed vector has no length. Rounding is not clipped: values may pass
        ±1 by the tolerance of the run.

    Examples
    --------
    >>> import odekit as ok
    >>> import xarray as xr
    >>> blocks = {"Q": (("time", "student", "student_other"), [[[4.0]]]),
    ...           "R": (("time", "student", "teacher"), [[[1.0]]]),
    ...           "T": (("teacher", "teacher_other"), [[1.0]])}
    >>> ds = xr.Dataset(blocks)
    >>> ok.measures.overlap_cosine(ds).values
    array([[[0.5]]])
    """
    Q, R, T = (_variable(ds, name) for name in ("Q", "R", "T"))
    norms = _diagonal(Q, "student") * _diagonal(T, "teacher")
    return _labelled(
        R / _positive(norms) ** 0.5,
        ("time", "student", "teacher"),
        "overlap_cosine",
        "cosine between student units and fixed vectors, R_kn / sqrt(Q_kk T_nn)",
    )


def student_cosine(ds: xr.Dataset) -> xr.DataArray:
    """Cosines Q_kl/√(Q_kk Q_ll) between student units: ±1 where two are redundant.

    Returns
    -------
    DataArray, dims (…, time, student, student_other)
        NaN where a unit has no length.
    """
    Q = _variable(ds, "Q")
    norms = _diagonal(Q, "student") * _diagonal(Q, "student_other")
    return _labelled(
        Q / _positive(norms) ** 0.5,
        ("time", "student", "student_other"),
        "student_cosine",
        "cosine between student units, Q_kl / sqrt(Q_kk Q_ll)",
    )


def readout_entropy(ds: xr.Dataset, head: str | None = None) -> xr.DataArray:
    """How evenly each head weighs the units: normalised entropy of p_k ∝ |v_k|.

    All entropies are −Σ p_k log p_k / log K: 0 when one unit carries everything (hence for K = 1),
    1 when all share evenly, NaN when there is nothing to share (all weights zero).

    Parameters
    ----------
    ds : Dataset
    head : str, optional
        One head; all by default.

    Returns
    -------
    DataArray, dims (…, time, head), without `head` if one is chosen

    Examples
    --------
    >>> import odekit as ok
    >>> import xarray as xr
    >>> readout = (("time", "head", "student"), [[[1.0, -1.0], [2.0, 0.0]]])
    >>> ds = xr.Dataset({"readout": readout}, {"head": ["a", "b"]})
    >>> ok.measures.readout_entropy(ds).values
    array([[1., 0.]])
    """
    return _labelled(
        _entropy(abs(_readout(ds, head))),
        ("time", "head", "output"),
        "readout_entropy",
        "normalised entropy over student units of the readout |v_k|",
    )


def activation_entropy(ds: xr.Dataset) -> xr.DataArray:
    """How evenly the units are active: normalised entropy of p_k ∝ Q_kk.

    Returns
    -------
    DataArray, dims (…, time)
        0 to 1, NaN as in `readout_entropy`.
    """
    return _labelled(
        _entropy(_diagonal(_variable(ds, "Q"), "student")),
        ("time",),
        "activation_entropy",
        "normalised entropy over student units of the squared norms Q_kk",
    )


def contribution_entropy(ds: xr.Dataset, head: str | None = None) -> xr.DataArray:
    """How evenly the units share each fixed vector: normalised entropy of p_k ∝ |v_k R_kn|.

    Parameters
    ----------
    ds : Dataset
    head : str, optional
        One head; all by default.

    Returns
    -------
    DataArray, dims (…, time, head, teacher)
        0 to 1, NaN as in `readout_entropy`.
    """
    return _labelled(
        _entropy(abs(_readout(ds, head) * _variable(ds, "R"))),
        ("time", "head", "output", "teacher"),
        "contribution_entropy",
        "normalised entropy over student units of the contribution |v_k R_kn|",
    )


def specialised(ds: xr.Dataset, level: float = 0.5, head: str | None = None) -> xr.DataArray:
    """Whether one unit has learnt a fixed vector: 1 where `contribution_entropy` is below a level.

    Its mean over draws is the fraction that specialise: see `fraction`. Unequal shares need not be
    different directions: `student_cosine` tells.

    Parameters
    ----------
    ds : Dataset
    level : float
        From 0 to 1.
    head : str, optional
        One head; all by default.

    Returns
    -------
    DataArray, dims (…, time, head, teacher)
        1 or 0, NaN as in `readout_entropy`.
    """
    within = number("level", level, "be from 0 to 1", lambda x: (x >= 0) & (x <= 1))
    entropy = contribution_entropy(ds, head)
    found = (entropy < float(np.asarray(within))).where(entropy.notnull())
    return named(found, "specialised", "whether one student unit has learnt the fixed vector")


def imbalance(ds: xr.Dataset, head: str | None = None) -> xr.DataArray:
    """Layer imbalance v_k² − Q_kk of each unit, v_k² over all outputs.

    Gradient flow with equal learning rates of both layers conserves it for ReLU and linear units;
    at rates η_w ≠ η_v the conserved quantity is v_k²/η_v − Q_kk/η_w.

    Parameters
    ----------
    ds : Dataset
    head : str, optional
        One head; all by default.

    Returns
    -------
    DataArray, dims (…, time, head, student)
    """
    squares = _readout(ds, head) ** 2
    squares = squares.sum("output", skipna=False) if "output" in squares.dims else squares
    return _labelled(
        squares - _diagonal(_variable(ds, "Q"), "student"),
        ("time", "head", "student"),
        "imbalance",
        "layer imbalance of student units, v_k^2 - Q_kk",
    )


# ------------------------------------------------------------------------------------------ helpers


def _variable(ds: xr.Dataset, name: str) -> xr.DataArray:
    if name not in ds:
        raise ProblemError("ds", f"must hold the variable {name!r}", f"{list(ds.data_vars)}")
    return ds[name]


def _readout(ds: xr.Dataset, head: str | None) -> xr.DataArray:
    readout = _variable(ds, "readout")
    if head is None:
        return readout
    known = readout["head"].values.tolist()
    if head not in known:
        raise ProblemError("head", f"must be one of {', '.join(map(repr, known))}", repr(head))
    return readout.sel(head=head)


def _diagonal(matrix: xr.DataArray, keep: str) -> xr.DataArray:
    """Diagonal of the last two dims, along the one of them that is kept."""
    import xarray as xr

    name = "teacher" if keep.startswith("teacher") else "student"
    first, second = name, f"{name}_other"
    place = xr.DataArray(np.arange(matrix.sizes[first]), dims=keep)
    plain = matrix.drop_vars([first, second], errors="ignore")
    diagonal = plain.isel({first: place, second: place})
    return diagonal.assign_coords({keep: matrix[keep]}) if keep in matrix.coords else diagonal


def _positive(norms: xr.DataArray) -> xr.DataArray:
    return norms.where(norms > 0)


def _entropy(weights: xr.DataArray) -> xr.DataArray:
    """−Σ p log p / log K over the units."""
    units = weights.sizes["student"]
    total = weights.sum("student", skipna=False)
    p = weights / total.where(total > 0)
    terms = p * np.log(p.where(p > 0, 1.0))
    # K = 1 has log K = 0; the sum is 0 there.
    entropy: xr.DataArray = -terms.sum("student", skipna=False) / np.log(max(units, 2))
    return entropy.clip(0.0, 1.0) + 0.0  # no -0.0


def _labelled(array: xr.DataArray, core: tuple[str, ...], name: str, text: str) -> xr.DataArray:
    """Dims in the registry's order, with a name and the attributes of a dataset's variable."""
    present: list[Any] = [dim for dim in core if dim in array.dims]
    ordered = array.transpose(..., *present)
    return named(ordered, name, text)


MEASURES = {
    "activation_entropy": Measured("entropy of the norms", "$Q_{kk}$", activation_entropy),
    "contribution_entropy": Measured(
        "entropy of contributions", "$|v_kR_{kn}|$", contribution_entropy
    ),
    "imbalance": Measured("imbalance", "$v_k^2-Q_{kk}$", imbalance),
    "overlap_cosine": Measured("cosine", r"$R_{kn}/\sqrt{Q_{kk}T_{nn}}$", overlap_cosine),
    "readout_entropy": Measured("entropy of the readout", "$|v_k|$", readout_entropy),
    "specialised": Measured("specialised", "$|v_kR_{kn}|$", specialised),
    "student_cosine": Measured("cosine", r"$Q_{kl}/\sqrt{Q_{kk}Q_{ll}}$", student_cosine),
    "bias": Measured("bias", "$b_k$"),
    "misclassification": Measured("misclassification", r"$P(y f<0)$", misclassification),
    "readout": Measured("readout", "$v_k$"),
    "Q": Measured("overlap", "$Q_{kl}$"),
    "R": Measured("overlap", "$R_{kn}$"),
}
"""What figures may show by name."""
