"""Measures of a state with their derivatives: cosines, entropies and the imbalance of layers.

As `systems.committee.specialisation` has them, of which these are the derivatives in closed form.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.gradients.places import Places, unit_rows


class Moving(NamedTuple):
    """Numbers with derivatives by all that is carried, the last axis of `rows`."""

    values: Floats
    rows: Floats


class Overlaps(NamedTuple):
    """What measures are made of: Q (K, K), R (K, P), T (P, P) and v (H, [O,] K)."""

    Q: Moving
    R: Moving
    T: Moving
    v: Moving


def overlaps(points: Any, places: Places, frame: Any, y: Floats, share: Any) -> Overlaps:
    """Those of a state in a phase; `share` are the fractions of groups, over which they are means.

    Parameters
    ----------
    y : ndarray, shape (n,)
    share : ndarray, shape (G,), or None without groups
    """
    P, whole = points.P, np.zeros(places.size)
    whole[places.state] = y
    whole[places.T] = np.reshape(frame.T, places.T.shape)

    def read(where: Any, grouped: bool) -> Moving:
        rows = unit_rows(where, places.size).reshape(*where.shape, places.size)
        values = whole[where]
        if grouped and share is not None:
            values, rows = (np.tensordot(share, part, 1) for part in (values, rows))
        return Moving(values, rows)

    v = places.v[:, 0] if points.problem.outputs is None and places.v.ndim == 3 else places.v
    return Overlaps(
        read(places.Q, True),
        read(places.R[..., :P], True),
        read(places.T[..., :P, :P], True),
        read(v, False),
    )


def _diagonal(matrix: Moving) -> Moving:
    return Moving(np.diagonal(matrix.values), np.einsum("kkn->kn", matrix.rows))


def _cosine(matrix: Moving, left: Moving, right: Moving) -> Moving:
    """X_ab/√(left_a right_b); NaN where a vector has no length."""
    norms = left.values[:, np.newaxis] * right.values
    root = np.sqrt(np.where(norms > 0.0, norms, np.nan))
    values = matrix.values / root
    logs = (left.rows / left.values[:, np.newaxis])[:, np.newaxis]
    logs = logs + right.rows / right.values[:, np.newaxis]
    rows = matrix.rows / root[..., np.newaxis] - 0.5 * values[..., np.newaxis] * logs
    return Moving(values, rows)


def _entropy(weights: Moving) -> Moving:
    """−Σ p log p / log K of p ∝ |x| over the last axis but that of `rows`.

    −p log p has an infinite slope at 0: the derivative there is NaN if the weight moves.
    """
    x, K = np.abs(weights.values), weights.values.shape[-1]
    moved = np.sign(weights.values)[..., np.newaxis] * weights.rows
    stuck = (x == 0.0) & (weights.rows != 0.0).any(axis=-1)
    total = x.sum(axis=-1, keepdims=True)
    p = x / np.where(total > 0.0, total, np.nan)
    logs = np.log(np.where(p > 0.0, p, 1.0))
    S, scale = -(p * logs).sum(axis=-1, keepdims=True), np.log(max(K, 2))
    slope = -(logs + S) / np.where(total > 0.0, total, np.nan) / scale
    slope = np.where(stuck, np.nan, slope)
    return Moving(S[..., 0] / scale, np.einsum("...k,...kn->...n", slope, moved))


def _overlap_cosine(at: Overlaps) -> Moving:
    return _cosine(at.R, _diagonal(at.Q), _diagonal(at.T))


def _student_cosine(at: Overlaps) -> Moving:
    return _cosine(at.Q, _diagonal(at.Q), _diagonal(at.Q))


def _activation_entropy(at: Overlaps) -> Moving:
    return _entropy(_diagonal(at.Q))


def _readout_entropy(at: Overlaps) -> Moving:
    return _entropy(at.v)


def _contribution_entropy(at: Overlaps) -> Moving:
    """Of |v_k R_kn| over the units, (H, [O,] P)."""
    R, by_R = at.R.values.T, np.moveaxis(at.R.rows, 0, 1)
    v, by_v = at.v.values[..., np.newaxis, :], at.v.rows[..., np.newaxis, :, :]
    return _entropy(Moving(v * R, by_v * R[..., np.newaxis] + v[..., np.newaxis] * by_R))


def _imbalance(at: Overlaps) -> Moving:
    """v_k², over all outputs, less Q_kk, (H, K)."""
    norms = _diagonal(at.Q)
    squares, rows = at.v.values**2, 2.0 * at.v.values[..., np.newaxis] * at.v.rows
    if squares.ndim == 3:
        squares, rows = squares.sum(axis=1), rows.sum(axis=1)
    return Moving(squares - norms.values, rows - norms.rows)


MEASURES = {
    "overlap_cosine": _overlap_cosine,
    "student_cosine": _student_cosine,
    "activation_entropy": _activation_entropy,
    "readout_entropy": _readout_entropy,
    "contribution_entropy": _contribution_entropy,
    "imbalance": _imbalance,
}
"""By the names of `odekit.measures`."""
DIMS = {
    "overlap_cosine": ("student", "teacher"),
    "student_cosine": ("student", "student_other"),
    "activation_entropy": (),
    "readout_entropy": ("head",),
    "contribution_entropy": ("head", "teacher"),
    "imbalance": ("head", "student"),
}
BY_OUTPUT = {
    "readout_entropy": ("head", "output"),
    "contribution_entropy": ("head", "output", "teacher"),
}
"""Their dims where heads have several outputs."""
