"""Given samples in place of Gaussian inputs: checks, standardisation, whitening."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats, choice
from odekit.base.errors import ProblemError
from odekit_kernels.committee.sgd.memory import padded

if TYPE_CHECKING:
    from odekit.systems.committee.problem import Problem

PREPROCESSING = ("none", "standardise", "whiten")
LEAST_VARIANCE = 1e-10
"""Variance, over the largest one, at or below which a direction is constant and left out."""


@dataclass(frozen=True)
class Samples:
    """What a simulation draws its inputs from.

    Attributes
    ----------
    N : int
        Features.
    rows : ndarray, shape (n, L)
        Inputs of all tasks, padded as the kernels need them.
    first, count : ndarray of int64, shape (tasks,)
        Which of them belong to each task.
    labels : ndarray, shape (tasks outputs, n), or (tasks outputs, 0)
        Labels of each task at its own inputs, a row for each output; none where the fixed vectors
        give them.
    words : dict
        What a dataset says about them.
    """

    N: int
    rows: Floats
    first: np.ndarray[Any, np.dtype[np.int64]]
    count: np.ndarray[Any, np.dtype[np.int64]]
    labels: Floats
    words: dict[str, Any]

    def of(self, task: int, outputs: int = 1) -> tuple[Floats, Floats]:
        """Padded inputs of one task, and its labels (n, outputs) if there are any."""
        own = slice(self.first[task], self.first[task] + self.count[task])
        labels = self.labels[task * outputs : (task + 1) * outputs]
        return self.rows[own], labels[:, own].T if self.labels.size else labels.T


def samples_of(problem: Problem, inputs: Any, labels: Any, preprocess: str) -> Samples:
    """Check given inputs and labels, and bring them into the form of a simulation."""
    choice("preprocess", preprocess, PREPROCESSING)
    tasks = list(problem.tasks)
    parts = _by_task("inputs", inputs, tasks)
    arrays = {name: _matrix(name, x) for name, x in parts.items()}
    if len({x.shape[1] for x in arrays.values()}) > 1:
        shapes = str({name: x.shape for name, x in arrays.items()})
        raise ProblemError("inputs", "must have as many features in every task", shapes, "")
    shared = len({id(x) for x in parts.values()}) == 1
    pool = next(iter(arrays.values())) if shared else np.concatenate(list(arrays.values()))
    count = np.array([len(arrays[name]) for name in tasks], dtype=np.int64)
    first = np.zeros_like(count) if shared else np.cumsum(count) - count
    known = _labels(labels, tasks, first, count, len(pool), problem.outputs)
    words = {"preprocess": preprocess, "samples": count.tolist(), "features": pool.shape[1]}
    digest = hashlib.sha256(pool.tobytes()).hexdigest()
    words |= {"sha256": digest, "labels": "given" if known.size else "by the fixed vectors"}
    x = _PREPARED[preprocess](pool)
    return Samples(x.shape[1], padded(x), first, count, known, words)


def _centred(x: Any) -> Floats:
    features = _matrix("x", x)
    return np.asarray(features - features.mean(axis=0))


def standardise(x: Any) -> Floats:
    """Features of mean 0 and variance 1; those that are constant are left out.

    Parameters
    ----------
    x : array_like, shape (n, features)

    Returns
    -------
    ndarray, shape (n, N)
    """
    centred = _centred(x)
    variance = np.mean(centred**2, axis=0)
    kept = variance > LEAST_VARIANCE * variance.max(initial=0.0)
    return np.asarray(centred[:, kept] / np.sqrt(variance[kept]))


def whiten(x: Any) -> Floats:
    """Principal components, each of mean 0 and variance 1: their covariance is the identity.

    Directions in which nothing varies are left out.

    Parameters
    ----------
    x : array_like, shape (n, features)

    Returns
    -------
    ndarray, shape (n, N)
    """
    centred = _centred(x)
    vectors, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    kept = sizes**2 > LEAST_VARIANCE * sizes[0] ** 2
    return np.asarray(vectors[:, kept] * np.sqrt(len(centred)))


_PREPARED = {"none": lambda x: x, "standardise": standardise, "whiten": whiten}


def _by_task(argument: str, given: Any, tasks: list[str]) -> dict[str, Any]:
    """One entry for each task; what is no mapping serves all."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(tasks, given)
    if set(given) != set(tasks):
        listed = f"{sorted(map(str, given))}"
        raise ProblemError(argument, f"must name every task ({', '.join(tasks)})", listed, "")
    return {name: given[name] for name in tasks}


def _matrix(name: str, x: Any) -> Floats:
    array = as_floats("inputs", x, "an array over (sample, feature)")
    if array.ndim != 2 or array.shape[0] < 2 or not array.shape[1]:
        rule = "must have shape (samples, features), with at least two samples"
        raise ProblemError("inputs", rule, f"{array.shape} for {name!r}", "Flatten images.")
    if (array == array[0]).all():
        raise ProblemError("inputs", "must vary from sample to sample", "equal samples", "")
    return array


def _labels(
    labels: Any, tasks: list[str], first: Any, count: Any, total: int, outputs: int | None
) -> Floats:
    """Labels of every task at the places of its inputs, a row for each output."""
    O = outputs or 1
    if labels is None:
        return np.zeros((len(tasks) * O, 0))
    if not isinstance(labels, Mapping) and len(tasks) > 1:
        remedy = 'Write labels={"a": ..., "b": ...}.'
        raise ProblemError("labels", "must be a mapping from every task", "one array", remedy)
    known = np.zeros((len(tasks), O, total))
    for i, (name, values) in enumerate(_by_task("labels", labels, tasks).items()):
        y = as_floats(f"labels[{name!r}]", values, "one number for each sample")
        shape = (count[i],) if outputs is None else (count[i], outputs)
        if y.shape != shape:
            rule = f"must have one label for each sample, shape {tuple(map(int, shape))}"
            raise ProblemError(f"labels[{name!r}]", rule, str(y.shape), "")
        known[i, :, first[i] : first[i] + count[i]] = y.reshape(-1, O).T
    return known.reshape(-1, total)
