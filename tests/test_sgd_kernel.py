"""The compiled steps of SGD against the same steps in NumPy, on the same random numbers."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special, stats

from odekit.systems.committee.activations import SMOOTH, Activation
from odekit.systems.committee.trainer import trainer
from odekit.testing.moments import functions_of
from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.committee.sgd import steps as sgd_kernel
from odekit_kernels.committee.sgd import units
from odekit_kernels.committee.sgd.memory import Rule, make_memory, padded
from odekit_kernels.committee.sgd.passes import overlaps
from odekit_kernels.committee.sgd.stream import normals, streams
from sgd_transcription import Stream, sgd

ROUNDING = 1e-12
"""Each step of some hundreds rounds in another order."""

NAMED = {
    "erf": (lambda z: special.erf(z / 2**0.5), lambda z: np.sqrt(2 / np.pi) * np.exp(-z * z / 2)),
    "linear": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
    **{name: functions_of(name) for name in (*SMOOTH, "leaky_relu")},
}


def words(seed=0):
    return streams(np.random.SeedSequence(seed).generate_state(4, np.uint64))


def drawn(count, seed=0):
    x = np.zeros(count)
    normals(words(seed)[0], x, 0, count)
    return x


# --------------------------------------------------------------------------------------- variates


def test_normal_variates_are_those_of_box_and_muller():
    np.testing.assert_allclose(drawn(512), Stream(words()[0]).normals(512), rtol=0, atol=4e-15)


def test_a_stream_goes_on_where_it_stopped():
    stream, x = words()[0], np.zeros(128)
    normals(stream, x, 0, 64)
    normals(stream, x, 64, 64)
    again = Stream(words()[0])
    np.testing.assert_allclose(x, [*again.normals(64), *again.normals(64)], rtol=0, atol=4e-15)


def test_variates_are_standard_normal():
    x = drawn(1_000_000)
    assert stats.kstest(x, "norm").pvalue > 1e-3
    for power, mean in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        spread = (x**power).std() / 1e3
        assert abs((x**power).mean() - mean) < 4 * spread, power


def test_variates_do_not_depend_on_each_other():
    """Neighbours, halves of a block, squares, and streams of different seeds."""
    x, y = drawn(1_000_000), drawn(1_000_000, seed=1)
    half = x.size // 2
    pairs = [(x[1:], x[:-1]), (x[:half], x[half:]), (x, y), (x[1:], y[:-1])]
    for a, b in pairs:
        for power in (1, 2):
            assert abs(np.corrcoef(a**power, b**power)[0, 1]) < 4 / np.sqrt(a.size)


def test_tails_are_there():
    x = np.abs(np.concatenate([drawn(4_000_000, seed) for seed in range(3)]))
    for level in (3.0, 4.0, 5.0):
        expected = 2 * stats.norm.sf(level) * x.size
        assert abs((x > level).sum() - expected) < 4 * np.sqrt(expected)


# ------------------------------------------------------------------------------------------- steps


def network(N=300, K=3, P=4, H=2, batch=1, seed=0):
    rng = np.random.default_rng(seed)
    W, B, v = rng.normal(size=(K, N)), rng.normal(size=(P, N)), rng.normal(size=(H, K))
    plain = SimpleNamespace(
        batch=batch,
        p=np.array([0.5, 0.3, 0.2]),
        sigma=np.array([0.3, 0.0, 0.5]),
        u=rng.normal(size=(3, P)) * (rng.random((3, P)) < 0.6),
        head=np.array([0, 1, 0]),
        move=np.ones(K),
        kappa_w=0.0,
        kappa_v=0.0,
        held=[],
        held_heads=[],
        inputs=None,
        labels=None,
        first=np.zeros(3, dtype=int),
        count=np.ones(3, dtype=int),
    )
    return W, B, v, plain


def compiled_rule(N, B, H, K, plain):
    """The same rule as the kernel takes it."""
    L = padded(B).shape[1]
    F, Fa = np.zeros((K, L)), np.zeros((K, L))
    for importance, copy in plain.held:
        F[:, :N] += importance
        Fa[:, :N] += importance * copy
    F_v, Fv = np.zeros((H, K)), np.zeros((H, K))
    for h, importance, copy in plain.held_heads:
        F_v[h] += importance
        Fv[h] += importance * copy
    labelled = plain.labels is not None
    return Rule(
        N=N,
        B=padded(B)[: 0 if labelled else len(B)],
        u=plain.u[:, : 0 if labelled else len(B)].copy(),
        sigma=plain.sigma,
        p=plain.p,
        head=plain.head,
        move=plain.move,
        kappa_w=plain.kappa_w,
        kappa_v=plain.kappa_v,
        F=F if plain.held else F[:0],
        Fa=Fa if plain.held else F[:0],
        F_v=F_v,
        Fv=Fv,
        inputs=np.zeros((0, L)) if plain.inputs is None else padded(plain.inputs),
        labels=plain.labels if labelled else np.zeros((3, 0)),
        first=plain.first,
        size=plain.count,
    )


def both(steps, parts, activation="erf", eta_w=0.9, eta_v=0.7, split=None):
    """Weights of the compiled and of the transcribed SGD; in two calls if `split`."""
    W, B, v, plain = parts
    N = W.shape[1]
    eta_w, eta_v = (np.full(steps, float(e)) if np.isscalar(e) else e for e in (eta_w, eta_v))
    named = isinstance(activation, str)
    g, dg = NAMED[activation] if named else (activation.function, activation.derivative)
    expected = sgd(steps, W, v, B, words(), g, dg, eta_w, eta_v, plain)
    t = trainer(activation)
    rule = compiled_rule(N, B, len(v), len(W), plain)
    memory = make_memory(padded(W), v.copy(), words(), plain.batch, rule)
    for part in np.split(np.arange(steps), [split] if split else []):
        t.train(len(part), eta_w[part], eta_v[part], t.g, t.dg, rule, memory)
    assert not memory.W[:, N:].any()
    return (memory.W[:, :N], memory.v), expected


def agree(*args, **kwargs):
    found, expected = both(*args, **kwargs)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.abs(b).max())
    return found


@pytest.mark.parametrize("activation", NAMED)
def test_a_mixture_of_noisy_tasks(activation):
    # The quadratic unit would diverge.
    agree(200, network(), activation, eta_w=0.05, eta_v=0.03)


@kernel
def compiled_value(g, z):
    return units.value(g, z)


@kernel
def compiled_slope(dg, z):
    return units.slope(dg, z)


@pytest.mark.parametrize("name", [*SMOOTH, "leaky_relu"])
def test_shipped_activations_take_the_compiled_loop_that_is_there(name):
    """No loop is compiled for them alone, and none is in NumPy."""
    assert trainer(name).train is sgd_kernel.train
    z = np.array([-40.0, -8.0, -1.3, -1e-9, 0.0, 0.4, 2.1, 30.0])
    t = trainer(name)
    g, dg = NAMED[name]
    np.testing.assert_allclose([compiled_value(t.g, x) for x in z], g(z), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose([compiled_slope(t.dg, x) for x in z], dg(z), rtol=1e-12, atol=1e-300)


def test_a_slope_of_ones_own():
    leaky = Activation.shipped("leaky_relu", slope=0.3)
    assert trainer(leaky).train is sgd_kernel.train
    agree(100, network(), leaky)


def test_loops_around_ones_own_functions_are_compiled_once():
    tanh = user(lambda z: np.tanh(z), lambda z: 1.0 - np.tanh(z) ** 2)
    assert trainer(tanh).train is trainer(tanh).train


@pytest.mark.parametrize("N", [1, 31, 32, 512, 513, 1100])
def test_any_dimension(N):
    agree(30, network(N=N))


def test_decay_batches_frozen_units_and_penalties():
    W, B, v, plain = network(batch=3)
    rng = np.random.default_rng(1)
    plain.kappa_w, plain.kappa_v = 0.4, 0.3
    plain.move = np.array([1.0, 0.0, 1.0])
    plain.held = [(rng.random(W.shape), rng.normal(size=W.shape)) for _ in range(2)]
    plain.held_heads = [(h, rng.random(3), rng.normal(size=3)) for h in (0, 1, 0)]
    found = agree(150, (W, B, v, plain))
    np.testing.assert_array_equal(found[0][1], W[1])


def test_learning_rates_of_every_step():
    rates = np.linspace(1.0, 0.0, 50), np.linspace(0.0, 2.0, 50)
    agree(50, network(), eta_w=rates[0], eta_v=rates[1])


def test_calls_may_be_split_anywhere():
    parts = network(batch=2)
    whole, _ = both(60, parts)
    split, _ = both(60, parts, split=23)
    for a, b in zip(whole, split, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("labelled", [False, True])
def test_given_inputs_and_labels(labelled):
    W, B, v, plain = network(N=45)
    rng = np.random.default_rng(2)
    plain.inputs = rng.uniform(-1, 1, (40, 45))
    plain.first, plain.count = np.array([0, 10, 25]), np.array([10, 15, 15])
    plain.labels = rng.normal(size=(3, 40)) if labelled else None
    agree(120, (W, B, v, plain))


def user(function, derivative):
    return SimpleNamespace(function=function, derivative=derivative)


def test_a_function_that_compiles():
    tanh = user(lambda z: np.tanh(z), lambda z: 1.0 - np.tanh(z) ** 2)
    assert trainer(tanh).value is tanh.function
    assert "plain" not in trainer(tanh).train.__name__
    agree(100, network(batch=2), tanh)


@pytest.mark.parametrize("g", [np.tanh, lambda z: np.asarray(np.tanh(z))])
def test_ufuncs_and_functions_that_return_arrays_compile(g):
    parts = user(g, lambda z: np.asarray(1.0 / np.cosh(z) ** 2))
    assert "plain" not in trainer(parts).train.__name__
    agree(50, network(), parts)


NOT_COMPILED = pytest.mark.filterwarnings("ignore:numba cannot compile")


def hidden_erf(z):
    """Numba does not compile imports."""
    from scipy.special import erf

    return erf(z / 2**0.5)


@pytest.mark.skipif(NO_JIT, reason="nothing is compiled")
@pytest.mark.parametrize("g", [special.expit, lambda z: z * special.ndtr(z)])
def test_functions_of_scipy_compile(g):
    parts = user(g, lambda z: 1.0 + 0 * z)
    assert "plain" not in trainer(parts).train.__name__
    assert trainer(parts).g(0.3) == g(0.3)


def test_imports_inside_a_function_do_not_compile():
    def gelu(z):
        from scipy.special import ndtr

        return z * ndtr(z)

    said = contextlib.nullcontext() if NO_JIT else pytest.warns(UserWarning, match="every step")
    with said:
        found = trainer(user(gelu, lambda z: 1.0 + 0 * z))
    assert "plain" in found.train.__name__


@NOT_COMPILED
def test_functions_that_differ_compiled_are_not():
    """Of an integer and of an array numba makes something else: it is not used."""
    odd = user(lambda z: np.round(z) if isinstance(z, float) else 1.0 * z, lambda z: 1.0 + 0 * z)
    assert "plain" in trainer(odd).train.__name__


@NOT_COMPILED
def test_a_function_that_does_not_compile():
    """The response of the units is then in NumPy."""
    W, B, v, plain = network(batch=3)
    plain.kappa_w, plain.kappa_v = 0.4, 0.3
    plain.held_heads = [(1, np.ones(3), np.zeros(3))]
    slow = user(hidden_erf, NAMED["erf"][1])
    assert "plain" in trainer(slow).train.__name__
    agree(100, (W, B, v, plain), slow)


# ------------------------------------------------------------------------------------ measurements


def test_overlaps():
    W, B, _, _ = network(N=77)
    out = np.empty((3, 4))
    overlaps(padded(W), padded(B), 77, out)
    np.testing.assert_allclose(out, W @ B.T / 77, rtol=0, atol=1e-14)


@NOT_COMPILED
@pytest.mark.parametrize(
    "activation", ["erf", user(hidden_erf, NAMED["erf"][1])], ids=["compiled", "plain"]
)
def test_diagonal_fisher_information(activation):
    W, B, v, plain = network(N=40)
    t = trainer(activation)
    plain.p, plain.sigma, plain.u = plain.p[:1] / plain.p[0], np.zeros(1), plain.u[:1]
    rule = compiled_rule(40, B, 2, 3, plain)
    memory = make_memory(padded(W), v.copy(), words(), 1, rule)
    F, I2 = np.empty_like(memory.W), np.empty(3)
    t.squared_slopes(500, 1, t.g, t.dg, rule, memory, F, I2)
    stream = Stream(words()[0])
    x = np.array([stream.normals(40) for _ in range(500)])
    g, dg = NAMED["erf"]
    lam = x @ W.T / np.sqrt(40)
    np.testing.assert_allclose(I2, np.mean(g(lam) ** 2, axis=0), rtol=1e-12)
    slopes = (v[1] * dg(lam)) ** 2
    np.testing.assert_allclose(F[:, :40], slopes.T @ x**2 / 500, rtol=1e-12)
    assert not F[:, 40:].any()
