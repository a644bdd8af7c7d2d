"""Mixtures of Gaussian clusters of inputs, as tasks that share a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats, is_labelled, nonnegative, positive, single
from odekit.base.errors import ProblemError
from odekit.systems.committee.problem import Task

__all__ = ["Mixture", "gaussian_mixture", "xor_mixture"]

XOR = {"++": (1.0, 1.0), "+-": (1.0, -1.0), "-+": (-1.0, 1.0), "--": (-1.0, -1.0)}
"""Clusters by name, and where their means lie."""


@dataclass(frozen=True)
class Mixture:
    """Clusters of inputs, and what a problem says of them.

    Attributes
    ----------
    tasks : dict of str to Task
        The clusters, for `Problem`; all are answered by one head.
    probabilities : dict of str to float
        How often each is drawn, for `Phase`.
    teacher : ndarray, shape (P, P)
        Overlaps of the fixed vectors that span the means: the identity.

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.xor_mixture(separation=1.0, variance=0.1)
    >>> world.tasks["+-"].label, world.probabilities["+-"]
    (-1.0, 0.25)
    """

    tasks: dict[str, Task]
    probabilities: dict[str, Any]
    teacher: Floats


def gaussian_mixture(
    means: Any,
    labels: Sequence[Any],
    variance: Any = 1.0,
    probabilities: Sequence[Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    head: str = "main",
) -> Mixture:
    """Clusters x = Σ_n s_n B_n/√N + √m z with a label each (Refinetti et al. 2021).

    Parameters
    ----------
    means : array_like, shape (clusters, P)
        s of each cluster, over orthonormal fixed vectors: means of their fields.
    labels : sequence
        y of each cluster: a number, or one for each output.
    variance : float, or sequence of float
        m >= 0, of all clusters or of each; it may be swept.
    probabilities : sequence of float, optional
        Equal by default.
    names : sequence of str, optional
        ``cluster_0`` and so on by default.
    head : str
        The head that answers.

    Returns
    -------
    Mixture

    Raises
    ------
    ProblemError
        If the lengths differ.

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.gaussian_mixture([[1.0], [-1.0]], labels=[1.0, -1.0], variance=0.5)
    >>> list(world.tasks), world.tasks["cluster_1"].input_mean
    (['cluster_0', 'cluster_1'], array([-1.]))
    """
    s = as_floats("means", means, "a row of numbers for each cluster")
    if s.ndim != 2 or not s.size:
        raise ProblemError("means", "must have shape (clusters, P)", f"shape {s.shape}", "")
    c, P = s.shape
    known = [f"cluster_{i}" for i in range(c)] if names is None else list(names)
    p = [1.0 / c] * c if probabilities is None else list(probabilities)
    m = [variance] * c if is_labelled(variance) or np.ndim(variance) == 0 else list(variance)
    lengths = {"labels": labels, "names": known, "probabilities": p, "variance": m}
    for argument, given in lengths.items():
        if len(given) != c:
            raise ProblemError(
                argument, f"must have {c} entries, one for each cluster", str(len(given))
            )
    y = [np.ndim(label) for label in labels]
    silent = np.zeros((len(labels[0]), P)) if y[0] else np.zeros(P)
    tasks = {
        name: Task(
            silent, head=head, label=labels[i], input_mean=s[i],
            input_variance=nonnegative("variance", m[i]),
        )
        for i, name in enumerate(known)
    }  # fmt: skip
    return Mixture(tasks, dict(zip(known, p, strict=True)), np.eye(P))


def xor_mixture(separation: float = 1.0, variance: Any = 1.0, *, head: str = "main") -> Mixture:
    """Four clusters at (±1, ±1) whose labels are the products of the two signs.

    No linear unit tells them apart, nor any odd one without bias: errors stay at ½ or above.

    Parameters
    ----------
    separation : float
        Mean of the fields of the two fixed vectors, > 0: means are (±1, ±1) times this.
    variance : float, or sequence of float
        m of all clusters or of each, ``++``, ``+-``, ``-+``, ``--``.
    head : str

    Returns
    -------
    Mixture

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.xor_mixture(separation=2.0, variance=0.1)
    >>> {name: task.label for name, task in world.tasks.items()}
    {'++': 1.0, '+-': -1.0, '-+': -1.0, '--': 1.0}
    """
    far = single(positive, "separation", separation)
    corners = np.array(list(XOR.values()))
    labels = [float(y) for y in corners.prod(axis=1)]
    return gaussian_mixture(far * corners, labels, variance, names=list(XOR), head=head)
