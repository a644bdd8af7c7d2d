"""What sensitivities are carried of: the state, the frame of a phase, its beginning, integrals."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from odekit.base.arrays import Floats


class Places:
    """Where each number stands in one vector: Q, R, heads, T, F, F_v, v*, begin, integrals.

    Parameters
    ----------
    K, P, H, c, W, G : int
        Units, fixed vectors, heads, consolidations in force, integrals of errors, and groups of
        inputs. With groups Q, R, T and F have an axis of them, F after that of consolidations.
    outputs : tuple of int
        Heads have this axis before that of the units, if any.
    biases, rest : int
        Biases of units, and numbers of the state after them.

    Attributes
    ----------
    n, frame, size : int
        Numbers of the state, of the frame, and of all.
    """

    def __init__(
        self, K: int, P: int, H: int, c: int, W: int, G: int,
        outputs: tuple[int, ...] = (), biases: int = 0, rest: int = 0,
    ) -> None:  # fmt: skip
        self.K, self.P, self.H, self.c, self.W, self.G, self.count = K, P, H, c, W, G, 0
        blocks = [(self._triangle(K), self._next(K, P)) for _ in range(max(G, 1))]
        Q: Any = np.stack([block[0] for block in blocks])
        R: Any = np.stack([block[1] for block in blocks])
        self.Q, self.R = (Q, R) if G else (Q[0], R[0])
        self.v, self.b = self._next(H, *outputs, K), self._next(biases)
        self.rest = self._next(rest)
        self.n = self.count
        self.T = self._next(*((G,) if G else ()), P, P)
        self.F = self._next(c, *((G,) if G else ()), K)
        self.F_v, self.v_anchor = self._next(c, K), self._next(c, *outputs, K)
        self.frame = self.count - self.n
        self.begin = self.count
        self.count += 1
        self.Z = self._next(W)
        self.size = self.count

    def _triangle(self, K: int) -> Any:
        """An upper triangle, row by row, with its mirror."""
        found = np.zeros((K, K), dtype=np.int64)
        found[np.triu_indices(K)] = self._next(K * (K + 1) // 2)
        return np.maximum(found, found.T)

    def _next(self, *shape: int) -> Any:
        size = int(np.prod(shape, dtype=np.int64))
        found = self.count + np.arange(size).reshape(shape)
        self.count += size
        return found

    @property
    def state(self) -> slice:
        """The state and nothing else."""
        return slice(0, self.n)

    @property
    def framed(self) -> slice:
        """The frame."""
        return slice(self.n, self.n + self.frame)


def of_frame(points: Any, frame: Any, W: int) -> Places:
    """Places in a phase."""
    sizes = (points.K, frame.T.shape[-1], len(points.heads), len(frame.anchor), W, points.G)
    if not is_structured(points):
        return _places(*sizes)
    more = (points.O, points.problem.biases is not None, frame.heavy, frame.adaptive)
    if (*sizes, *more) not in points.known:
        blocks = {name: math.prod(shape) for name, (_, shape) in points.layout(frame).items()}
        own = ("overlaps", "heads", "biases")
        rest = sum(size for name, size in blocks.items() if name not in own)
        found = _places(*sizes, (points.O,), blocks.get("biases", 0), rest)
        points.known[*sizes, *more] = found
    known: Places = points.known[*sizes, *more]
    return known


def is_structured(points: Any) -> bool:
    """Whether a packing is that of structured problems; asking these takes longer."""
    return hasattr(points, "own_laws")


@functools.lru_cache(maxsize=64)
def _places(*sizes: Any) -> Places:
    # Made for every phase of a schedule of many, several times: they took a third of a gradient.
    return Places(*sizes)


def unit_rows(places: Any, size: int) -> Floats:
    """Matrix whose rows pick out these numbers."""
    flat = np.ravel(places)
    rows = np.zeros((flat.size, size))
    rows[np.arange(flat.size), flat] = 1.0
    return rows
