"""The equations of every system as functions of a flat state, against runs and differences."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

import odekit as ok
from declared import case
from networks import random_problem as random_network
from odekit.dynamics.field import VectorField
from odekit.problem.system import System
from odekit.testing import assert_jacobian_matches

ONE, TWO = {"one": [0.6, -0.3], "two": [0.2, 0.5]}, [0.9, 0.4, 0.0]


def committee(phases=None, **changes):
    """Two units, three fixed vectors, two heads, two tasks, noise, both layers."""
    rng = np.random.default_rng(3)
    W = rng.standard_normal((5, 9)) / 3
    C = W @ W.T
    return ok.Problem(
        state=ok.OrderParameters(Q=C[:2, :2], R=C[:2, 2:], T=C[2:, 2:]),
        heads=ONE,
        tasks={"one": ok.Task(TWO, noise_std=0.2), "two": ok.Task([0.0, 0.3, 0.8])},
        phases=phases or [ok.Phase({"one": 0.3, "two": 0.7}, 5.0, 0.4, 0.2, weight_decay=0.01)],
        **changes,
    )


EVERY = {
    "committee": committee,
    "relu": lambda: committee([ok.Phase("one", 5.0, 0.4, 0.2, gradient_flow=True)]).replace(
        activation="relu"
    ),
    "linear": lambda: random_network(5)[0],
    "outside": case,
}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_scipy_integrates_them_as_solve_does(make):
    problem = make()
    field, end = ok.equations(problem), problem.phases[0].duration
    run = ok.solve(problem, t_eval=[0.0, end / 2, end], rtol=1e-10, atol=1e-12)
    times = run.time.values
    own = solve_ivp(field.rhs, (0, end), field.start, "DOP853", times, rtol=1e-11, atol=1e-13)
    rows = field.unpack(own.y.T, dims=("time",))
    for name, array in rows.items():
        assert array.dims == run[name].dims
        assert_allclose(array.values, run[name].values, rtol=0, atol=1e-8)
    assert_allclose(field.errors(own.y.T), run.generalization_error.values, rtol=0, atol=1e-8)
    assert field.tasks == tuple(run.task.values)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_products_are_the_jacobians_own(make):
    field = ok.equations(make())
    y = field.start
    assert_jacobian_matches(field.rhs, field.jac, y, rtol=1e-9)
    J, V = field.jac(0.0, y), np.random.default_rng(0).standard_normal((field.size, 3))
    assert_array_equal(field.jvp(0.0, y, V), J @ V)
    size = np.abs(J).max()
    for W in (V[:, 0], V):  # of committees by a reverse pass
        assert_allclose(field.vjp(0.0, y, W), J.T @ W, rtol=0, atol=1e-13 * size)
    assert_allclose(V[:, 1] @ field.jvp(0.0, y, V[:, 0]), field.vjp(0.0, y, V[:, 1]) @ V[:, 0])


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_labelled_arrays_and_states_go_back_and_forth(make):
    problem = make()
    field = ok.equations(problem)
    assert len(set(field.names)) == field.size
    assert "" not in field.names
    rng = np.random.default_rng(1)
    y = rng.standard_normal(field.size)
    rows = field.unpack(y)
    assert_array_equal(field.pack(rows), y)
    turned = {n: a.transpose(*a.dims[::-1]) for n, a in rows.items()}
    assert_array_equal(field.pack(turned), y)
    assert_array_equal(field.pack(**{n: a.values for n, a in rows.items()}), y)
    assert_array_equal(field.pack(), field.start)
    run = ok.solve(problem, t_eval=[0.0, 1.0])
    assert_array_equal(field.pack(run.isel(time=0)), field.start)
    assert_array_equal(field.unpack(rng.standard_normal((4, field.size)), ("a",)).sizes["a"], 4)


def test_names_say_which_entry_it_is():
    field = ok.equations(committee())
    assert field.names[:4] == ("Q[0, 0]", "Q[0, 1]", "Q[1, 1]", "R[0, 0]")
    assert field.names[-4:] == ("readout[one, 0]", "readout[one, 1]", "readout[two, 0]",
                                "readout[two, 1]")  # fmt: skip
    assert ok.equations(case()).names[-3:] == ("v[0]", "v[1]", "s")
    for i, name in enumerate(field.names[:9]):
        rows = field.unpack(np.eye(field.size)[i])
        index = eval(name[1:])
        assert rows[name[0]].values[tuple(index)] == 1.0


def test_a_phase_begins_with_its_copies():
    before = ok.Phase("one", 5.0, 0.4, 0.2)
    kept = ok.Consolidation("quadratic", strength=0.5, task="one")
    after = ok.Phase("two", 5.0, 0.4, 0.2, consolidation=kept, copy_heads={"two": "one"})
    field = ok.equations(committee([before, after]), phase=1)
    rows = field.unpack(field.start)
    assert_array_equal(rows.readout.values[0], rows.readout.values[1])
    assert_array_equal(rows.R_copies.values, rows.Q.values)  # copies of the units as they are
    assert_array_equal(field.pack(rows), field.start)
    assert field.errors(field.start).shape == (2,)
    assert field.blocks.T.shape == (5, 5)
    assert_jacobian_matches(field.rhs, field.jac, field.start, rtol=1e-9)


def test_committees_take_labelled_blocks():
    field = ok.equations(committee())
    at = field.blocks
    dQ, dR, dv = field(0.0, *at)
    assert_array_equal(field.pack(Q=dQ, R=dR, readout=dv), field.rhs(0.0, field.start))
    assert field.error(*at) == pytest.approx([0.3, 0.7] @ field.errors(field.start), rel=1e-14)
    halved = field(0.0, *at[:4], 0.5 * at.u)
    assert abs(halved[1] - dR).max() > 1e-3


def test_times_count_from_the_beginning_of_the_phase():
    rate = ok.Schedule([0.0, 5.0], [0.5, 1.0])
    slow, fast = ok.Phase("one", 5.0, 0.5), ok.Phase("one", 5.0, 1.0)
    ramp = ok.equations(committee([slow, ok.Phase("one", 5.0, rate)]), phase=1)
    assert ramp.rates(5.0) == (1.0, 0.0)
    for t, phase in ((0.0, slow), (5.0, fast)):
        wanted = ok.equations(committee([phase])).rhs(0.0, ramp.start)
        assert_allclose(ramp.rhs(t, ramp.start), wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_gradients_of_the_errors(make):
    """Against differences of other steps; of a network also against the flow, which is minus it."""
    field = ok.equations(make())
    y = field.start
    found = field.errors_gradient(y)
    assert found.shape == (len(field.tasks), field.size)
    h = 2e-4
    ends = [field.errors(y + s * h * np.eye(field.size)).T for s in (1, -1)]
    assert_allclose(found, (ends[0] - ends[1]) / (2 * h), rtol=0, atol=1e-7)
    if field.problem.kind == "linear":
        rate = field.rates(0.0)[0]
        assert_allclose(found[0], -field.rhs(0.0, y) / rate, rtol=0, atol=1e-9)


def test_gradients_of_a_phase_with_copies():
    before = ok.Phase("one", 5.0, 0.4, 0.2)
    kept = ok.Consolidation("fisher", strength=0.5, task="one")
    after = ok.Phase({"one": 0.5, "two": 0.5}, 5.0, 0.4, 0.2, consolidation=kept)
    field = ok.equations(committee([before, after]), phase=1)
    found, wanted = field.errors_gradient(field.start), VectorField.errors_gradient
    assert_allclose(found, wanted(field, field.start), rtol=0, atol=1e-10)


def test_rates_by_edge():
    net = random_network(5)[0]
    own = {edge: 0.1 * i for i, edge in enumerate(net.network.edges)}
    field = ok.equations(net.replace_phase(0, learning_rate=own))
    assert field.rates(0.0) == (own, 0.0)
    assert_jacobian_matches(field.rhs, field.jac, field.start, rtol=1e-9)
    assert ok.fixed_point(net.replace_phase(0, learning_rate=own)).status.dims == ()


def test_systems_that_say_nothing_of_their_state_have_one_variable():
    found = System.layout(None, None, ok.equations(case()).points, None)
    assert found["y"].places.tolist() == list(range(7))


def swept():
    return committee().replace_phase(0, weight_decay=xr.DataArray([0.1], dims="k"))


BAD = {
    "no problem": (lambda: ok.equations("soft"), "problem"),
    "sweep": (lambda: ok.equations(swept()), "problem"),
    "phase": (lambda: ok.equations(committee(), phase=1), "phase"),
    "negative phase": (lambda: ok.equations(committee(), phase=-1), "phase"),
    "short state": (lambda: ok.equations(committee()).rhs(0.0, [1.0]), "y"),
    "two states": (lambda: ok.equations(committee()).jac(0.0, np.ones((2, 13))), "y"),
    "short errors": (lambda: ok.equations(committee()).errors(np.ones(3)), "y"),
    "vector": (lambda: ok.equations(committee()).jvp(0.0, np.ones(13), np.ones(3)), "v"),
    "covector": (lambda: ok.equations(committee()).vjp(0.0, np.ones(13), np.ones(3)), "w"),
    "rows": (lambda: ok.equations(committee()).unpack(np.ones((2, 13))), "y"),
    "unknown": (lambda: ok.equations(committee()).pack(S=1.0), "S"),
    "shape": (lambda: ok.equations(committee()).pack(Q=[1.0]), "Q"),
    "mirrors": (lambda: ok.equations(committee()).pack(Q=[[1.0, 0.2], [0.1, 1.0]]), "Q"),
    "not finite": (lambda: ok.equations(committee()).pack(Q=[[1.0, np.nan], [0.1, 1.0]]), "Q"),
    "whole run": (lambda: ok.equations(committee()).pack(ok.solve(committee())), "Q"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "argument"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(call, argument):
    with pytest.raises(ok.ProblemError) as info:
        call()
    assert info.value.argument == argument
