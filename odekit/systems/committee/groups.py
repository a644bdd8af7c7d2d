"""Groups of inputs: their fractions, and overlaps in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import agree, label, mapping, positive
from odekit.base.errors import ProblemError
from odekit.systems.committee.start import draw_overlaps, factor

SUM_TOLERANCE = 1e-9


def fractions(argument: str, groups: Any) -> dict[str, Any]:
    """Fractions of the inputs in each group, by name, which sum to one.

    Raises
    ------
    ProblemError
        If one is not positive, or they do not sum to one.
    """
    found = {
        label(argument, name): positive(
            f"{argument}[{name!r}]", share, "Leave out a group without inputs."
        )
        for name, share in mapping(argument, groups).items()
    }
    agree(argument, found.values())
    total: Any = sum(found.values())
    off = np.abs(np.asarray(total) - 1.0)
    if np.any(off > SUM_TOLERANCE):
        worst = float(np.asarray(total).ravel()[off.argmax()])
        remedy = "Give the fraction of the inputs in each group; rescale them."
        raise ProblemError(argument, "must have fractions that sum to 1", f"{worst:.12g}", remedy)
    return found


def sizes(groups: Mapping[str, Any], input_dim: int) -> list[int]:
    """Inputs of each group: the nearest whole numbers to its share that sum to N."""
    ends = np.rint(np.cumsum([float(f) for f in groups.values()]) * input_dim).astype(int)
    return [int(n) for n in np.diff(ends, prepend=0)]


def confined(T: Floats, groups: Mapping[str, Any], names: Sequence[str] | None) -> Floats:
    """Overlaps of fixed vectors in each group, (..., G, P, P).

    Spread evenly they are T everywhere; of vectors that have only entries in some groups they are
    T over the fraction of these there, and 0 elsewhere.

    Parameters
    ----------
    T : ndarray, shape (..., P, P)
        Overlaps over all inputs.
    groups : mapping
        Fractions by name.
    names : sequence of str, optional
        The groups in which the vectors lie; all of them by default.
    """
    chosen = list(groups) if names is None else [names] if isinstance(names, str) else list(names)
    strange = [name for name in chosen if name not in groups]
    if strange or not chosen:
        known = ", ".join(map(repr, groups))
        given = repr(strange[0]) if strange else "none"
        raise ProblemError("teacher_groups", f"must name groups ({known})", given, "")
    inside = sum(float(groups[name]) for name in chosen)
    scale = np.array([1.0 / inside if name in chosen else 0.0 for name in groups])
    return np.asarray(scale[:, None, None] * T[..., None, :, :])


def draw_groups(
    K: int, T: Floats, std: Floats, numbers: Sequence[int], draws: int | None, seed: int
) -> tuple[Floats, Floats]:
    """Q and R of every group, ([draws,] G, K, K) and (..., G, K, P), of independent draws.

    Parameters
    ----------
    K : int
    T : ndarray, shape (..., G, P, P)
        Overlaps of the fixed vectors in each group.
    std : ndarray, shape (K,)
    numbers : sequence of int
        Inputs of each group.
    draws, seed : int

    Raises
    ------
    ProblemError
        If a group has fewer inputs than the rank of its fixed vectors.
    """
    found = []
    seeds = np.random.SeedSequence(seed).spawn(len(numbers))
    for g, (N, own) in enumerate(zip(numbers, seeds, strict=True)):
        blocks = T[..., g, :, :]
        P = blocks.shape[-1]
        L = np.array([factor(t) for t in blocks.reshape(-1, P, P)])
        kept = np.flatnonzero((L != 0).any(axis=(0, 1)))
        if max(kept.size, 1) > N:
            raise ProblemError(
                "input_dim",
                f"must leave every group at least {max(kept.size, 1)} inputs, the rank of its "
                "fixed vectors",
                f"{N} in group {g}",
                "Use a larger input_dim.",
            )
        L = L.reshape(*blocks.shape)[..., kept]
        found.append(draw_overlaps(K, L, std, N, draws, own))
    Q, R = zip(*found, strict=True)
    return np.stack(Q, axis=-3), np.stack(R, axis=-3)


def overlaps_of_groups(
    W: Floats, B: Floats, groups: Mapping[str, Any]
) -> tuple[Floats, Floats, Floats]:
    """Q, R and T in each group of inputs, given by the indices of its inputs.

    Raises
    ------
    ProblemError
        If the groups do not hold every input once.
    """
    N = W.shape[1]
    places = [np.atleast_1d(np.arange(N)[x]) for x in mapping("groups", groups).values()]
    together = np.sort(np.concatenate(places))
    if not np.array_equal(together, np.arange(N)) or not all(x.size for x in places):
        raise ProblemError(
            "groups",
            f"must hold each of the {N} inputs once",
            f"{together.size} places",
            "Give indices or a slice for every group.",
        )
    pairs = ((W, W), (W, B), (B, B))
    return tuple(np.array([a[:, x] @ b[:, x].T / x.size for x in places]) for a, b in pairs)  # type: ignore[return-value]
