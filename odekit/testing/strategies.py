"""Hypothesis strategies: covariances, order parameters, heads, tasks, phases, whole problems.

Everything is built from drawn numbers, never filtered, so that next to nothing is discarded; the
numbers are multiples of 1/64, and shrink to few units, plain phases and round values. Sizes may be
integers or strategies of integers. Compose them as any strategy::

    @given(strategies.problems(activation="erf", student=2).map(odekit.solve))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover - Hypothesis is installed where tests run
    raise ImportError(
        "odekit.testing.strategies needs Hypothesis. Install it with `pip install 'odekit[test]'`."
    ) from error

from odekit.base.checks import choice
from odekit.problem.consolidation import CONSOLIDATIONS, Consolidation
from odekit.problem.phase import Phase
from odekit.systems.committee.problem import Problem, Task
from odekit.systems.committee.state import OrderParameters
from odekit.testing.blocks import Blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from odekit.testing.report import Floats

    Size = int | st.SearchStrategy[int]
    Draw = Callable[[st.SearchStrategy[Any]], Any]

KINDS = ("full_rank", "rank_deficient", "specialised", "near_singular", "ill_scaled")
"""Kinds of joint covariances, from harmless to hard."""
FEATURES = ("both_layers", "decay", "noise", "batch", "frozen", "mixture", "consolidation")
"""What a phase may have besides a task, a duration and a learning rate."""
SINGULAR = ("rank_deficient", "specialised")

SIZES = st.integers(1, 3)


def covariances(
    student: Size = SIZES, teacher: Size = SIZES, *, kinds: Sequence[str] = KINDS
) -> st.SearchStrategy[Floats]:
    """Valid joint covariances of K student units and P fixed vectors.

    Parameters
    ----------
    student, teacher : int or strategy
        K and P.
    kinds : sequence of str
        Which of `KINDS`: ``"full_rank"``; ``"rank_deficient"``, fewer dimensions than vectors;
        ``"specialised"``, units that equal a fixed vector up to a sign; ``"near_singular"``, the
        same but for 1e-8 to 1e-4 of a unit's length; ``"ill_scaled"``, students down to 1e-6 of the
        fixed vectors.

    Returns
    -------
    strategy of ndarray, shape (K + P, K + P)
        No field vanishes: every diagonal entry of a fixed vector is at least 1/4.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(covariances(2, 1), lambda C: True).shape
    (3, 3)
    """
    for kind in kinds:
        choice("kinds", kind, KINDS)
    return _covariances(student, teacher, tuple(kinds)).map(lambda found: found[0])


def blocks(
    student: Size = SIZES,
    teacher: Size = SIZES,
    *,
    kinds: Sequence[str] = KINDS,
    heads: int = 1,
    tasks: int = 1,
) -> st.SearchStrategy[Blocks]:
    """Points at which to test a right-hand side: overlaps, readouts v and u.

    Parameters
    ----------
    student, teacher, kinds
        As in `covariances`.
    heads, tasks : int
        Rows of v and of u.

    Returns
    -------
    strategy of Blocks
    """

    @st.composite
    def build(draw: Draw) -> Blocks:
        C, K = draw(_covariances(student, teacher, tuple(kinds)))
        v = draw(_matrix(heads, K))
        return Blocks.of(C, K, v, draw(_matrix(tasks, len(C) - K)))

    return build()


def order_parameters(
    student: Size = SIZES, teacher: Size = SIZES, *, kinds: Sequence[str] = KINDS
) -> st.SearchStrategy[OrderParameters]:
    """Valid `odekit.OrderParameters`; the arguments are those of `covariances`."""

    def build(found: tuple[Floats, int]) -> OrderParameters:
        C, K = found
        return OrderParameters(Q=C[:K, :K], R=C[:K, K:], T=C[K:, K:])

    return _covariances(student, teacher, tuple(kinds)).map(build)


def heads(
    student: Size = SIZES, *, names: Sequence[str] = ("main",)
) -> st.SearchStrategy[dict[str, Floats]]:
    """Readouts of a student by name: entries between −1 and 1."""
    return _as_strategy(student).flatmap(
        lambda K: st.fixed_dictionaries({name: _matrix(1, K).map(lambda v: v[0]) for name in names})
    )


def tasks(
    teacher: Size = SIZES, *, names: Sequence[str] = ("main",), noise: bool = True
) -> st.SearchStrategy[dict[str, Task]]:
    """Tasks by name, each answered by the head of its own name.

    Parameters
    ----------
    teacher : int or strategy
        P.
    names : sequence of str
        Of the tasks.
    noise : bool
        Whether labels may be noisy.
    """

    def one(P: int) -> st.SearchStrategy[Task]:
        std = _fractions(0, 32) if noise else st.just(0.0)
        return st.builds(Task, readout=_matrix(1, P).map(lambda u: u[0]), noise_std=std)

    return _as_strategy(teacher).flatmap(
        lambda P: st.fixed_dictionaries({name: one(P) for name in names})
    )


def phases(
    student: int,
    *,
    names: Sequence[str] = ("main",),
    before: str | None = None,
    gradient_flow: bool | None = None,
    features: Sequence[str] = FEATURES,
    duration: float = 2.0,
) -> st.SearchStrategy[Phase]:
    """Phases of a problem.

    Parameters
    ----------
    student : int
        K, for masks of frozen units.
    names : sequence of str
        Tasks to sample from.
    before : str, optional
        Task that a consolidation protects; without it there is none.
    gradient_flow : bool, optional
        Fixed, or drawn.
    features : sequence of str
        Which of `FEATURES` may occur.
    duration : float
        Longest; rates of both layers stay below 1/2.
    """
    for feature in features:
        choice("features", feature, FEATURES)
    return _phases(student, tuple(names), before, gradient_flow, frozenset(features), duration)


def problems(
    activation: Any = "erf",
    student: Size = SIZES,
    teacher: Size = SIZES,
    *,
    kinds: Sequence[str] = KINDS,
    phases: Size = st.integers(1, 2),  # noqa: B008 - strategies are values
    tasks: Size = st.integers(1, 2),  # noqa: B008
    gradient_flow: bool | None = None,
    features: Sequence[str] = FEATURES,
    duration: float = 2.0,
) -> st.SearchStrategy[Problem]:
    """Whole problems, every one of which `odekit.solve` takes.

    Parameters
    ----------
    activation : str, Activation or strategy
        Of students and teachers.
    student, teacher, kinds
        As in `covariances`.
    phases, tasks : int or strategy
        How many; each task has a head.
    gradient_flow, features, duration
        As in `phases`.

    Returns
    -------
    strategy of Problem

    Examples
    --------
    >>> from hypothesis import find
    >>> find(problems(student=2), lambda p: len(p.phases) == 2).state.student
    2
    """
    for feature in features:
        choice("features", feature, FEATURES)
    chosen = activation if isinstance(activation, st.SearchStrategy) else st.just(activation)
    allowed = frozenset(features)

    @st.composite
    def build(draw: Draw) -> Problem:
        names = tuple("abcdefgh"[: draw(_as_strategy(tasks))])
        C, K = draw(_covariances(student, teacher, tuple(kinds)))
        parts: list[Phase] = []
        for _ in range(draw(_as_strategy(phases))):
            # Only a phase that trained one task says by itself what to protect.
            before = next(iter(parts[-1].mixture)) if parts else None
            parts.append(draw(_phases(K, names, before, gradient_flow, allowed, duration)))
        return Problem(
            state=OrderParameters(Q=C[:K, :K], R=C[:K, K:], T=C[K:, K:]),
            heads=draw(heads(K, names=names)),
            tasks=draw(_tasks(len(C) - K, names=names, noise="noise" in allowed)),
            phases=parts,
            activation=draw(chosen),
        )

    return build()


# ------------------------------------------------------------------------------------------ parts

_tasks = tasks


def _as_strategy(size: Size) -> st.SearchStrategy[int]:
    return st.just(size) if isinstance(size, int) else size


def _fractions(low: int, high: int) -> st.SearchStrategy[float]:
    """Multiples of 1/64."""
    return st.integers(low, high).map(lambda i: i / 64)


def _matrix(rows: int, columns: int) -> st.SearchStrategy[Floats]:
    row = st.lists(_fractions(-64, 64), min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows).map(
        lambda x: np.array(x, dtype=float).reshape(rows, columns)
    )


@st.composite
def _covariances(
    draw: Draw, student: Size, teacher: Size, kinds: tuple[str, ...]
) -> tuple[Floats, int]:
    """A joint covariance and K."""
    K, P = draw(_as_strategy(student)), draw(_as_strategy(teacher))
    kind = draw(st.sampled_from(kinds))
    if kind in ("specialised", "near_singular"):
        B = draw(_factor(P, P))
        W = np.array([draw(_unit(B)) for _ in range(K)])
        if kind == "near_singular":
            apart = draw(st.integers(-8, -4).map(lambda e: 10.0**e))
            W = np.hstack([W, apart * np.eye(K)])
            B = np.hstack([B, np.zeros((P, K))])
        vectors = np.vstack([W, B])
    else:
        n = K + P
        rank = draw(st.integers(1, n - 1)) if kind == "rank_deficient" else n
        vectors = draw(_factor(n, rank))
        if kind == "ill_scaled":
            scales = [10.0 ** -draw(st.integers(0, 6)) for _ in range(K)]
            vectors = np.concatenate([scales, np.ones(P)])[:, None] * vectors
    C = vectors @ vectors.T
    return 0.5 * (C + C.T), K


@st.composite
def _factor(draw: Draw, count: int, rank: int) -> Floats:
    """Vectors with entries in [−1, 1]: lower triangular, no pivot below 1/2, hence of full rank."""
    L: Floats = draw(_matrix(count, rank))
    for i in range(count):
        L[i, i % rank] = draw(_fractions(32, 96))
        if i < rank:
            L[i, i + 1 :] = 0.0
    return L


def _unit(B: Floats) -> st.SearchStrategy[Floats]:
    """A student's unit: a fixed vector or its negative."""
    return st.tuples(st.integers(0, len(B) - 1), st.sampled_from([1.0, -1.0])).map(
        lambda pick: pick[1] * B[pick[0]]
    )


@st.composite
def _phases(
    draw: Draw,
    K: int,
    names: tuple[str, ...],
    before: str | None,
    gradient_flow: bool | None,
    features: frozenset[str],
    duration: float,
) -> Phase:
    def has(feature: str) -> bool:
        return feature in features and draw(st.booleans())

    fields: dict[str, Any] = {"learning_rate": draw(_fractions(1, 31))}
    if has("both_layers"):
        fields["readout_learning_rate"] = draw(_fractions(1, 31))
    if has("decay"):
        fields["weight_decay"] = draw(_fractions(0, 16))
        fields["readout_weight_decay"] = draw(_fractions(0, 16))
    if has("batch"):
        fields["batch_size"] = draw(st.integers(1, 16))
    if has("frozen"):
        fields["frozen"] = draw(st.lists(st.booleans(), min_size=K, max_size=K))
    if before is not None and has("consolidation"):
        kind = draw(st.sampled_from(CONSOLIDATIONS))
        fields["consolidation"] = Consolidation(kind, draw(_fractions(0, 64)), before)
    flow = draw(st.booleans()) if gradient_flow is None else gradient_flow
    return Phase(
        tasks=_mixture(draw, names, "mixture" in features),
        duration=duration * draw(_fractions(1, 64)),
        gradient_flow=flow,
        **fields,
    )


def _mixture(draw: Draw, names: tuple[str, ...], mixed: bool) -> Any:
    if mixed and len(names) > 1 and draw(st.booleans()):
        parts = np.array([draw(st.integers(1, 8)) for _ in names], dtype=float)
        return dict(zip(names, (parts / parts.sum()).tolist(), strict=True))
    return draw(st.sampled_from(names))
