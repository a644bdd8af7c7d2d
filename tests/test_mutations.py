"""Wrong terms are caught by laws alone: no law here compares with another right-hand side.

Each mutant is the plain transcription of the equations with one term wrong. It passes as a user's
own equations do, as a function of labelled blocks.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np

from mutants import MUTANTS, transcription
from odekit.testing import (
    Blocks,
    assert_conserved,
    assert_error_nonincreasing,
    assert_fixed_point,
    assert_jacobian_matches,
    assert_moments_match,
    assert_permutation_equivariant,
    assert_positive_semidefinite,
    assert_rotation_invariant,
    assert_sign_equivariant,
)

ERF, LINEAR, RELU = 0, 1, 2
ETA_W, ETA_V = 0.3, 0.2


class Equations:
    """The right-hand side of one phase, and its error, from a module."""

    def __init__(
        self, module, *, K=2, activation=ERF, tasks=1, heads=1, eta=(ETA_W, ETA_V), **more
    ):
        self.module, self.eta = module, eta
        self.system = SimpleNamespace(
            activation=activation,
            sigma=np.zeros(tasks),
            p=np.array([0.7, 0.3])[:tasks] if tasks > 1 else np.ones(1),
            head=np.arange(tasks) % heads,
            move=np.ones(K),
            inverse_batch=0.0,
            kappa_w=0.0,
            kappa_v=0.0,
            F=np.zeros((0, K)),
            anchor=np.zeros((0, K), dtype=int),
            F_v=np.zeros((0, K)),
            v_anchor=np.zeros((0, K)),
            v_head=np.zeros(0, dtype=int),
        )
        vars(self.system).update(more)

    def at(self, T, u):
        return SimpleNamespace(**{**vars(self.system), "T": T, "u": np.atleast_2d(u)})

    def __call__(self, t, Q, R, T, v, u):
        m, K = self.module, len(Q)
        y = m.pack(Q, R, v)
        dQ, dR, dv = m.unpack(m.rhs(y, *self.eta, self.at(T, u)), K, len(T))
        return dQ, dR, dv.reshape(np.shape(v))

    def error(self, Q, R, T, v, u):
        m, s = self.module, self.system
        found = m.errors(m.pack(Q, R, v), s.activation, T, np.atleast_2d(u), s.head, len(Q))
        return s.p @ found


def point(seed, K=2, P=2, rank=None, heads=1, tasks=1, W=None):
    """Blocks of random vectors in `rank` dimensions."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((P, rank or K + P + 2))
    W = rng.standard_normal((K, B.shape[1])) if W is None else W(B)
    vectors = np.vstack([W, B]) / np.sqrt(B.shape[1])
    v, u = rng.uniform(-1, 1, (heads, K)), rng.uniform(-1, 1, (tasks, P))
    return Blocks.of(vectors @ vectors.T, K, v, u)


SEEDS = (0, 1)


def permutation(m):
    for seed in SEEDS:
        rhs = Equations(m, inverse_batch=1.0, kappa_w=0.1, sigma=np.array([0.4]))
        assert_permutation_equivariant(rhs, point(seed), order=[1, 0], vectors=[1, 0])
        assert_permutation_equivariant(rhs, point(seed), order=[1, 0])


def sign(m):
    rhs = Equations(m, inverse_batch=1.0, kappa_w=0.1)
    for seed in SEEDS:
        assert_sign_equivariant(rhs, point(seed), vectors=[1.0, -1.0])
        assert_sign_equivariant(rhs, point(seed))


def rotation(m):
    """Fixed vectors outside the task only look on."""
    at = point(3, K=3, P=3)
    at.u[:, 1:] = 0.0
    assert_rotation_invariant(Equations(m, K=3, inverse_batch=1.0, kappa_w=0.1), at)


def positive(m):
    """At singular covariances, with and without the η² line, with noise, decay and copies."""
    for seed in SEEDS:
        at = point(seed, rank=2)
        rhs = Equations(m, inverse_batch=1.0, sigma=np.array([0.4]))
        assert_positive_semidefinite(rhs, at, factor=1e4)
        assert_positive_semidefinite(Equations(m), at, factor=1e4)
        assert_positive_semidefinite(Equations(m, kappa_w=0.5), at, factor=1e4)
        held = {"F": np.array([[0.8, 0.5]]), "anchor": np.array([[0, 1]])}
        assert_positive_semidefinite(Equations(m, **held), at, factor=1e4)


def conservation(m):
    """Layers grow alike in gradient flow of homogeneous units."""

    def imbalance(Q, R, T, v):
        return Q / ETA_W - v.T @ v / ETA_V

    def of_units(Q, R, T, v):
        return np.diag(imbalance(Q, R, T, v))

    for seed in SEEDS:
        assert_conserved(Equations(m, activation=LINEAR), _at(imbalance), point(seed))
        assert_conserved(Equations(m, activation=RELU), _at(of_units), point(seed))
        two = Equations(m, activation=LINEAR, tasks=2, heads=2)
        assert_conserved(two, _at(imbalance), point(seed, heads=2, tasks=2))


def _at(quantity):
    """Quantities of Q, R, T and v at points that have u."""
    return lambda Q, R, T, v, *u: quantity(Q, R, T, v)


def frozen(m):
    """The overlaps of a frozen unit are conserved, under decay and consolidation too."""
    held = {"F": np.array([[0.8, 0.5]]), "anchor": np.array([[0, 1]])}
    rhs = Equations(m, move=np.array([0.0, 1.0]), inverse_batch=1.0, kappa_w=0.2, **held)

    def overlaps(Q, R, T, v):
        return np.append(R[0], Q[0, 0])

    for seed in SEEDS:
        assert_conserved(rhs, _at(overlaps), point(seed))


def direction(m):
    """Without readouts decay shortens units and turns none: R²/Q and Q_kl²/(Q_kk Q_ll) stay."""

    def cosines(Q, R, T, v):
        norms = np.diag(Q)
        return np.concatenate([(R**2 / norms[:, None]).ravel(), [Q[0, 1] ** 2 / norms.prod()]])

    for seed in SEEDS:
        at = point(seed)
        silent = at._replace(v=np.zeros_like(at.v))
        assert_conserved(Equations(m, kappa_w=0.2), _at(cosines), silent, rtol=1e-9)


def descent(m):
    for seed in SEEDS:
        assert_error_nonincreasing(Equations(m), point(seed))
        two = Equations(m, tasks=2, heads=2)
        assert_error_nonincreasing(two, point(seed, heads=2, tasks=2))


def fixed_point(m):
    for activation in (ERF, LINEAR, RELU):
        at = point(5, W=lambda B: B.copy())
        equal = at._replace(u=at.v.copy())
        assert_fixed_point(Equations(m, activation=activation), equal)
    # Held at its own copies, and by them alone.
    held = {
        "F": np.array([[0.8, 0.5]]),
        "anchor": np.array([[0, 1]]),
        "F_v": np.array([[0.4, 0.9]]),
        "v_anchor": at.v,
        "v_head": np.zeros(1, dtype=int),
    }
    assert_fixed_point(Equations(m, **held), equal)


def gradient(m):
    """The readouts' rate is the error's gradient: dv = −η_v ∂ε/∂v, in mixtures too."""
    for heads, tasks in ((1, 1), (2, 2)):
        rhs, at = Equations(m, heads=heads, tasks=tasks), point(7, heads=heads, tasks=tasks)

        def error(_t, v, rhs=rhs, at=at):
            return np.array([rhs.error(at.Q, at.R, at.T, v.reshape(at.v.shape), at.u)])

        def slope(t, v, rhs=rhs, at=at):
            _, _, dv = rhs(t, at.Q, at.R, at.T, v.reshape(at.v.shape), at.u)
            return -dv.reshape(1, -1) / ETA_V

        assert_jacobian_matches(error, slope, at.v.ravel())


def moments(m):
    g = m.ACTIVATIONS[ERF]
    assert_moments_match("erf", {name: getattr(g, name) for name in ("I2", "I3", "I4", "J2")})


def scaling(m):
    """Twice the rates and twice the batch are twice the flow."""
    for seed in SEEDS:
        noise = {"sigma": np.array([0.4])}
        one = Equations(m, inverse_batch=1.0, **noise)
        two = Equations(m, inverse_batch=0.5, eta=(2 * ETA_W, 2 * ETA_V), **noise)
        at = point(seed)

        def difference(t, *blocks, one=one, two=two):
            a, b = one(t, *blocks), two(t, *blocks)
            return [y - 2 * x for x, y in zip(a, b, strict=True)]

        assert_fixed_point(difference, at)


def noise(m):
    """Label noise does what a teacher's unit does that no student overlaps."""
    at, sigma = point(2, K=3, P=3), 0.4
    for block in (at.R, at.T, at.T.T):
        block[:, 2] = 0.0
    at.T[2, 2] = 1.0
    size = sigma / np.sqrt(2 / np.pi * np.arcsin(0.5))  # E[g²] of a unit of norm 1
    with_noise, with_unit = at.u.copy(), at.u.copy()
    with_noise[0, 2], with_unit[0, 2] = 0.0, size
    quiet = Equations(m, K=3, inverse_batch=1.0)
    noisy = Equations(m, K=3, inverse_batch=1.0, sigma=np.array([sigma]))

    def difference(t, *blocks):
        one, two = noisy(t, *blocks[:4], with_noise), quiet(t, *blocks[:4], with_unit)
        dQ, dR, dv = (y - x for x, y in zip(one, two, strict=True))
        # Unlike noise the unit can be learnt.
        return dQ, dR * [1.0, 1.0, 0.0], dv

    assert_fixed_point(difference, at)


LAWS = {
    "relabelling units": permutation,
    "turning units over": sign,
    "basis of onlookers": rotation,
    "positivity": positive,
    "conserved imbalance": conservation,
    "frozen overlaps": frozen,
    "decay turns nothing": direction,
    "descent": descent,
    "fixed points": fixed_point,
    "dv is a gradient": gradient,
    "moments": moments,
    "rate and batch": scaling,
    "noise as a teacher": noise,
}


def caught_by(module):
    """Names of the laws that a module breaks."""
    found = []
    for name, law in LAWS.items():
        try:
            law(module)
        except AssertionError:
            found.append(name)
    return found


def test_the_right_equations_obey_every_law():
    assert caught_by(transcription()) == []


def test_every_mutant_breaks_a_law(capsys):
    begin = time.process_time()
    table = {name: caught_by(transcription(name)) for name in MUTANTS}
    seconds = time.process_time() - begin
    width = max(map(len, table))
    with capsys.disabled():
        print(f"\n\n{'term changed':<{width}}  caught by")
        for name, laws in table.items():
            print(f"{name:<{width}}  {', '.join(laws) or '-'}")
    assert all(table.values()), [name for name, laws in table.items() if not laws]
    # Every law is needed or at least useful: none is blind.
    assert set(LAWS) == {law for laws in table.values() for law in laws}
    assert seconds < 60
