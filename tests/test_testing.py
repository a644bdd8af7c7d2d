"""The tools for laws: what they pass, what they refuse, and what they say."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import odekit as ok
from odekit import testing
from odekit.testing import Blocks, LawBroken, strategies
from odekit.testing.strategies import KINDS

AT = Blocks.of(np.diag([1.0, 2.0, 1.5]) + 0.3, 2, v=[0.5, -1.0])
ONE = Blocks.of(np.ones((3, 3)), 2, v=[1.0, 1.0])


def problem(activation="linear", eta_v=0.2, **phase):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.6, 0.1], [0.1, 0.5]], R=[[0.3], [0.1]], T=[[1.0]]),
        heads={"main": [0.5, -0.2]},
        tasks={"main": ok.Task([1.0])},
        phases=[ok.Phase("main", 10.0, 0.3, eta_v, **phase)],
        activation=activation,
    )


@pytest.fixture(scope="module")
def run():
    return ok.solve(problem(gradient_flow=True), t_eval=np.linspace(0, 10, 11))


def decay(t, Q, R, T, v):
    return -2 * Q, -R, -v


# ------------------------------------------------------------------------ equations of one's own


def test_equations_of_ones_own_need_no_more_than_a_function():
    testing.assert_permutation_equivariant(decay, AT)
    testing.assert_sign_equivariant(decay, AT)
    testing.assert_rotation_invariant(decay, AT, vectors=[0])
    testing.assert_positive_semidefinite(decay, Blocks.of(np.ones((3, 3)), 2, v=[1.0, 1.0]))
    testing.assert_fixed_point(lambda t, Q, R, T, v: (0 * Q, 0 * R, 0 * v), AT)
    testing.assert_error_nonincreasing(decay, AT, error=lambda Q, R, T, v: np.trace(Q) + v @ v)


def wrong(name):
    """A decay with one thing wrong."""

    def rhs(t, Q, R, T, v):
        dQ, dR, dv = -2 * Q, -R, -v
        if name == "one unit decays faster":
            dR = dR * [[1.0], [2.0]]
        if name == "Q forgets its factor 2":
            dQ = -Q
        if name == "a push along no unit":
            dR = dR + 1.0
        if name == "Q is not symmetric":
            dQ = dQ + np.eye(2, k=1)
        if name == "growth":
            dQ, dR, dv = 2 * Q, R, v
        return dQ, dR, dv

    return rhs


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("one unit decays faster", lambda f: testing.assert_permutation_equivariant(f, AT)),
        ("a push along no unit", lambda f: testing.assert_sign_equivariant(f, AT)),
        (
            "a push along no unit",
            lambda f: testing.assert_rotation_invariant(
                f, Blocks.of(np.eye(4) + 0.1, 2, [1.0, 1.0]), vectors=[0, 1]
            ),
        ),
        (
            "Q forgets its factor 2",
            lambda f: testing.assert_positive_semidefinite(
                lambda *b: tuple(-d for d in f(*b)), ONE
            ),
        ),
        (
            "Q is not symmetric",
            lambda f: testing.assert_positive_semidefinite(f, ONE),
        ),
        (
            "growth",
            lambda f: testing.assert_error_nonincreasing(f, AT, error=lambda Q, R, T, v: v @ v),
        ),
        ("growth", lambda f: testing.assert_conserved(f, lambda Q, R, T, v: np.diag(Q), AT)),
        ("growth", lambda f: testing.assert_fixed_point(f, AT)),
    ],
)
def test_every_law_can_break(name, law):
    with pytest.raises(LawBroken, match="broken") as caught:
        law(wrong(name))
    assert caught.value.off > caught.value.allowed


def test_a_broken_law_names_entry_time_and_tolerance():
    def faster(t, Q, R, T, v):
        return -2 * Q, -R * [[1.0], [1.0 + t]], -v

    testing.assert_permutation_equivariant(faster, AT, t=0.0)
    with pytest.raises(LawBroken) as caught:
        testing.assert_permutation_equivariant(faster, AT, t=3.0, rtol=1e-6, factor=10)
    said = str(caught.value)
    assert "relabelling units commutes with the flow: broken" in said
    assert "dR[" in said
    assert "at t = 3" in said
    assert "allowed      10 rtol" in said
    assert "rtol = 1e-06" in said


def test_nan_breaks_every_law():
    def lost(t, Q, R, T, v):
        return Q * np.nan, R, v

    with pytest.raises(LawBroken):
        testing.assert_fixed_point(lost, AT)


def test_shapes_of_a_right_hand_side_are_checked():
    with pytest.raises(ValueError, match=r"dR must have the shape \(2, 1\)"):
        testing.assert_fixed_point(lambda t, Q, R, T, v: (Q, R.T, v), AT)


def test_laws_that_say_nothing_refuse():
    with pytest.raises(ok.ProblemError, match="singular"):
        testing.assert_positive_semidefinite(decay, AT)
    with pytest.raises(ok.ProblemError, match="used by a task"):
        testing.assert_rotation_invariant(decay, AT._replace(u=np.ones(1)))
    with pytest.raises(ok.ProblemError, match="`at`"):
        testing.assert_permutation_equivariant(decay)
    online = ok.solve(problem(), t_eval=[0.0, 1.0])
    with pytest.raises(ok.ProblemError, match="it has none"):
        testing.assert_conserved(online, "unit_imbalance")


# -------------------------------------------------------------------------------------- datasets


def test_a_run_obeys_and_a_changed_one_does_not(run):
    testing.assert_conserved(run)
    testing.assert_conserved(run, "imbalance_matrix")
    testing.assert_error_nonincreasing(run)
    testing.assert_positive_semidefinite(run)
    testing.assert_permutation_equivariant(run)
    bad = run.copy(deep=True)
    bad.Q[4] += 1e-4
    with pytest.raises(LawBroken, match=r"(?s)unit_imbalance\[student=\d\], at t = 4") as caught:
        testing.assert_conserved(bad)
    assert caught.value.law == "unit_imbalance is conserved"
    with pytest.raises(LawBroken, match=r"Q\[student=\d, student_other=\d\], at t = 4"):
        testing.assert_permutation_equivariant(bad)
    bad.generalization_error[6] += 1.0
    with pytest.raises(LawBroken, match="at t = 6"):
        testing.assert_error_nonincreasing(bad)
    bad.R[2] += 5.0
    with pytest.raises(LawBroken, match="at t = 2"):
        testing.assert_positive_semidefinite(bad)
    with pytest.raises(LawBroken, match="a fixed point"):
        testing.assert_fixed_point(run)


def test_a_quantity_of_ones_own(run):
    testing.assert_conserved(run, lambda ds: ds["T"].isel(teacher=0) + 0 * ds.phase)

    def trace(ds):
        return ds.Q.isel(student=0, student_other=0)

    with pytest.raises(LawBroken, match="trace is conserved"):
        testing.assert_conserved(run, trace)


def test_sweeps_are_tested_whole():
    rates = xr.DataArray([0.1, 0.2, 0.3], dims="eta", coords={"eta": [0.1, 0.2, 0.3]})
    ds = ok.solve(problem(gradient_flow=True).replace_phase(0, learning_rate=rates))
    testing.assert_conserved(ds)
    testing.assert_positive_semidefinite(ds)
    testing.assert_error_nonincreasing(ds)
    testing.assert_permutation_equivariant(ds)
    bad = ds.copy(deep=True)
    bad.Q[1, 5] += 1e-3
    with pytest.raises(LawBroken, match="eta=1"):
        testing.assert_conserved(bad)


def test_theory_and_simulation_agree_to_one_over_root_n(run):
    rng = np.random.default_rng(0)
    noise = 0.3 / np.sqrt(1000)
    sim = run.isel(time=slice(0, None, 2)).copy(deep=True)
    for name in ("Q", "R", "readout"):
        sim[name] = sim[name] + noise * rng.standard_normal(sim[name].shape)
    testing.assert_agrees(run, sim, input_dim=1000)
    with pytest.raises(LawBroken, match="theory and simulation agree"):
        testing.assert_agrees(run, sim, input_dim=10_000_000)
    with pytest.raises(LawBroken, match="results agree"):
        testing.assert_agrees(run, sim)
    testing.assert_agrees(run, sim.assign_attrs(input_dim=1000))
    many = xr.concat([sim, sim], dim="seed", data_vars="all", coords="minimal", compat="override")
    testing.assert_agrees(run, many, input_dim=1000, over="seed", factor=10)
    with pytest.raises(ok.ProblemError, match="share times"):
        testing.assert_agrees(run, sim.assign_coords(time=sim.time + 0.7), input_dim=1000)


def test_a_wrong_jacobian_is_found():
    rhs = ok.equations(problem("erf"))
    testing.assert_jacobian_matches(rhs.rhs, rhs.jac, rhs.start)
    with pytest.raises(LawBroken, match=r"J\["):
        testing.assert_jacobian_matches(rhs.rhs, lambda t, y: rhs.jac(t, y) * 1.001, rhs.start)


def test_wrong_moments_are_found():
    testing.assert_moments_match("linear", {"I2": lambda C, a, b: C[a, b]})
    with pytest.raises(LawBroken, match="I3 is the moment of its definition"):
        testing.assert_moments_match("linear", {"I3": lambda C, a, b, c: C[a, c]})
    with pytest.raises(ok.ProblemError, match="I2, I3, I4, J2"):
        testing.assert_moments_match("linear", {"I5": lambda C, a: 0.0})


# ------------------------------------------------------------------------------------- conserved


def test_conserved_knows_what_each_phase_conserves():
    phases = [
        ok.Phase("main", 5.0, 0.3, 0.2, gradient_flow=True),
        ok.Phase("main", 5.0, 0.3, 0.2),
        ok.Phase("main", 5.0, 0.3, gradient_flow=True, frozen=[True, False]),
        ok.Phase("main", 5.0, 0.1, 0.4, gradient_flow=True, frozen=[True, False]),
    ]
    ds = ok.solve(problem().replace(phases=phases), t_eval=np.linspace(0, 20, 41))
    found = ok.measures.conserved(ds)
    rows = [ds.phase == i for i in range(4)]

    def finite(name, i):
        return np.isfinite(found[name].isel(time=np.flatnonzero(rows[i]))).values

    assert finite("unit_imbalance", 0).all()
    assert finite("imbalance_matrix", 0).all()
    assert not finite("unit_imbalance", 1).any()  # online
    assert not finite("unit_imbalance", 2).any()  # the readout stands still
    assert finite("still_readout", 2).all()
    assert finite("still_Q", 2)[:, 0, 0].all()
    assert not finite("still_Q", 2)[:, 1, 1].any()
    assert not finite("unit_imbalance", 3)[:, 0].any()  # its first layer is frozen
    assert finite("unit_imbalance", 3)[:, 1].all()
    # At the switch the new rates count: the drift starts from zero there.
    drift = found.unit_imbalance_drift.isel(student=1)
    assert abs(drift).max() < 1e-6 * found.unit_imbalance_size.max()
    testing.assert_conserved(ds)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"weight_decay": 0.1}, "unit_imbalance"),
        ({"readout_weight_decay": 0.1}, "unit_imbalance"),
        ({"gradient_flow": False}, "unit_imbalance"),
        ({"learning_rate": lambda t: 0.3 + 0.01 * t}, "unit_imbalance"),
        ({"readout_learning_rate": 0.0}, "unit_imbalance"),
        ({"consolidation": ok.Consolidation("quadratic", 0.1, "main")}, "unit_imbalance"),
    ],
)
def test_conserved_claims_nothing_that_does_not_hold(changes, name):
    one = problem(gradient_flow=True).replace_phase(0, **changes)
    assert name not in ok.measures.conserved(ok.solve(one, t_eval=[0.0, 5.0]))


def test_erf_conserves_no_imbalance_and_relu_that_of_each_unit():
    erf = ok.measures.conserved(ok.solve(problem("erf", gradient_flow=True), t_eval=[0.0, 1.0]))
    assert not erf.data_vars
    relu = ok.measures.conserved(ok.solve(problem("relu", gradient_flow=True), t_eval=[0.0, 1.0]))
    assert "unit_imbalance" in relu
    assert "imbalance_matrix" not in relu


# ------------------------------------------------------------------------------------ strategies

STRATEGIES = {
    "covariances": strategies.covariances(),
    "blocks": strategies.blocks(heads=2, tasks=2),
    "order_parameters": strategies.order_parameters(),
    "heads": strategies.heads(names=("a", "b")),
    "tasks": strategies.tasks(names=("a", "b")),
    "phases": strategies.phases(2, names=("a", "b"), before="a"),
    "problems": strategies.problems(),
}


def statistics(test):
    """How many examples Hypothesis drew, by what became of them."""
    from hypothesis.statistics import collector

    found = {}
    with collector.with_value(found.update):
        test()
    phases = [p for p in found.values() if isinstance(p, dict) and "test-cases" in p]
    return Counter(case["status"] for phase in phases for case in phase["test-cases"])


@pytest.mark.parametrize("name", STRATEGIES)
def test_next_to_nothing_is_discarded(name, capsys):
    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(STRATEGIES[name])
    def draw(_value):
        pass

    counts = statistics(draw)
    with capsys.disabled():
        print(f"\n{name}: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    assert counts["valid"] >= 180
    # Nothing is filtered; Hypothesis itself gives up on some draws that grow too long.
    assert counts["invalid"] == 0
    assert counts["overrun"] <= 0.2 * counts["valid"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_covariances_are_of_their_kind(kind, data):
    K, P = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    C = data.draw(strategies.covariances(K, P, kinds=(kind,)))
    assert C.shape == (K + P, K + P)
    assert np.array_equal(C, C.T)
    eigenvalues = np.linalg.eigvalsh(C)
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]
    assert (np.diagonal(C)[K:] >= 0.25).all()
    singular = eigenvalues[0] < 1e-12 * eigenvalues[-1]
    if kind in strategies.SINGULAR:
        assert singular
    if kind == "full_rank":
        assert not singular
    if kind == "specialised":
        norms = np.sqrt(np.outer(np.diagonal(C)[:K], np.diagonal(C)[K:]))
        assert np.abs(np.abs(C[:K, K:] / norms).max(axis=1) - 1).max() < 1e-12
    ok.OrderParameters(Q=C[:K, :K], R=C[:K, K:], T=C[K:, K:])


def test_every_feature_is_reached():
    seen = Counter()
    fields = ("weight_decay", "readout_learning_rate", "consolidation", "frozen", "gradient_flow")

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(strategies.problems(tasks=2, phases=2))
    def look(problem):
        phase = problem.phases[1]
        seen.update(name for name in fields if getattr(phase, name))
        seen.update(["mixture"] * (len(phase.mixture) == 2))
        seen.update(["batch"] * (phase.batch_size > 1))
        assert sum(phase.mixture.values()) == pytest.approx(1.0)

    look()
    assert min(seen[name] for name in (*fields, "mixture", "batch")) >= 10, seen


def test_arguments_of_strategies_are_checked():
    with pytest.raises(ok.ProblemError, match="ill_scaled"):
        strategies.covariances(kinds=("round",))
    with pytest.raises(ok.ProblemError, match="both_layers"):
        strategies.problems(features=("dropout",))


def test_without_hypothesis_only_the_strategies_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "odekit.testing.strategies")
    monkeypatch.delattr(testing, "strategies", raising=False)
    with pytest.raises(ImportError, match=r"odekit\[test\]"):
        _ = testing.strategies
    assert testing.assert_conserved is not None
