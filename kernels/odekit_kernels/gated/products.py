"""Products of matrices in the memory of a group: in tiles of loops, or through BLAS.

In lanes every entry is a vector of eight trajectories. Each number loaded must count several times,
or loads take longer than the arithmetic: four rows and four columns at once need 8 loads for 16
multiplications, one entry at a time 2 for 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit_kernels._jit import alternatives, inner, kernel, outer
from odekit_kernels.gated.paths import Single
from odekit_kernels.lanes.values import fill, get, put

__all__ = ["in_loops", "multiply"]

CROSSOVER = 1000
"""Multiplications from which a product of one trajectory goes through BLAS. Four products of 6x6
took 0.42 µs in loops and 1.6 µs in BLAS, of 10x10 1.4 and 1.4 µs, of 16x16 5.4 and 2.5 µs."""

TILED = 64
"""Multiplications from which products go by tiles: four products of 2x2 took 10 ns in each of eight
lanes entry by entry, 16 in tiles; of 4x4 36 and 30 ns, of 16x16 1.7 and 0.8 µs."""

# ------------------------------------------------------------------------------------------- tiles


@inner
def keep(M: Any, at: Any, total: Any, sign: Any, add: Any) -> None:
    """Write an entry of a product, or add it."""
    if add:
        put(M, at, get(M, at) + sign * total)
    else:
        put(M, at, sign * total)


@inner
def one_by_one(
    M: Any, A: Any, along: Any, B: Any, first: Any, C: Any, k: Any, sign: Any, add: Any
) -> None:
    """One entry: A and B are where its row and its column begin, C where it goes."""
    total = fill(M, 0.0)
    for l in range(k):
        total = total + get(M, A + l * along) * get(M, B + l * first)
    keep(M, C, total, sign, add)


@inner
def two_by_two(
    M: Any, A: Any, down: Any, along: Any, B: Any, first: Any, second: Any, C: Any, c: Any, k: Any,
    sign: Any, add: Any,
) -> None:  # fmt: skip
    """Two rows and two columns."""
    c00 = c01 = c10 = c11 = fill(M, 0.0)
    for l in range(k):
        a, b = A + l * along, B + l * first
        b0, b1 = get(M, b), get(M, b + second)
        x = get(M, a)
        c00, c01 = c00 + x * b0, c01 + x * b1
        x = get(M, a + down)
        c10, c11 = c10 + x * b0, c11 + x * b1
    keep(M, C, c00, sign, add)
    keep(M, C + 1, c01, sign, add)
    keep(M, C + c, c10, sign, add)
    keep(M, C + c + 1, c11, sign, add)


@outer
def four_by_four(
    M: Any, A: Any, down: Any, along: Any, B: Any, first: Any, second: Any, C: Any, c: Any, k: Any,
    sign: Any, add: Any,
) -> None:  # fmt: skip
    """Four rows and four columns."""
    c00 = c01 = c02 = c03 = c10 = c11 = c12 = c13 = fill(M, 0.0)
    c20 = c21 = c22 = c23 = c30 = c31 = c32 = c33 = fill(M, 0.0)
    for l in range(k):
        a, b = A + l * along, B + l * first
        b0, b1 = get(M, b), get(M, b + second)
        b2, b3 = get(M, b + 2 * second), get(M, b + 3 * second)
        x = get(M, a)
        c00, c01, c02, c03 = c00 + x * b0, c01 + x * b1, c02 + x * b2, c03 + x * b3
        x = get(M, a + down)
        c10, c11, c12, c13 = c10 + x * b0, c11 + x * b1, c12 + x * b2, c13 + x * b3
        x = get(M, a + 2 * down)
        c20, c21, c22, c23 = c20 + x * b0, c21 + x * b1, c22 + x * b2, c23 + x * b3
        x = get(M, a + 3 * down)
        c30, c31, c32, c33 = c30 + x * b0, c31 + x * b1, c32 + x * b2, c33 + x * b3
    four(M, C, c00, c01, c02, c03, sign, add)
    four(M, C + c, c10, c11, c12, c13, sign, add)
    four(M, C + 2 * c, c20, c21, c22, c23, sign, add)
    four(M, C + 3 * c, c30, c31, c32, c33, sign, add)


@inner
def four(M: Any, at: Any, one: Any, two: Any, three: Any, last: Any, sign: Any, add: Any) -> None:
    """A row of a tile."""
    keep(M, at, one, sign, add)
    keep(M, at + 1, two, sign, add)
    keep(M, at + 2, three, sign, add)
    keep(M, at + 3, last, sign, add)


@outer
def strip(
    M: Any, A: Any, down: Any, along: Any, B: Any, first: Any, second: Any, C: Any, c: Any, k: Any,
    sign: Any, add: Any, rows: Any, columns: Any,
) -> None:  # fmt: skip
    """Rows and columns that fill no tile of four: by two, and one by one."""
    for i in range(0, rows - 1, 2):
        for j in range(0, columns - 1, 2):
            at = C + i * c + j
            two_by_two(
                M, A + i * down, down, along, B + j * second, first, second, at, c, k, sign, add
            )
    for i in range(rows):
        for j in range(0 if i == rows - 1 and rows % 2 == 1 else columns - columns % 2, columns):
            one_by_one(M, A + i * down, along, B + j * second, first, C + i * c + j, k, sign, add)


@outer
def in_tiles(
    M: Any, A: Any, at: Any, B: Any, bt: Any, C: Any, r: Any, k: Any, c: Any, sign: Any, add: Any
) -> None:
    """`in_loops`, by tiles of four rows and columns as far as they go."""
    down, along = (1, r) if at else (k, 1)
    first, second = (1, k) if bt else (c, 1)
    rows, columns = r - r % 4, c - c % 4
    for i in range(0, rows, 4):
        for j in range(0, columns, 4):
            four_by_four(
                M, A + i * down, down, along, B + j * second, first, second, C + i * c + j, c, k,
                sign, add,
            )  # fmt: skip
    if columns < c and rows > 0:
        strip(
            M, A, down, along, B + columns * second, first, second, C + columns, c, k, sign, add,
            rows, c - columns,
        )  # fmt: skip
    if rows < r:
        strip(
            M, A + rows * down, down, along, B, first, second, C + rows * c, c, k, sign, add,
            r - rows, c,
        )  # fmt: skip


# A call of its own, as it was before there were tiles: these are the sizes where calls count.
@outer
def by_entry(
    M: Any, A: Any, at: Any, B: Any, bt: Any, C: Any, r: Any, k: Any, c: Any, sign: Any, add: Any
) -> None:
    """`in_loops`, one entry after the other."""
    down, along = (1, r) if at else (k, 1)
    first, second = (1, k) if bt else (c, 1)
    for i in range(r):
        for j in range(c):
            total = fill(M, 0.0)
            for l in range(k):
                left = get(M, A + i * down + l * along)
                total = total + left * get(M, B + l * first + j * second)
            total = sign * total
            if add:
                total = total + get(M, C + i * c + j)
            put(M, C + i * c + j, total)


@inner
def in_loops(
    M: Any, A: Any, at: Any, B: Any, bt: Any, C: Any, r: Any, k: Any, c: Any, sign: Any, add: Any
) -> None:
    """Write C (r, c) = sign op(A) op(B), plus C if `add`; op transposes where its flag is 1."""
    if r * k * c < TILED:
        by_entry(M, A, at, B, bt, C, r, k, c, sign, add)
    else:
        in_tiles(M, A, at, B, bt, C, r, k, c, sign, add)


# -------------------------------------------------------------------------------------------- BLAS


# With reference counts, which `np.dot` needs.
@kernel(_nrt=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def in_blas(
    M: Any, spare: Any, A: Any, at: Any, B: Any, bt: Any, C: Any, r: Any, k: Any, c: Any,
    sign: Any, add: Any,
) -> None:  # fmt: skip
    """`in_loops`, through BLAS where that is faster; `spare` has room for a product."""
    if r * k * c < CROSSOVER:
        in_loops(M, A, at, B, bt, C, r, k, c, sign, add)
        return
    out = M[spare : spare + r * c].reshape((r, c))
    if not add and sign == 1.0:
        out = M[C : C + r * c].reshape((r, c))
    left, right = M[A : A + r * k], M[B : B + k * c]
    if at and bt:
        np.dot(left.reshape((k, r)).T, right.reshape((c, k)).T, out)
    elif at:
        np.dot(left.reshape((k, r)).T, right.reshape((k, c)), out)
    elif bt:
        np.dot(left.reshape((r, k)), right.reshape((c, k)).T, out)
    else:
        np.dot(left.reshape((r, k)), right.reshape((k, c)), out)
    if add:
        for i in range(r * c):
            M[C + i] += sign * M[spare + i]
    elif sign != 1.0:
        for i in range(r * c):
            M[C + i] = sign * M[spare + i]


def through_blas(
    M: Any, m: Any, A: Any, at: Any, B: Any, bt: Any, C: Any, r: Any, k: Any, c: Any,
    sign: Any, add: Any,
) -> None:  # fmt: skip
    """`in_blas`, where the plan says."""
    in_blas(M, m.spare, A, at, B, bt, C, r, k, c, sign, add)


def through_loops(
    M: Any, m: Any, A: Any, at: Any, B: Any, bt: Any, C: Any, r: Any, k: Any, c: Any,  # noqa: ARG001
    sign: Any, add: Any,
) -> None:  # fmt: skip
    """`in_loops`, whatever the plan."""
    in_loops(M, A, at, B, bt, C, r, k, c, sign, add)


def multiply(
    M: Any, m: Any, A: Any, at: Any, B: Any, bt: Any, C: Any, r: Any, k: Any, c: Any,
    sign: Any, add: Any,
) -> None:  # fmt: skip
    """A product of matrices, by the way that the type of the plan says."""
    if isinstance(m, Single):
        through_blas(M, m, A, at, B, bt, C, r, k, c, sign, add)
    else:
        through_loops(M, m, A, at, B, bt, C, r, k, c, sign, add)


@alternatives(multiply, strict=False)
def _multiply(M: Any, m: Any, *rest: Any) -> Any:  # noqa: ARG001
    return through_blas if m.instance_class is Single else through_loops
