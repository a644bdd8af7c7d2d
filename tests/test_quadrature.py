"""Gaussian moments by quadrature, against closed forms, integrals and draws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import dblquad
from scipy.special import erf

import transcription
from odekit.systems.committee.activations import SMOOTH, Activation
from odekit.systems.committee.quadrature import Moments
from odekit.testing.moments import functions_of
from odekit_kernels.committee.quadrature import kinked

OWN_ERF = Activation(
    "own_erf", lambda x: erf(x / np.sqrt(2)), lambda x: np.sqrt(2 / np.pi) * np.exp(-x * x / 2)
)


def covariance(seed, D=4, rank=None):
    L = np.random.default_rng(seed).standard_normal((D, rank or D + 2))
    return L @ L.T / L.shape[1]


def quadruple(C, K, I4):
    """I4[k, l, a, b] for all k and l."""
    full = np.empty((K, K, *C.shape))
    for i, (k, l) in enumerate(zip(*np.triu_indices(K), strict=True)):
        full[k, l] = full[l, k] = I4[i]
    return full


def third(C, J2, G2):
    """I3[k, b, a] from what the quadrature gives."""
    K = len(J2)
    return C[:K, :, None] * G2[:, None, :] + C[None] * J2[:, None, :]


# --------------------------------------------------------------------- against closed forms of erf


@pytest.mark.parametrize("rank", [None, 2, 1])
@pytest.mark.parametrize("accuracy", [1e-4, 1e-8, 1e-11])
def test_erf_moments_reach_the_accuracy_that_was_asked_for(rank, accuracy):
    g = transcription.Erf()
    own = Activation("own", OWN_ERF.function, OWN_ERF.derivative, accuracy=accuracy)
    for seed in range(5):
        C, K = covariance(seed, rank=rank), 2
        fields = range(4)
        moments = Moments(own, diffusion=True)
        I2, J2, G2 = moments.second(C, K)
        I4 = quadruple(C, K, moments.fourth(C, K))
        pairs = {
            "I2": (I2, [[g.I2(C, k, a) for a in fields] for k in range(K)]),
            "J2": (J2, [[g.J2(C, k, a) for a in fields] for k in range(K)]),
            "I3": (
                third(C, J2, G2),
                [[[g.I3(C, k, b, a) for a in fields] for b in fields] for k in range(K)],
            ),
            "I4": (
                I4,
                [
                    [[[g.I4(C, k, l, a, b) for b in fields] for a in fields] for l in range(K)]
                    for k in range(K)
                ],
            ),
            "variance": (moments.variance(C), [[g.I2(C, a, b) for b in fields] for a in fields]),
        }
        for name, (found, wanted) in pairs.items():
            wanted = np.array(wanted)
            assert np.abs(found - wanted).max() < accuracy * np.abs(wanted).max(), name


@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-8, 1e-5])
def test_coinciding_and_nearly_coinciding_fields_are_no_special_case(apart):
    """A specialised student: C is singular, or all but."""
    g, rng = transcription.Erf(), np.random.default_rng(0)
    B = rng.standard_normal((2, 6)) / np.sqrt(6)
    W = B + apart * rng.standard_normal((2, 6))
    C = np.vstack([W, B]) @ np.vstack([W, B]).T
    I4 = quadruple(C, 2, Moments(OWN_ERF, diffusion=True).fourth(C, 2))
    wanted = [
        [[[g.I4(C, k, l, a, b) for b in range(4)] for a in range(4)] for l in range(2)]
        for k in range(2)
    ]
    # The closed form takes differences of products of four; near singular ones cost it digits.
    assert_allclose(I4, wanted, rtol=0, atol=1e-8)


# ------------------------------------------------------------------------ against integrals, draws


@pytest.mark.parametrize("name", SMOOTH)
def test_two_point_moments_against_adaptive_quadrature(name):
    g, dg = functions_of(name)
    C = np.array([[0.9, 0.4], [0.4, 1.2]])
    inverse, norm = np.linalg.inv(C), 1 / (2 * np.pi * np.sqrt(np.linalg.det(C)))

    def integral(f):
        def density(y, x):
            z = np.array([x, y])
            return norm * np.exp(-0.5 * z @ inverse @ z) * f(x, y)

        return dblquad(density, -8, 8, -8, 8, epsabs=1e-9, epsrel=1e-9)[0]

    I2, J2, G2 = Moments(Activation.shipped(name), diffusion=False).second(C, 1)
    found = [I2[0, 1], J2[0, 1], third(C, J2, G2)[0, 1, 1]]
    wanted = [
        integral(lambda x, y: g(x) * g(y)),
        integral(lambda x, y: dg(x) * dg(y)),
        integral(lambda x, y: dg(x) * y * g(y)),
    ]
    assert_allclose(found, wanted, atol=1e-8)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "leaky_relu"])
def test_four_point_moments_against_draws(name):
    """10⁶ draws of four fields of full rank: to five standard errors of each mean."""
    g, dg = functions_of(name)
    C = covariance(3)
    x = np.random.default_rng(1).standard_normal((1_000_000, 4)) @ np.linalg.cholesky(C).T
    f, d = g(x), dg(x[:, :2])
    moments = Moments(Activation.shipped(name), diffusion=True)
    I4 = quadruple(C, 2, moments.fourth(C, 2))
    for k, l, a, b in np.ndindex(2, 2, 4, 4):
        if k <= l and a <= b:
            samples = d[:, k] * d[:, l] * f[:, a] * f[:, b]
            error = samples.std() / np.sqrt(len(samples))
            assert abs(samples.mean() - I4[k, l, a, b]) < 5 * error + 1e-12


def test_relu_moments_are_the_closed_forms():
    g = transcription.ReLU()
    for seed in range(5):
        C = covariance(seed)
        I2, J2, G2 = kinked.second(C, 2, 0.0)
        assert_allclose(I2, [[g.I2(C, k, a) for a in range(4)] for k in range(2)], atol=1e-14)
        assert_allclose(J2, [[g.J2(C, k, a) for a in range(4)] for k in range(2)], atol=1e-14)
        wanted = [[[g.I3(C, k, b, a) for a in range(4)] for b in range(4)] for k in range(2)]
        assert_allclose(third(C, J2, G2), wanted, atol=1e-14)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5, 1.0, -1.0])
def test_kinked_fourth_moments_converge_in_few_nodes(slope):
    for seed in range(3):
        C = covariance(seed)
        assert_allclose(kinked.fourth(C, 2, slope, 32), kinked.fourth(C, 2, slope, 256), atol=1e-14)
    linear = kinked.fourth(C, 2, 1.0, 32)
    assert_allclose(linear, np.broadcast_to(C, linear.shape), atol=1e-14)


@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-7, 1e-5])
def test_kinked_fourth_moments_are_continuous_where_fields_coincide(apart):
    """By index (k = a), by value (student = teacher), with either sign, three and four at once."""
    rng = np.random.default_rng(2)
    B = rng.standard_normal((2, 6)) / np.sqrt(6)
    base = np.vstack([B[0], -B[0], B])
    W = base + apart * rng.standard_normal(base.shape)
    exact = np.vstack([B[0], -B[0], B])
    one, two = (kinked.fourth(V @ V.T, 2, 0.0, 64) for V in (W, exact))
    assert np.abs(one - two).max() < 1e-8 + 10 * apart
    # relu(x) relu(−x) = 0, and so is every product that holds both slopes.
    assert_allclose(two[1], 0.0, atol=1e-14)
    # E[g'(x)² g(x)²] = C/2.
    C = exact @ exact.T
    assert two[0][0, 0] == pytest.approx(C[0, 0] / 2, abs=1e-14)


@pytest.mark.parametrize("apart", [1e-9, 1e-7, 1e-6, 1e-5, 1e-4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_kinked_fourth_moments_are_continuous_at_every_rank(rank, apart):
    """Four fields in fewer dimensions, and all but so."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        V, d = np.zeros((4, 6)), rng.standard_normal((4, 6))
        V[:, :rank] = rng.standard_normal((4, rank))
        one, two = (kinked.fourth(W @ W.T, 2, 0.0, 64) for W in (V, V + apart * d))
        assert np.abs(one - two).max() < 1e-7 + 100 * apart * np.abs(one).max()


@pytest.mark.parametrize("apart", [1e-8, 1e-7, 1e-6, 2e-6, 3e-6, 5e-6, 1e-5])
def test_three_different_fields_may_be_close(apart):
    """Redundant students at their teacher: off by 5e-6 at most, and by no more than that."""
    rng = np.random.default_rng(5)
    for _ in range(10):
        b, d = rng.standard_normal((2, 6)), rng.standard_normal((4, 6))
        base = np.array([b[0], b[0], b[0], b[1]])

        def I4(apart, base=base, d=d):
            V = base + apart * d
            return kinked.fourth(V @ V.T, 2, 0.0, 64)[1, 2, 3]

        # Linear in the distance, to its square.
        slope = (I4(1e-4) - I4(0.0)) / 1e-4
        assert abs(I4(apart) - I4(0.0) - slope * apart) < 1e-5 * abs(I4(0.0))
