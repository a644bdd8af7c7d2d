"""The equations in eight lanes against the kernel of one trajectory, and lane against lane."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import odekit as ok
import transcription
from committees import random_committee
from odekit.integrate.packing import Drive, driven, row_at
from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.committee import one as committee
from odekit_kernels.committee.activations import ERF, LINEAR, RELU
from odekit_kernels.committee.lanes import rhs
from odekit_kernels.committee.memory import First, Wiring, constants, make_plan
from odekit_kernels.committee.rows import errors_of_rows, moments_of_rows
from odekit_kernels.integrators import inverse as lanes_inverse
from odekit_kernels.integrators.batch import STOP, make_counters, set_bound
from odekit_kernels.integrators.tables import table_at
from odekit_kernels.lanes.memory import firsts, make_memory, places_of
from odekit_kernels.lanes.values import pick
from odekit_kernels.simd import WIDTH

EPS = np.finfo(float).eps
ACTIVATIONS = (ERF, LINEAR, RELU)
EXAMPLES = 15 if NO_JIT else 60


# Kernels called by kernels alone have no entry from Python.
@kernel(_nrt=False)
def rhs_of_lanes(M, m, w, y, dy, moves, trains, decays):
    rhs(M, m, w, y, dy, moves, trains, decays)


@kernel(_nrt=False)
def invert(A, B, n):
    lanes_inverse.invert(A, B, n)


@kernel(_nrt=False)
def tables_at(tables, times, out):
    for j in range(out.shape[0]):
        for i in range(times.shape[0]):
            out[j, i] = table_at(tables, j, times[i])


@kernel(_nrt=False)
def bound_from(M, I, m, b, lane):
    set_bound(M, I, m, b, lane)
    return pick(M, m.bound, lane)


class Stops(NamedTuple):
    stops: Any
    times: Any = np.zeros(0)
    lands: bool = False


class Group:
    """Eight committees that share their wiring, in a group's memory."""

    def __init__(self, systems, states, rates, heads=1):
        first = systems[0]
        self.K, self.P, self.H = len(first.move), len(first.T), heads
        S, c = len(first.p), len(first.F)
        online = first.inverse_batch != 0.0
        self.plan = make_plan(self.K, self.P, heads, S, c, S, first.activation, online, 1)
        at = First(**firsts(constants(self.plan)))
        self.wiring = Wiring(first.head, first.move, first.anchor, first.v_head, first.head, at)
        self.memory = make_memory(self.plan.size)
        self.systems, self.states, self.rates = systems, states, rates
        self.places = places_of(constants(self.plan))
        for lane in range(WIDTH):
            self.set(lane, systems[lane], states[lane], rates[lane])

    def set(self, lane, system, y, rates):
        row = [
            system.T, system.u, system.p, system.sigma, system.inverse_batch, system.kappa_w,
            system.kappa_v, *rates, system.F, system.F_v, system.v_anchor, system.u,
            np.ones(len(system.p)),
        ]  # fmt: skip
        self.memory[self.places, lane] = np.concatenate([np.ravel(x) for x in row])
        self.memory[self.plan.y : self.plan.y + self.plan.n, lane] = y

    def rhs(self, moves=True, trains=True, decays=True):
        m = self.plan
        rhs_of_lanes(self.memory, m, self.wiring, m.y, m.k, moves, trains, decays)
        return self.memory[m.k : m.k + m.n].T.copy()

    def expected(self, lane):
        y, system = self.states[lane], self.systems[lane]
        dy = np.full_like(y, np.nan)
        work = committee.make_work(self.K, self.P, self.H, len(system.p))
        committee.rhs(y, *self.rates[lane], system, work, dy)
        return dy


def random_group(seed, activation=ERF, H=1, norms=(1.0,), rank=None, **options):
    """Eight random committees of one wiring; lane i has vectors of length about norms[i]."""
    rng = np.random.default_rng(seed)
    if activation == RELU:
        options["inverse_batch"] = 0.0
    systems, states, rates = [], [], []
    for lane in range(WIDTH):
        y, system = random_committee(rng, activation=activation, H=H, **options)
        norm, K, P = norms[lane % len(norms)], len(system.move), len(system.T)
        if rank is not None:
            B = rng.standard_normal((K + P, rank)) / np.sqrt(rank)
            C = B @ B.T
            system = system._replace(T=np.ascontiguousarray(C[K:, K:]))
            y[: len(y) - H * K] = transcription.pack(C[:K, :K], C[:K, K:], [])
        y[: len(y) - H * K] *= norm**2
        system = system._replace(T=system.T * norm**2)
        if systems:
            wiring = ("head", "move", "anchor", "v_head")
            system = system._replace(**{name: getattr(systems[0], name) for name in wiring})
        systems.append(system)
        states.append(y)
        rates.append((rng.uniform(0.1, 1.5), rng.uniform(0.1, 1.5)))
    return Group(systems, states, rates, H)


def tolerance(group, lane, expected):
    """Some roundings of the largest entry, times the squared norm of terms that cancel in it."""
    C = max(1.0, np.abs(group.systems[lane].T).max(), np.abs(group.states[lane]).max())
    return 10 * EPS * C * max(1.0, np.abs(expected).max())


NORMS = {"small": (1e-4, 1e-2, 1e-8), "one": (0.5, 1.0, 0.8), "large": (3.0, 10.0, 1.0, 0.1)}


@given(
    seed=st.integers(0, 2**32 - 1),
    activation=st.sampled_from(ACTIVATIONS),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    consolidations=st.integers(0, 2),
    decay=st.sampled_from([0.0, 0.3]),
    frozen=st.booleans(),
    noise=st.sampled_from([0.0, 0.5]),
    inverse_batch=st.sampled_from([0.0, 1.0, 0.25]),
    norms=st.sampled_from(list(NORMS)),
    rank=st.sampled_from([None, 1, 2]),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_rhs_is_that_of_one_trajectory(seed, activation, sizes, norms, rank, frozen, **options):
    K, P, H, S = sizes
    group = random_group(
        seed, activation, H, NORMS[norms], rank, K=K, P=P, S=S,
        frozen=(K - 1,) if frozen else (), **options,
    )  # fmt: skip
    found = group.rhs()
    for lane in range(WIDTH):
        expected = group.expected(lane)
        # ReLU's √(1 − r²) of vectors that coincide takes the root of a rounding error.
        limit = tolerance(group, lane, expected)
        if activation == RELU:
            limit = max(limit, 1e-7 * max(1.0, np.abs(expected).max()))
        assert_allclose(found[lane], expected, rtol=0, atol=limit)


@pytest.mark.parametrize("rates", [(0.7, 0.0), (0.0, 0.3), (0.0, 0.0)])
def test_what_no_trajectory_needs_is_left_out(rates):
    group = random_group(0, K=2, P=2, S=2, H=2, decay=0.1, consolidations=1)
    group = Group(group.systems, group.states, [rates] * WIDTH, 2)
    group.memory[group.plan.k : group.plan.k + group.plan.n] = np.nan
    found = group.rhs(moves=rates[0] > 0, trains=rates[1] > 0)
    for lane in range(WIDTH):
        expected = group.expected(lane)
        assert_allclose(found[lane], expected, atol=tolerance(group, lane, expected), rtol=0)
        assert (found[lane][expected == 0] == 0).all()
    assert_array_equal(group.rhs(), found)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("what", [np.nan, np.inf, 1e300])
def test_a_bad_lane_leaves_the_bits_of_the_others(activation, what):
    group = random_group(3, activation, K=2, P=2, S=2, H=2, consolidations=1, decay=0.1)
    before = group.rhs()
    bad = np.full(group.plan.n, what)
    group.memory[group.plan.y : group.plan.y + group.plan.n, 5] = bad
    with np.errstate(all="ignore"):
        after = group.rhs()
    others = [lane for lane in range(WIDTH) if lane != 5]
    assert_array_equal(after[others], before[others])
    if np.isnan(what):
        assert np.isnan(after[5]).all()


@pytest.mark.parametrize("norm", [1e-3, 0.3, 1.0, 30.0])
@pytest.mark.parametrize("S", [1, 2])
def test_the_bits_of_a_lane_do_not_depend_on_its_neighbours(norm, S):
    """Neighbours with norms up to 1 and beyond: with and without the full range of asin."""
    whole = random_group(5, K=2, P=3, S=S, norms=(norm,))
    lane = 2
    reference = None
    for neighbours in (1e-3, 0.3, 1.0, 2.0, 100.0):
        others = random_group(6, K=2, P=3, S=S, norms=(neighbours,))
        wiring = {
            name: getattr(whole.systems[0], name) for name in ("head", "move", "anchor", "v_head")
        }
        systems = [system._replace(**wiring) for system in others.systems]
        group = Group(systems, others.states, others.rates)
        # Anywhere: it is the same in every lane.
        place = int(neighbours * 10) % WIDTH
        group.set(place, whole.systems[lane], whole.states[lane], whole.rates[lane])
        found = group.rhs()[place]
        reference = found if reference is None else reference
        assert_array_equal(found, reference)


@pytest.mark.parametrize("above", [False, True])
def test_either_side_of_one_half(above):
    """asin's argument C_ab / √((1 + C_aa)(1 + C_bb)) is 1/2 where C = 1: its other branch begins.

    A student that equals its teacher, up to the last digit of its length.
    """
    length = np.nextafter(1.0, 2.0 if above else 0.0)
    group = random_group(7, K=1, P=1, norms=(1e-2,))
    alone = None
    for company in (1e-2, 1.0, 5.0):
        group = random_group(7, K=1, P=1, norms=(company,))
        for lane in (0, 6):
            y = np.array([length, length, 1.0])
            system = group.systems[lane]._replace(T=np.array([[length]]), u=np.array([[1.0]]))
            system = system._replace(sigma=np.array([0.3]), p=np.array([1.0]))
            group.set(lane, system, y, (0.5, 0.5))
            group.systems[lane], group.states[lane], group.rates[lane] = system, y, (0.5, 0.5)
        found = group.rhs()
        alone = found[0] if alone is None else alone
        assert_array_equal(found[0], alone)
        assert_array_equal(found[6], alone)
        assert_allclose(found[0], group.expected(0), rtol=0, atol=20 * EPS)


# --------------------------------------------------------------------------------- errors, moments


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("count", [1, 8, 9, 21])
@pytest.mark.parametrize("shared", [False, True])
def test_errors_of_rows(activation, count, shared):
    rng = np.random.default_rng(count)
    points = [random_committee(rng, activation=activation, K=2, P=3, H=3, S=2) for _ in range(3)]
    if shared:
        points = [(y, points[0][1]) for y, _ in points]
    heads = np.array([2, 0])
    which = np.sort(rng.integers(0, len(points), count))
    rows = np.array([points[i][0] * rng.uniform(0.9, 1.0) for i in which])
    rows[count // 2] = np.nan
    keep = slice(0, 1) if shared else slice(None)
    T = np.array([s.T for _, s in points])[keep]
    u = np.array([s.u for _, s in points])[keep]
    plan = make_plan(2, 3, 3, 1, 0, 2, activation, False, 0)
    out = np.full((count, 2), -1.0)
    errors_of_rows(make_memory(plan.size), plan, heads, rows, T, u, which, out)
    for i in range(count):
        system, expected = points[which[i]][1], np.empty(2)
        work = committee.make_work(2, 3, 3, 2)
        committee.errors(rows[i], activation, system.T, system.u, heads, work, expected)
        # ReLU: r beyond 1 by the scaling of the rows is clipped, or else its root is exact to 1e-8.
        atol = 1e-14 if activation != RELU else 1e-13
        assert_allclose(out[i], expected, rtol=0, atol=atol)
    assert np.isnan(out[count // 2]).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_moments_of_rows(activation):
    rng = np.random.default_rng(1)
    variances = np.concatenate([[0.0, 1e-300, 1e6], rng.uniform(0, 4, 8)])
    K = len(variances)
    I2, J2 = np.full(K, np.nan), np.full(K, np.nan)
    plan = make_plan(1, 0, 0, 0, 0, 0, activation, False, 0)
    moments_of_rows(make_memory(plan.size), plan, variances, I2, J2)
    q = variances
    expected_I2, expected_J2 = {
        ERF: (2 / np.pi * np.arcsin(q / (1 + q)), 2 / np.pi / np.sqrt(1 + 2 * q)),
        LINEAR: (q, np.ones(K)),
        RELU: (q / 2, np.full(K, 0.5)),
    }[activation]
    # asin's argument C/(1 + C) nears 1, and its slope √(C/2).
    slope = np.sqrt(1.0 + variances)
    # Products of variances below 1e-154 are 0.
    assert (np.abs(I2 - expected_I2) <= 4 * EPS * slope * expected_I2 + 1e-299).all()
    assert_allclose(J2[1:], expected_J2[1:], rtol=20 * EPS, atol=0)


# ------------------------------------------------------------------------------------ small pieces


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9))
@settings(max_examples=EXAMPLES, deadline=None)
def test_inverse_in_every_lane(seed, n):
    rng = np.random.default_rng(seed)
    matrices = rng.standard_normal((WIDTH, n, n))
    # Rows must be exchanged, in each lane otherwise: zeros and tiny numbers on the diagonal.
    for lane in range(1, WIDTH):
        matrices[lane] = matrices[lane][rng.permutation(n)]
        matrices[lane][np.arange(n), np.arange(n)] *= [0.0, 1e-18, 1.0, -1.0][lane % 4]
    if n > 1:
        matrices[3] = 1.0  # singular
    A, B = make_memory(n * n), make_memory(n * n)
    A[:] = matrices.reshape(WIDTH, -1).T
    with np.errstate(all="ignore"):
        invert(A, B, n)
    for lane in range(WIDTH):
        found = B[:, lane].reshape(n, n)
        condition = np.linalg.cond(matrices[lane])
        if lane == 3 and n > 1:
            assert not np.isfinite(found).all()
        elif condition < 1e10:
            # Gauss-Jordan with pivots: the growth of entries is at most 2^n, and small in practice.
            expected = np.linalg.inv(matrices[lane])
            limit = 50 * n * EPS * condition * np.abs(expected).max()
            assert_allclose(found, expected, rtol=0, atol=limit)


def test_an_inverse_does_not_depend_on_the_other_lanes():
    n, rng = 5, np.random.default_rng(0)
    found = []
    for company in (1.0, 1e10, np.nan):
        A, B = make_memory(n * n), make_memory(n * n)
        A[:] = company
        A[:, 4] = np.random.default_rng(9).standard_normal(n * n)
        A[:, 6] *= rng.standard_normal(n * n)
        with np.errstate(all="ignore"):
            invert(A, B, n)
        found.append(B[:, 4].copy())
    assert_array_equal(found[1:], [found[0]] * 2)


@pytest.mark.parametrize(
    "schedule",
    [
        ok.Schedule([0.0, 1.0], [1.0, 0.0]),
        ok.Schedule([2.0, 3.0, 5.0], [0.2, 1.0, 0.5]),
        ok.Schedule([0.0, 1.0, 2.0, 4.0], [0.0, 1e-3, 1.0, 0.0], interpolation="cubic"),
        ok.Schedule.from_function(lambda t: 1 / (1 + t), 30.0),
    ],
)
def test_table_at_is_the_schedule(schedule):
    last = schedule.times[-1]
    times = np.concatenate(
        [schedule.times, np.nextafter(schedule.times, 0.0), np.nextafter(schedule.times, 99.0),
         np.linspace(0.0, 1.2 * last, 77)]
    )  # fmt: skip
    out = np.empty((2, times.size))
    other = ok.Schedule([0.0, 9.0], [2.0, 1.0])
    # Entry 4 follows the second table, as entry 7 does: those of one table stand side by side.
    drives = [Drive(4, schedule), Drive(1, other), Drive(7, schedule, np.full(1, 2.0), np.ones(1))]
    tables = driven(drives)
    assert tables.entry.tolist() == [4, 7, 1]
    assert tables.table.tolist() == [0, 0, 1]
    tables_at(tables, times, out)
    # Contraction to FMAs is all that may differ.
    expected = np.array([schedule(float(t)) for t in times])
    close = {"rtol": 4 * EPS, "atol": 4 * EPS * schedule.values.max()}
    assert_allclose(out[0], expected, **close)
    assert_allclose(out[1], np.interp(times, other.times, other.values), rtol=4 * EPS)
    assert (out >= 0).all()
    batch = SimpleNamespace(driven=tables, constants=np.zeros((1, 8)))
    rows = np.array([row_at(batch, 0, t) for t in times])
    assert_allclose(rows[:, 4], expected, **close)
    assert_allclose(rows[:, 7], 1.0 + 2.0 * expected, **close)
    assert not rows[:, [0, 2, 3, 5, 6]].any()


@given(
    begin=st.floats(0.0, 1e6),
    stops=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5, unique=True).map(sorted),
)
@settings(max_examples=10 * EXAMPLES, deadline=None)
def test_a_stop_that_was_reached_lies_behind(begin, stops):
    """begin + stop − begin may round below the stop: an integrator that takes over there would
    find it again, and a step of length zero."""
    group = random_group(0, K=1, P=1)
    memory, m, counters = group.memory, group.plan, make_counters(WIDTH)
    memory[m.begin], memory[m.end] = begin, begin + 1e4
    bounds = [*(begin + np.array(stops)), begin + 1e4]
    for time in [begin, *bounds[:-1]]:
        memory[m.time] = time
        counters[STOP] = 0
        expected = min(bound for bound in bounds if bound > time)
        assert (
            bound_from(memory, counters, m, Stops(np.array(stops), np.zeros(0), False), 3)
            == expected
        )
