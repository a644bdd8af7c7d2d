"""Moments of fields with means against quadrature and Owen's T; lanes against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import erf, ndtr

import transcription
from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.committee import means, moments
from odekit_kernels.committee.activations import ERF, LINEAR, QUADRATURE, RELU
from odekit_kernels.committee.work import make_work
from odekit_kernels.lanes.values import get, put
from odekit_kernels.lanes.views import matrix, vector
from odekit_kernels.simd import WIDTH
from test_normal import both_below

EPS = np.finfo(float).eps
SIGN, HALF, STRAIGHT = 0.0, 2.0, means.STRAIGHT
OUTPUTS = [
    *("e2", "p2", "d2", "F02", "J02", "D02", "F01", "J01", "D01", "F00", "J00", "D00"),
    *("I23", "I02", "I00", "I01", "T012", "T002", "T010"),
    *("Q0123", "Q0023", "Q0102", "Q0000", "W01", "W00", "label", "sign"),
]
FIRST = 20


@kernel(_nrt=False)
def everything(x, activation, s, s_a, s_b):
    """All moments of four fields k, l, a, b: 4 means, 16 covariances, then what is computed."""
    M, C = vector(x, 0, 4), matrix(x, 4, 4, 4)
    e, p, d = means.alone(activation, M[2], C[2, 2], s_a)
    put(x, FIRST, e)
    put(x, FIRST + 1, p)
    put(x, FIRST + 2, d)
    for i in range(3):
        other = 2 - i
        width = s_a if other == 2 else s
        F, J2, D = means.pair(
            activation, M[0], M[other], C[0, 0], C[other, other], C[0, other], s, width
        )
        put(x, FIRST + 3 + 3 * i, F)
        put(x, FIRST + 4 + 3 * i, J2)
        put(x, FIRST + 5 + 3 * i, D)
    at = FIRST + 12
    put(x, at, means.product(activation, M[2], M[3], C[2, 2], C[3, 3], C[2, 3], s_a, s_b))
    put(x, at + 1, means.product(activation, M[0], M[2], C[0, 0], C[2, 2], C[0, 2], s, s_a))
    put(x, at + 2, means.product(activation, M[0], M[0], C[0, 0], C[0, 0], C[0, 0], s, s))
    put(x, at + 3, means.product(activation, M[0], M[1], C[0, 0], C[1, 1], C[0, 1], s, s))
    w = means.tilt(activation, M[0], M[1], C[0, 0], C[1, 1], C[0, 1], s, False)
    v = means.tilt(activation, M[0], M[0], C[0, 0], C[0, 0], C[0, 0], s, True)
    at += 4
    put(x, at, means.third(activation, M[2], C[2, 2], C[0, 2], C[1, 2], s_a, w))
    put(x, at + 1, means.third(activation, M[2], C[2, 2], C[0, 2], C[0, 2], s_a, v))
    put(x, at + 2, means.third(activation, M[0], C[0, 0], C[0, 0], C[1, 0], s, w))
    at += 3
    for i in range(4):
        k, l, a, b = 0, 1 if i % 2 == 0 else 0, 2, 3
        if i == 2:
            a, b = 0, 2
        if i == 3:
            a, b = 0, 0
        tilt = w if i % 2 == 0 else v
        width_a, width_b = s_a if a == 2 else s, s_b if b == 3 else s_a if b == 2 else s
        found = means.fourth(
            activation, M[a], M[b], C[a, a], C[b, b], C[a, b],
            C[k, a], C[l, a], C[k, b], C[l, b], width_a, width_b, tilt,
        )  # fmt: skip
        put(x, at + i, found)
    put(x, at + 4, w.J2)
    put(x, at + 5, v.J2)
    put(x, at + 6, means.wrong_label(get(x, 0) * 0.0 + 1.0, M[0], C[0, 0]))
    put(x, at + 7, means.wrong_sign(M[0], M[2], C[0, 0], C[2, 2], C[0, 2]))


def computed(M, C, activation, s=1.0, s_a=1.0, s_b=1.0):
    x = np.concatenate([M, np.ravel(C), np.zeros(len(OUTPUTS))])
    everything(x, activation, s, s_a, s_b)
    return dict(zip(OUTPUTS, x[FIRST:], strict=True))


def fields(rng, largest=1.0, mean=0.7):
    """Means and covariance of four fields, variances up to `largest`."""
    A = rng.normal(size=(4, 6))
    C = A @ A.T
    size = np.sqrt(rng.uniform(0.3, largest, 4) / np.diag(C))
    return mean * rng.normal(size=4), C * np.outer(size, size)


# ------------------------------------------------------------------------------- against quadrature


def hermite(count, dim):
    z, w = np.polynomial.hermite_e.hermegauss(count)
    grid = np.stack(np.meshgrid(*[z] * dim, indexing="ij")).reshape(dim, -1)
    weight = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * dim, indexing="ij")), axis=0)
    return grid, weight.ravel()


def bent(s):
    """g, g' and g'' of erf(x/√(2s)), or of the identity."""
    if s == STRAIGHT:
        return lambda x: x, lambda x: 1 + 0 * x, lambda x: 0 * x

    def slope(x):
        return np.sqrt(2 / np.pi / s) * np.exp(-(x**2) / 2 / s)

    return lambda x: erf(x / np.sqrt(2 * s)), slope, lambda x: -x / s * slope(x)


def by_hermite(M, C, s, s_a, s_b, count):
    """All moments on one grid of four dimensions."""
    grid, w = hermite(count, 4)
    x = M[:, None] + np.linalg.cholesky(C) @ grid
    (g, p, d), (ga, pa, da), (gb, _, _) = bent(s), bent(s_a), bent(s_b)
    g0, g1, p0, p1, d0 = g(x[0]), g(x[1]), p(x[0]), p(x[1]), d(x[0])
    a, b, slope_a = ga(x[2]), gb(x[3]), pa(x[2])
    found = {
        "e2": a, "p2": slope_a, "d2": da(x[2]),
        "F02": p0 * a, "J02": p0 * slope_a, "D02": d0 * a,
        "F01": p0 * g1, "J01": p0 * p1, "D01": d0 * g1,
        "F00": p0 * g0, "J00": p0 * p0, "D00": d0 * g0,
        "I23": a * b, "I02": g0 * a, "I00": g0 * g0, "I01": g0 * g1,
        "T012": p0 * p1 * a, "T002": p0 * p0 * a, "T010": p0 * p1 * g0,
        "Q0123": p0 * p1 * a * b, "Q0023": p0 * p0 * a * b, "Q0102": p0 * p1 * g0 * a,
        "Q0000": p0 * p0 * g0 * g0, "W01": p0 * p1, "W00": p0 * p0,
    }  # fmt: skip
    return {name: float(value @ w) for name, value in found.items()}


def agree(found, expected, atol):
    off = {name: abs(found[name] - value) for name, value in expected.items()}
    assert max(off.values()) < atol, sorted(off.items(), key=lambda item: -item[1])[:5]


# Gauss and Hermite's own error with so many nodes, at variances up to 0.5, is below the bounds.
@pytest.mark.parametrize(
    ("activation", "s", "s_a", "s_b"),
    [
        (ERF, 1.0, 1.0, 1.0),
        (ERF, 1.0, HALF, 1.0),
        (LINEAR, STRAIGHT, STRAIGHT, STRAIGHT),
        (LINEAR, STRAIGHT, 1.0, HALF),
        (LINEAR, STRAIGHT, STRAIGHT, 1.0),
    ],
)
def test_closed_moments_against_gauss_and_hermite(activation, s, s_a, s_b):
    for seed in range(2):
        M, C = fields(np.random.default_rng(seed), largest=0.5)
        expected = by_hermite(M, C, s, s_a, s_b, 28)
        # Four functions of one field are the hardest, and need but one dimension.
        (z,), w = hermite(150, 1)
        g, slope, _ = bent(s)
        x = M[0] + np.sqrt(C[0, 0]) * z
        expected["Q0000"] = float((slope(x) * g(x)) ** 2 @ w)
        agree(computed(M, C, activation, s, s_a, s_b), expected, 1e-13)


def test_sign_teachers_against_quadrature_over_the_student_alone():
    """Given the student's fields, signs are Φ and products of signs are Φ₂ by Owen's T."""
    for seed in range(3):
        M, C = fields(np.random.default_rng(10 + seed), largest=0.5)
        z, w = hermite(48, 2)
        x = M[:2, None] + np.linalg.cholesky(C[:2, :2]) @ z
        load = np.linalg.solve(C[:2, :2], C[:2, 2:]).T
        rest = C[2:, 2:] - load @ C[:2, 2:]
        h = (M[2:, None] + load @ (x - M[:2, None])) / np.sqrt(np.diag(rest))[:, None]
        r = rest[0, 1] / np.sqrt(rest[0, 0] * rest[1, 1])
        a = 2 * ndtr(h[0]) - 1
        ab = 4 * both_below(h[0], h[1], r) - 2 * ndtr(h[0]) - 2 * ndtr(h[1]) + 1
        at = 2 * np.exp(-(h[0] ** 2) / 2) / np.sqrt(2 * np.pi * rest[0, 0])
        g, slope, curve = bent(1.0)
        g0, p0, p1 = g(x[0]), slope(x[0]), slope(x[1])
        expected = {
            "e2": a, "p2": at, "F02": p0 * a, "J02": p0 * at, "D02": curve(x[0]) * a,
            "I23": ab, "I02": g0 * a, "T012": p0 * p1 * a, "T002": p0 * p0 * a,
            "Q0123": p0 * p1 * ab, "Q0023": p0 * p0 * ab, "Q0102": p0 * p1 * g0 * a,
        }  # fmt: skip
        expected = {name: float(value @ w) for name, value in expected.items()}
        agree(computed(M, C, ERF, 1.0, SIGN, SIGN), expected, 1e-13)
        wrong = ndtr(M[0] / np.sqrt(C[0, 0]))
        found = computed(M, C, ERF, 1.0, SIGN, SIGN)
        assert found["label"] == pytest.approx(1 - wrong, abs=4 * EPS)


def test_linear_units_with_sign_teachers():
    M, C = fields(np.random.default_rng(5))
    found = computed(M, C, LINEAR, STRAIGHT, SIGN, SIGN)
    h = M[2] / np.sqrt(C[2, 2])
    e, p = 2 * ndtr(h) - 1, np.sqrt(2 / np.pi / C[2, 2]) * np.exp(-(h**2) / 2)
    assert_allclose(found["I02"], C[0, 2] * p + M[0] * e, rtol=0, atol=4 * EPS)
    assert_allclose([found["F02"], found["J02"]], [e, p], rtol=0, atol=4 * EPS)
    assert found["D02"] == 0.0
    assert found["Q0123"] == found["I23"]
    assert found["T012"] == found["e2"]


def panels(count=16, nodes=24, reach=10.0):
    """Gauss and Legendre's on [0, reach], finer near 0."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    ends = reach * (np.arange(count + 1) / count) ** 2
    step = np.diff(ends)[:, None]
    return (ends[:-1, None] + 0.5 * step * (x + 1)).ravel(), (0.5 * step * w).ravel()


def density(x, m, v):
    return np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)


def rectified_pair(M, C):
    """F, J2, D and I2 of two rectified fields on the quadrant where both are positive."""
    x, w = panels()
    given = M[1] + C[0, 1] / C[0, 0] * (x - M[0])
    rest = C[1, 1] - C[0, 1] ** 2 / C[0, 0]
    joint = density(x, M[0], C[0, 0])[:, None] * density(x[None, :], given[:, None], rest)
    at_zero = density(0.0, M[0], C[0, 0]) * density(x, M[1] - C[0, 1] / C[0, 0] * M[0], rest)
    return {
        "F": w @ joint @ (w * x),
        "J": w @ joint @ w,
        "D": at_zero @ (w * x),
        "I": (w * x) @ joint @ (w * x),
    }


def test_rectified_fields_against_quadrature_split_at_the_kinks():
    for seed in range(4):
        M, C = fields(np.random.default_rng(20 + seed))
        found = computed(M, C, RELU)
        for name, pair in (("02", [0, 2]), ("01", [0, 1])):
            expected = rectified_pair(M[pair], C[np.ix_(pair, pair)])
            agree(found, {key + name: value for key, value in expected.items()}, 1e-13)
        x, w = panels()
        f = density(x, M[2], C[2, 2]) * w
        h = M[0] / np.sqrt(C[0, 0])
        expected = {
            "e2": f @ x, "p2": f.sum(), "d2": density(0.0, M[2], C[2, 2]),
            "F00": density(x, M[0], C[0, 0]) @ (w * x), "J00": ndtr(h), "D00": 0.0,
            "I00": density(x, M[0], C[0, 0]) @ (w * x * x),
        }  # fmt: skip
        agree(found, expected, 1e-14)
        assert np.isnan(found["Q0123"])
        assert np.isnan(found["T012"])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-8, 1e-4])
def test_rectified_fields_that_all_but_coincide(apart, sign):
    """x_a = sign 1.3 x_k and a little of a third variable: to first order nothing changes in F."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        m, v = rng.normal(), rng.uniform(0.3, 2.0)
        scale = sign * 1.3
        M = np.array([m, 0.0, scale * m, 0.0])
        C = np.diag([v, 1.0, scale**2 * v + apart**2, 1.0])
        C[0, 2] = C[2, 0] = scale * v
        found = computed(M, C, RELU)
        h = m / np.sqrt(v)
        e = m * ndtr(h) + np.sqrt(v / 2 / np.pi) * np.exp(-(h**2) / 2)
        square = (m * m + v) * ndtr(h) + m * np.sqrt(v / 2 / np.pi) * np.exp(-(h**2) / 2)
        expected = {"F02": 1.3 * e, "J02": ndtr(h), "I02": 1.3 * square}
        if sign < 0:
            expected = dict.fromkeys(expected, 0.0)
        agree(found, {name: expected[name] for name in ("F02", "I02")}, 2 * apart**2 + 30 * EPS)
        # Rounding of C is of the order EPS: √EPS in the sine of the angle between the two.
        agree(found, {"J02": expected["J02"]}, apart + 4e-8)


# ------------------------------------------------------------------ derivatives, limits, the errors


@pytest.mark.parametrize(
    ("activation", "s", "s_a"),
    [(ERF, 1.0, 1.0), (ERF, 1.0, SIGN), (LINEAR, STRAIGHT, SIGN), (RELU, 1.0, 1.0)],
)
def test_derivatives_of_the_second_moments_are_moments(activation, s, s_a):
    """Price: by C_ab J2, by M_a F and by C_aa half of D. Steps of 1e-5: 1e-10, rounding 1e-11."""
    M, C = fields(np.random.default_rng(7))
    step = 1e-5

    def change(i, j=None):
        values = []
        for sign in (1, -1):
            m, c = M.copy(), C.copy()
            if j is None:
                m[i] += sign * step
            else:
                c[i, j] += sign * step
                c[j, i] = c[i, j]
            values.append(computed(m, c, activation, s, s_a, s_a)["I02"])
        return (values[0] - values[1]) / (2 * step)

    found = computed(M, C, activation, s, s_a, s_a)
    assert_allclose(
        [change(0, 2), change(0), change(0, 0)],
        [found["J02"], found["F02"], 0.5 * found["D02"]],
        rtol=0,
        atol=1e-9,
    )


@kernel(_nrt=False)
def second_today(activation, work, K):
    moments.second(activation, work, K, K)


CODE = {
    ERF: transcription.Erf, LINEAR: transcription.Linear, RELU: transcription.ReLU
}  # fmt: skip


@pytest.mark.parametrize("activation", [ERF, LINEAR, RELU])
def test_without_means_they_are_those_of_today(activation):
    s = STRAIGHT if activation == LINEAR else 1.0
    for seed in range(5):
        _, C = fields(np.random.default_rng(30 + seed), largest=3.0)
        found = computed(np.zeros(4), C, activation, s, s, s)
        work = make_work(2, 2, 1, 1)
        work.C[:4, :4], work.diag[:4] = C, np.diagonal(C)
        second_today(activation, work, 4)
        names = {"I23": (2, 3), "I02": (0, 2), "I00": (0, 0), "I01": (0, 1)}
        agree(found, {name: work.I2[at] for name, at in names.items()}, 8 * EPS)
        g = CODE[activation]()
        third = C[0, 1] * found["D02"] + C[1, 2] * found["J02"]
        assert_allclose(third, g.I3(C, 0, 1, 2), rtol=0, atol=8 * EPS)
        if activation != RELU:
            assert [found[name] for name in ("F02", "T012", "e2")] == [0.0, 0.0, 0.0]
            fourth = {"Q0123": (0, 1, 2, 3), "Q0023": (0, 0, 2, 3), "Q0102": (0, 1, 0, 2)}
            expected = {name: g.I4(C, *at) for name, at in fourth.items()}
            agree(found, {**expected, "W01": g.J2(C, 0, 1)}, 8 * EPS)
        r = C[0, 2] / np.sqrt(C[0, 0] * C[2, 2])
        assert found["sign"] == pytest.approx(np.arccos(r) / np.pi, abs=4 * EPS)


def test_how_often_signs_differ_by_owens_t():
    for seed in range(20):
        M, C = fields(np.random.default_rng(50 + seed))
        found = computed(M, C, ERF, 1.0, SIGN, SIGN)["sign"]
        h, k = M[0] / np.sqrt(C[0, 0]), M[2] / np.sqrt(C[2, 2])
        r = C[0, 2] / np.sqrt(C[0, 0] * C[2, 2])
        expected = both_below(h, -k, -r) + both_below(-h, k, -r)
        assert found == pytest.approx(expected, abs=20 * EPS)


def test_other_activations_have_none():
    M, C = fields(np.random.default_rng(0))
    found = computed(M, C, QUADRATURE)
    known = {"label", "sign"}
    assert all(np.isnan(value) for name, value in found.items() if name not in known)


@pytest.mark.parametrize("activation", [ERF, LINEAR, RELU])
def test_trial_stages_beyond_covariances_get_numbers(activation):
    s = STRAIGHT if activation == LINEAR else 1.0
    M, C = fields(np.random.default_rng(1))
    C[0, 0], C[2, 2], C[0, 1] = -3.0, 0.0, 4.0
    found = computed(M, C, activation, s, s, s)
    for name, value in found.items():
        closed = activation != RELU or name[0] not in "TQW"
        assert np.isfinite(value) or not closed, name


# -------------------------------------------------------------------------------- lanes and devices


@settings(max_examples=2 if NO_JIT else 25)
@given(st.integers(0, 2**32 - 1))
def test_lanes_have_the_bits_of_one(seed):
    """Whatever the neighbours' correlations: close to 1 in some lanes, small in others."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(WIDTH):
        M, C = fields(rng, largest=4.0)
        if rng.random() < 0.4:
            mix = rng.uniform(0.0, 0.4)
            C = mix * C + (1 - mix) * np.outer(*[np.sqrt(np.diagonal(C))] * 2)
        cases.append(np.concatenate([M, C.ravel(), np.zeros(len(OUTPUTS))]))
    for activation, s, s_a in ((ERF, 1.0, SIGN), (LINEAR, STRAIGHT, 1.0), (RELU, 1.0, 1.0)):
        x = np.array(cases).T.copy()
        everything(x, activation, s, s_a, 1.0)
        for lane, case in enumerate(cases):
            one = case.copy()
            everything(one, activation, s, s_a, 1.0)
            # The compiler may contract a b + c d in either order: an ulp, and what it grows to.
            assert_allclose(x[FIRST:, lane], one[FIRST:], rtol=64 * EPS, atol=64 * EPS)


def on_device(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_simulated_device_computes_the_same():
    found = on_device(
        """
import json
import numpy as np
from numba import cuda
import test_moments_means as t

@cuda.jit
def launch(x, activation, s, s_a, s_b):
    t.everything(x[cuda.grid(1)], activation, s, s_a, s_b)

off = 0.0
for activation, s, s_a in ((t.ERF, 1.0, 0.0), (t.LINEAR, t.STRAIGHT, 1.0), (t.RELU, 1.0, 1.0)):
    x = np.array([np.concatenate([M, C.ravel(), np.zeros(len(t.OUTPUTS))])
                  for M, C in (t.fields(np.random.default_rng(seed)) for seed in range(4))])
    own = x.copy()
    launch[2, 2](x, activation, s, s_a, 1.0)
    for row in own:
        t.everything(row, activation, s, s_a, 1.0)
    off = max(off, 0.0 if np.array_equal(x, own, equal_nan=True) else 1.0)
print(json.dumps(off))
""",
        NUMBA_ENABLE_CUDASIM="1",
        NUMBA_DISABLE_JIT="1",
    )
    assert found == 0.0


def test_a_real_device_has_a_program_of_it():
    found = on_device(
        """
import json, sys
from types import SimpleNamespace
from numba import cuda, float64, int64, types
import test_moments_means as t

# Device functions ask for the device that they are compiled for.
dispatcher = sys.modules[cuda.dispatcher.__name__]
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))

def launch(x, activation, s, s_a, s_b):
    t.everything(x[cuda.grid(1)], activation, s, s_a, s_b)

signature = types.void(float64[:, ::1], int64, float64, float64, float64)
try:
    ptx, _ = cuda.compile_ptx(launch, signature, cc=(9, 0))
    print(json.dumps({"entries": ptx.count(".visible .entry"), "missing": ""}))
except (OSError, RuntimeError) as error:
    if "libnvvm" not in str(error).lower() and "NvvmSupportError" not in repr(error):
        raise
    print(json.dumps({"missing": repr(error)}))
""",
        NUMBA_DISABLE_JIT="0",
    )
    if found["missing"]:
        pytest.skip(f"no CUDA compiler here: {found['missing'][:80]}")
    assert found["entries"] == 1
