"""Overlap matrices of fixed vectors: single teachers and families of related ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats, count, is_labelled, positive
from odekit.base.errors import ProblemError
from odekit.systems.committee.start import factor


def orthonormal(units: int) -> Floats:
    """T of one teacher with orthonormal units, the identity of shape (units, units).

    Examples
    --------
    >>> import odekit as ok
    >>> ok.teachers.orthonormal(2)
    array([[1., 0.],
           [0., 1.]])
    """
    return np.eye(count("units", units))


def random(units: int, *, input_dim: int, seed: int, norm: float = 1.0) -> Floats:
    """T of one teacher with independent Gaussian units in `input_dim` dimensions.

    Parameters
    ----------
    units, input_dim : int
        Number of units M and input dimension N.
    seed : int
    norm : float
        Expected T_nn; the off-diagonal entries are of order norm/√N.

    Returns
    -------
    ndarray, shape (units, units)
    """
    from odekit.systems.committee.start import draw_overlaps

    M, N = count("units", units), count("input_dim", input_dim, most=2**53)
    std = np.full(M, np.sqrt(float(positive("norm", norm))))
    return draw_overlaps(M, np.zeros((0, 0)), std, N, None, seed)[0]


def rotated(units: int, overlap: Any, *, tasks: int = 2) -> Any:
    """T of several orthonormal teachers, each unit rotated against its counterparts.

    Parameters
    ----------
    units : int
        Units M of each teacher.
    overlap : float or array_like, shape (tasks, tasks)
        V = B_n·B'_n/N = cos α between the n-th units of every two teachers (feature similarity),
        or the whole matrix of these overlaps, with ones on its diagonal. A labelled array of V is
        swept over: the result has its dims first.
    tasks : int
        Number of teachers.

    Returns
    -------
    ndarray, shape (tasks * units, tasks * units)
        Fixed vectors in the order of their teachers.

    Raises
    ------
    ProblemError
        If no vectors have these overlaps (not positive semidefinite): for n teachers of one common
        V that means V < −1/(n − 1).

    Examples
    --------
    >>> import odekit as ok
    >>> ok.teachers.rotated(1, 0.5)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    n, M = _family(tasks, units)

    def one(overlap: Any) -> Floats:
        return np.asarray(np.kron(_similarities("overlap", overlap, n), np.eye(M)), dtype=float)

    return _for_each(overlap, one, ("teacher", "teacher_other"))


def shared(units: int, common: int, *, tasks: int = 2) -> Floats:
    """T of several orthonormal teachers that have their first `common` units in common.

    Returns
    -------
    ndarray, shape (tasks * units, tasks * units)
        Rank-deficient when units are shared: copies are fixed vectors of their own.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.teachers.shared(2, 1)[:, 2]
    array([1., 0., 1., 0.])
    """
    n, M = _family(tasks, units)
    s = count("common", common, most=M, least=0)
    between = np.diag((np.arange(M) < s).astype(float))
    T: Floats = np.kron(np.ones((n, n)) - np.eye(n), between) + np.eye(n * M)
    return T


def readouts(units: int, similarity: Any, *, tasks: int = 2, scale: float = 1.0) -> Any:
    """Readout vectors of several teachers with given angles between them.

    Parameters
    ----------
    units : int
        Units M of each teacher.
    similarity : float or array_like, shape (tasks, tasks)
        Cosine of the angle between every two readouts, or the matrix of them; a labelled array of
        cosines is swept over. The first readout is the even one, (1, …, 1)·scale.
    tasks : int
    scale : float
        Root mean square of a readout's entries.

    Returns
    -------
    ndarray, shape (tasks, units)

    Raises
    ------
    ProblemError
        If M dimensions cannot hold these angles (M = 1 has only ±1).

    Examples
    --------
    >>> import odekit as ok
    >>> ok.teachers.readouts(2, 0.0).round(12)
    array([[ 1.,  1.],
           [ 1., -1.]])
    """
    n, M = _family(tasks, units)
    size = float(positive("scale", scale))
    return _for_each(similarity, lambda s: size * _directions(s, n, M), ("task", "teacher"))


def _directions(similarity: Any, n: int, M: int) -> Floats:
    """n vectors of length √M at given angles, the first the even one."""
    L = factor(_similarities("similarity", similarity, n))
    used = L[:, np.any(L != 0, axis=0)]
    if used.shape[1] > M:
        raise ProblemError(
            "similarity",
            f"must be realisable in {M} dimensions, one for each unit",
            f"a matrix of rank {used.shape[1]}",
            "Use more units, or ±1 between readouts of one unit.",
        )
    frame = np.zeros((n, M))
    frame[:, : used.shape[1]] = used
    return np.asarray(np.sqrt(M) * frame @ _onto_even(frame[0]))


def _for_each(value: Any, one: Callable[[Any], Floats], core: tuple[str, str]) -> Any:
    """`one` of a value, or of every entry of a labelled array, which keeps its dims."""
    if not is_labelled(value):
        return one(value)
    import xarray as xr

    results = np.array([one(v) for v in np.ravel(value.values)])
    coords = {d: value.coords[d] for d in value.dims if d in value.coords}
    shape = (*value.shape, *results.shape[1:])
    return xr.DataArray(results.reshape(shape), dims=(*value.dims, *core), coords=coords)


def embed(readout: Any, task: int, *, tasks: int = 2) -> Floats:
    """One teacher's readout written over the fixed vectors of all teachers.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.teachers.embed([1.0, 1.0], 1)
    array([0., 0., 1., 1.])
    """
    own = np.atleast_1d(as_floats("readout", readout, "an axis of numbers"))
    n = count("tasks", tasks)
    place = count("task", task, most=n - 1, least=0)
    full = np.zeros((n, own.size))
    full[place] = own
    return full.ravel()


def _family(tasks: int, units: int) -> tuple[int, int]:
    """Numbers of teachers and of their units, few enough together."""
    n, M = count("tasks", tasks), count("units", units)
    count("tasks * units", n * M)
    return n, M


def _similarities(argument: str, value: Any, n: int) -> Floats:
    S = as_floats(argument, value, "a number or a square matrix")
    if S.ndim == 0:
        S = np.where(np.eye(n, dtype=bool), 1.0, S)
    bad = S.shape != (n, n) or not np.allclose(S, S.T, rtol=0, atol=1e-12)
    if bad or not np.allclose(np.diag(S), 1.0, rtol=0, atol=1e-12):
        raise ProblemError(
            argument,
            f"must be a number or a symmetric ({n}, {n}) matrix with unit diagonal",
            f"shape {S.shape}" if S.shape != (n, n) else "another matrix",
            "Give the cosine between every two teachers.",
        )
    lowest = float(np.linalg.eigvalsh(S).min())
    if lowest < -1e-12 * n:
        raise ProblemError(
            argument,
            "must be positive semidefinite",
            f"lowest eigenvalue {lowest:.3g}",
            f"For {n} teachers of one common similarity it must be >= {-1 / max(n - 1, 1):.3g}.",
        )
    return S


def _onto_even(first: Floats) -> Floats:
    """An orthogonal matrix (M, M) that turns a unit row vector onto the even direction."""
    M = first.size
    even = np.full(M, 1 / np.sqrt(M))
    axis = even - first
    if np.linalg.norm(axis) < 1e-12:
        return np.eye(M)
    axis /= np.linalg.norm(axis)
    return np.asarray(np.eye(M) - 2 * np.outer(axis, axis))
