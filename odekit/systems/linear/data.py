"""Data sets that the papers on linear networks share: trees of items, and trees in contexts."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats, count, flag
from odekit.base.errors import ProblemError

MOST_ITEMS = 4096


def hierarchy(levels: int = 3, branching: int = 2, *, root: bool = True) -> Floats:
    """Features of the items of a tree: one for every node of it, which all items below have.

    Parameters
    ----------
    levels : int
        Levels below the root; the last one are the items themselves.
    branching : int
        Branches at every node.
    root : bool
        Whether there is a feature that all items have.

    Returns
    -------
    ndarray, shape (features, items)
        Y, a column for each of the branching^levels items: root, then level by level. Its singular
        values are the roots of how many features the items of a branch share in all.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> ok.linear.hierarchy(2, root=False)
    array([[1., 1., 0., 0.],
           [0., 0., 1., 1.],
           [1., 0., 0., 0.],
           [0., 1., 0., 0.],
           [0., 0., 1., 0.],
           [0., 0., 0., 1.]])
    >>> np.linalg.svd(ok.linear.hierarchy())[1][:4] ** 2
    array([15.,  7.,  3.,  3.])
    """
    depth = count("levels", levels, most=64)
    many = count("branching", branching, most=MOST_ITEMS)
    if many**depth > MOST_ITEMS:
        rule = f"must give at most {MOST_ITEMS} items"
        raise ProblemError("levels", rule, f"{many}^{depth}", "Take fewer levels.")
    first = 0 if flag("root", root) else 1
    return np.vstack(
        [np.kron(np.eye(many**k), np.ones(many ** (depth - k))) for k in range(first, depth + 1)]
    )


def in_contexts(targets: Any, contexts: int) -> tuple[Floats, Floats, Any]:
    """Items seen in several contexts: answers that all contexts share, and some of each alone.

    Parameters
    ----------
    targets : array_like, shape (features, items)
        Y: what is shared, and once more what each context adds.
    contexts : int
        C.

    Returns
    -------
    inputs : ndarray, shape (C items, items + C)
        One-hot items, then one-hot contexts; samples context by context.
    outputs : ndarray, shape (C items, (1 + C) features)
        The shared features, then a block for each context, 0 in all others.
    context : ndarray of int, shape (C items,)
        Of each sample: gates are made of it.

    Notes
    -----
    Jarvis, Klein, Rosman & Saxe (2025), Make Haste Slowly, with `hierarchy()` and three contexts.

    Examples
    --------
    >>> import odekit as ok
    >>> X, Y, context = ok.linear.in_contexts(ok.linear.hierarchy(), 3)
    >>> X.shape, Y.shape, context[[0, 8, 23]]
    ((24, 11), (24, 60), array([0, 1, 2]))
    """
    answers = as_floats("targets", targets, "an array (features, items)")
    if answers.ndim != 2:
        rule = "must have shape (features, items)"
        raise ProblemError("targets", rule, str(answers.shape), "A column for each item.")
    C, items = count("contexts", contexts, most=MOST_ITEMS), answers.shape[1]
    one, each = np.ones((C, 1)), np.eye(C)
    inputs = np.hstack([np.kron(one, np.eye(items)), np.kron(each, np.ones((items, 1)))])
    outputs = np.hstack([np.kron(one, answers.T), np.kron(each, answers.T)])
    return inputs, outputs, np.repeat(np.arange(C), items)
