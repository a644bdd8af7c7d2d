"""The activations whose Gaussian moments have compiled closed forms: one file and one row each.

Each file offers, of its g, `value` and `slope`, g(z) and g'(z), and the same functions on the
scratch arrays of `odekit_kernels.committee.work`, for one trajectory:

``second(work, rows, D)``
    I2(a, b) of the first `rows` fields with all fields.
``drive(work, K, D)``
    D_k and E_ka, contracted with the averaged coefficients `work.cbar`: A_kb of any passive vector
    is D_k C_kb + Σ_a E_ka C_ab, by Stein's lemma, a matrix product whatever the activation.
``diffusion(work, p, K, D)``
    The η² sums of I4, and J2; after `drive`.
``second_gradient(work, k, D)``, ``drive_gradient(work, x, b, k, D)``,
``diffusion_gradient(work, p, sigma, k, l, D)``
    Derivatives of one output with respect to the entries of C and to the coefficients; of the
    drive, at given overlaps of a passive vector, row b of x.

Coefficients are averaged over tasks *before* the moments are computed, for all of these are linear
in them or in their products: a mixture of tasks costs hardly more than one task.

And on the memory M of a group of trajectories with the plan m (`lanes.values`):

``norms_in_lanes(M, m)``
    What `second_in_lanes` needs of the single fields.
``second_in_lanes(M, m, a, b)``, ``self_slope_in_lanes(M, m, a)``
    I2(a, b) and J2(a, a).
``drive_in_lanes(M, m)``
    D_k and E_ka.
``power_in_lanes(M, m, k, l)``
    The η² term of a pair of units, noise included, over η²/b; after `drive_in_lanes`.

The two forms stay side by side: the functions in lanes, given one trajectory, took 0.34, 2.0 and
22 µs for a right-hand side of erf at K = P = 2, 4 and 8, where those of one take 0.24, 0.87 and
7.0, and eight trajectories in lanes 0.06, 0.40 and 4.7 each. Tests hold the two together.

Of those whose row says ``means=True`` a file in the folder `means` has the same moments of fields
with means, for clusters of inputs, labels and biases.

This module imports neither them nor numba: problems are described without.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "CODES",
    "ERF",
    "KINDS",
    "LINEAR",
    "QUADRATURE",
    "RELU",
    "TABLE",
    "Code",
    "Row",
    "check",
    "kind_of",
    "row_of",
]


class Row(NamedTuple):
    """An activation.

    Attributes
    ----------
    name : str
        Of the activation, and of its file.
    online : bool
        Whether I4, and so the η² term, has a closed form.
    means : bool
        Whether a file of the same name in `means` has the moments of fields with means.
    """

    name: str
    online: bool
    means: bool = False


TABLE = (
    Row("erf", online=True, means=True),
    Row("linear", online=True, means=True),
    Row("relu", online=False, means=True),
)
"""A row's number is the activation's code in all kernels."""

CODES = {row.name: code for code, row in enumerate(TABLE)}
ERF, LINEAR, RELU = (CODES[name] for name in ("erf", "linear", "relu"))
QUADRATURE = -1
"""Code of all others, whose moments no kernel computes."""


class Code(NamedTuple):
    """The code of a known activation, in a type of its own.

    A kernel is compiled for the types of its arguments: given one of these it holds the moments of
    this activation alone, where a bare number has those of all compiled: a first run then took 100
    functions in place of 75.

    Attributes
    ----------
    code : int
    """

    code: int


KINDS: tuple[type[Code], ...] = tuple(
    type(row.name.capitalize(), (Code,), {"__slots__": (), "__module__": __name__, "row": code})
    for code, row in enumerate(TABLE)
)
"""The type of each activation, by its code."""

# Where a file of the cache finds them.
globals().update({kind.__name__: kind for kind in KINDS})


def kind_of(activation: int) -> Code | int:
    """A code in the type of its activation; `QUADRATURE` as it is."""
    return activation if activation == QUADRATURE else KINDS[activation](activation)


def row_of(name: object) -> Row | None:
    """The row of an activation by its name, or None."""
    return TABLE[CODES[name]] if isinstance(name, str) and name in CODES else None


def check(activation: int) -> int:
    """The code of an activation, or `QUADRATURE`.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if activation not in (*CODES.values(), QUADRATURE):
        listed = ", ".join(f"{code} ({name})" for name, code in CODES.items())
        raise ValueError(
            f"`activation` must be one of {listed}, or {QUADRATURE} (moments from quadrature), "
            f"got {activation!r}"
        )
    return activation
