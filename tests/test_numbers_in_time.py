"""Numbers of a phase that follow schedules: against equations with functions of time in them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

import odekit as ok
import transcription
import transcription_groups
from odekit.problem.words import phase_words
from odekit.systems.committee.points import CommitteePoints
from odekit.verbs.scenario import parse_scenario

TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def table(*values, times=(0.0, 2.0, 6.0), **more):
    return ok.Schedule(times, values, **more)


MOVING = ok.Phase(
    {"a": table(0.2, 0.9, 0.5), "b": "rest"},
    6.0,
    learning_rate=table(0.8, 0.3, 0.6, interpolation="cubic"),
    readout_learning_rate=table(0.1, 0.4, 0.4),
    weight_decay=lambda t: 0.2 * np.exp(-t / 3.0),
    readout_weight_decay=table(0.3, 0.0, 0.1),
    noise_std={"b": table(0.1, 0.0, 0.8)},
    consolidation=ok.Consolidation("fisher", table(0.0, 2.0, 1.0)),
)
BEFORE = ok.Phase("a", 4.0, 0.5, 0.3)
AFTER = ok.Phase("b", 3.0, 0.5, 0.3)


def problem(*phases, K=1, **more):
    Q = 0.3 * np.eye(K) + 0.05
    R = 0.1 * np.eye(K, 2) + 0.02
    return ok.Problem(
        state=ok.OrderParameters(Q=Q, R=R, T=np.eye(2)),
        heads={"a": np.linspace(0.8, 0.5, K), "b": np.linspace(0.3, 0.6, K)},
        tasks={"a": ok.Task([1.0, 0.0], noise_std=0.2), "b": ok.Task([0.3, 1.0], noise_std=0.4)},
        phases=phases or [BEFORE, MOVING],
        **more,
    )


def reference(given):
    """Q, R and readouts at the end, with functions of time in the equations letter by letter."""
    points = CommitteePoints(given, {})
    before = ok.solve(given.replace(phases=[BEFORE]), t_eval=[0.0, 4.0], **TIGHT)
    last = before.isel(time=-1)
    frame, _ = points.start()
    frame, y = points.enter(
        1, frame, points.pack(*(last[n].values[None] for n in ("Q", "R", "readout")))
    )
    base = points.committee(given.phases[1], frame)
    _, (F,), (F_v,) = frame.held
    moving = given.phases[1]

    def rhs(t, y):
        p, strength = moving.mixture["a"](t), moving.consolidation.strength(t)
        system = base._replace(
            p=np.array([p, 1.0 - p]),
            sigma=np.array([0.2, moving.noise_std["b"](t)]),
            kappa_w=0.2 * np.exp(-t / 3.0),
            kappa_v=moving.readout_weight_decay(t),
            F=strength * F[None],
            F_v=strength * F_v[None],
        )
        rates = moving.learning_rate(t), moving.readout_learning_rate(t)
        return transcription.rhs(y, *rates, system)

    y = y[0]
    for span in ((0.0, 2.0), (2.0, 6.0)):
        y = solve_ivp(rhs, span, y, "DOP853", rtol=1e-9, atol=1e-12).y[:, -1]
    return [x[0] for x in points.unpack(y[points.shown(frame)][None])]


@pytest.fixture(scope="module")
def expected():
    return reference(problem())


@pytest.mark.parametrize("method", [None, "RK45", "Radau", "LSODA", "Rodas5P"])
def test_every_number_follows_its_schedule(method, expected):
    run = ok.solve(problem(), t_eval=[0.0, 10.0], method=method, **TIGHT)
    assert run.status == 0
    for name, value in zip(("Q", "R", "readout"), expected, strict=True):
        assert_allclose(run[name].values[-1], value, rtol=2e-7, atol=2e-9)


def test_the_equations_take_a_time():
    field = ok.equations(problem(), 1)
    y, h = field.start + 0.01, 1e-6
    for t in (0.5, 3.0):
        rates = field.rates(t)
        system = field.equations.now.at(t)
        assert_allclose(system.p, [MOVING.mixture["a"](t), MOVING.mixture["b"](t)], rtol=1e-15)
        assert_allclose(field.rhs(t, y), transcription.rhs(y, *rates, system), atol=1e-14)
        slopes = (field.rhs(t, y + h * np.eye(y.size)[0]) - field.rhs(t, y)) / h
        assert_allclose(field.jac(t, y)[:, 0], slopes, atol=1e-5)


@pytest.mark.parametrize("method", ["RK45", "Rodas5P"])
def test_a_sweep_in_lanes_is_its_runs(method):
    """Strengths of consolidation scale their schedule with what each point's units are worth."""
    rates = xr.DataArray([0.5, 0.9, 0.2], dims="rate")
    until = MOVING.__class__(**{**vars(MOVING), "until": {"b": 0.13}, "duration": 9.0})
    swept = problem(BEFORE.__class__("a", 4.0, rates, 0.3), until, AFTER, K=2)
    many = ok.solve(swept, t_eval=np.linspace(0.0, 10.0, 6), method=method, **TIGHT)
    assert not many.status.any()
    assert (many.phase_outcome.values[:, 1] == 2).all()
    for i, rate in enumerate(rates.values):
        one = swept.replace_phase(0, learning_rate=float(rate))
        alone = ok.solve(one, t_eval=many.time.values, method=None, rtol=1e-11, atol=1e-13)
        assert_allclose(many.phase_end.values[i], alone.phase_end.values, rtol=1e-7)
        for name in ("Q", "R", "readout"):
            assert_allclose(many[name].values[i], alone[name].values, rtol=1e-7, atol=1e-8)


def test_constant_schedules_are_numbers():
    flat = {
        "tasks": {"a": table(0.7, 0.7, 0.7), "b": "rest"},
        "weight_decay": table(0.1, 0.1, 0.1),
        "readout_weight_decay": table(0.2, 0.2, 0.2),
        "noise_std": {"b": table(0.4, 0.4, 0.4)},
        "consolidation": ok.Consolidation("node", table(0.5, 0.5, 0.5)),
    }
    plain = {
        "tasks": {"a": 0.7, "b": 0.3},
        "weight_decay": 0.1,
        "readout_weight_decay": 0.2,
        "consolidation": ok.Consolidation("node", 0.5),
    }
    t = np.linspace(0.0, 13.0, 8)
    one, two = (
        ok.solve(problem(BEFORE, ok.Phase(duration=6.0, learning_rate=0.4, **x), AFTER), t_eval=t)
        for x in (flat, plain)
    )
    assert_allclose(one.Q.values, two.Q.values, rtol=1e-13)
    assert_allclose(one.readout.values, two.readout.values, rtol=1e-13)


def test_later_phases_have_the_last_strength():
    short = ok.Phase(
        "b", 3.0, 0.4, 0.2, consolidation=ok.Consolidation("node", table(0.0, 1.5, 1.5))
    )
    t = [0.0, 4.0, 7.0, 10.0]
    run = ok.solve(problem(BEFORE, short, AFTER), t_eval=t, **TIGHT)
    late = ok.Consolidation("node", table(0.0, 1.5, 0.7, times=(0.0, 2.0, 3.0)))
    other = ok.solve(problem(BEFORE, ok.Phase("b", 3.0, 0.4, 0.2, consolidation=late), AFTER),
                     t_eval=t, **TIGHT)  # fmt: skip
    # Up to 2 they are one; then the second falls, and stays lower.
    assert (abs(other.Q.values[-1] - run.Q.values[-1]) > 1e-4).any()


# ------------------------------------------------------------------------------- groups of inputs


def grouped(**more):
    T = np.array([[[1.0]], [[0.4]]])
    return ok.Problem(
        state=ok.OrderParameters(
            Q=np.array([[[0.3]], [[0.5]]]), R=np.array([[[0.1]], [[0.2]]]), T=T
        ),
        groups={"x": 0.25, "z": 0.75},
        heads={"main": [0.7]},
        tasks={"main": ok.Task([1.0], student_gain=0.8, student_noise_std={"x": 0.3, "z": 0.0})},
        phases=[ok.Phase("main", 6.0, readout_learning_rate=0.3, **more)],
    )


def test_variances_and_rates_of_groups_follow_schedules():
    m, eta = table(0.2, 2.0, 1.0), table(0.3, 1.0, 0.1, interpolation="cubic")
    given = grouped(learning_rate={"x": eta, "z": 0.5}, input_variance={"main": {"x": m, "z": 0.6}})
    points = CommitteePoints(given, {})
    frame, y = points.start()
    base = points.committee(given.phases[0], frame)

    def rhs(t, y):
        mt = np.array([m(t), 0.6])
        inputs = base.inputs._replace(
            pace=np.array([eta(t), 0.5]), law=np.zeros(1, dtype=int),
            ss=(0.64 * mt + [0.09, 0.0])[None], st=0.8 * mt[None], tt=mt[None],
        )  # fmt: skip
        return transcription_groups.rhs(y, 1.0, 0.3, base._replace(inputs=inputs))

    end = y[0]
    for span in ((0.0, 2.0), (2.0, 6.0)):
        end = solve_ivp(rhs, span, end, "DOP853", rtol=1e-9, atol=1e-12).y[:, -1]
    Q, _, v = points.unpack(end[None])
    for method in (None, "RK45", "Rodas5P"):
        run = ok.solve(given, t_eval=[0.0, 6.0], method=method, **TIGHT)
        assert_allclose(run.Q_group.values[-1], Q[0], rtol=2e-7)
        assert_allclose(run.readout.values[-1], v[0], rtol=2e-7)
    # Errors are those at the task's own variance.
    rest = ok.solve(grouped(learning_rate=0.5), t_eval=[0.0, 6.0])
    assert_allclose(run.generalization_error[0], rest.generalization_error[0], rtol=1e-12)


# ----------------------------------------------------------------------------- structured problems


@pytest.mark.parametrize("method", [None, "RK45", "Rodas5P"])
def test_structured_problems_follow_theirs(method, expected):
    """Masks that mask nothing take the problem to the equations in full."""
    kept = {**vars(MOVING), "keep_probability": table(1.0, 1.0, 1.0)}
    given = problem(BEFORE, ok.Phase(**kept))
    run = ok.solve(given, t_eval=[0.0, 10.0], method=method, **TIGHT)
    for name, value in zip(("Q", "R", "readout"), expected, strict=True):
        assert_allclose(run[name].values[-1], value, rtol=2e-7, atol=2e-9)


def test_masks_follow_a_staircase():
    def phase(duration, keep):
        return ok.Phase("a", duration, 0.5, 0.3, keep_probability=keep)

    whole = problem(phase(3.0, staircase(1.0, 0.4)))
    parts = problem(phase(1.0, 1.0), phase(2.0, 0.4))
    one, two = (ok.solve(x, t_eval=[0.0, 3.0], **TIGHT) for x in (whole, parts))
    assert_allclose(one.Q.values, two.Q.values, rtol=1e-8)
    with pytest.raises(ok.ProblemError, match=r"`keep_probability` must be >= 0.*got 1\.2"):
        phase(1.0, table(0.4, 1.2, 1.0))


# --------------------------------------------------------------------------------- finite networks


def staircase(low, high):
    return ok.Schedule([0.0, 1.0 - 1e-9, 1.0, 3.0], [low, low, high, high])


@pytest.mark.parametrize("method", ["overlaps", "weights"])
def test_networks_take_a_staircase_as_phases(method):
    """With the same random numbers."""

    def phase(duration, p, w, v, s):
        return ok.Phase({"a": p, "b": "rest"}, duration, 0.5, 0.3, weight_decay=w,
                        readout_weight_decay=v, noise_std={"a": s})  # fmt: skip

    whole = problem(phase(3.0, staircase(0.2, 0.9), staircase(0.3, 0.0), staircase(0.0, 0.4),
                          staircase(0.1, 0.6)))  # fmt: skip
    parts = problem(phase(1.0, 0.2, 0.3, 0.0, 0.1), phase(2.0, 0.9, 0.0, 0.4, 0.6))
    t = [0.0, 1.0, 2.0, 3.0]
    one, two = (
        ok.simulate(x, input_dim=200, seed=3, t_eval=t, method=method) for x in (whole, parts)
    )
    assert_allclose(one.Q.values, two.Q.values, rtol=1e-9)
    assert_allclose(one.readout.values, two.readout.values, rtol=1e-9)


@pytest.mark.parametrize("method", ["overlaps", "weights"])
def test_networks_follow_schedules_on_average(method):
    given, t = problem(BEFORE, MOVING, AFTER), np.linspace(0.0, 13.0, 5)
    run = ok.solve(given, t_eval=t)
    many = {"replicas": 8, "input_dim": 200}
    sim = ok.simulate(given, seed=1, t_eval=t, method=method, **many)
    for name in ("Q", "R", "readout"):
        spread = sim[name].std("replica") / 8**0.5 + 5e-3
        assert float((abs(sim[name].mean("replica") - run[name]) / spread).max()) < 4.0
    # And they tell it from a strength that stays what it is as the phase begins.
    still = ok.Consolidation("fisher", 0.0)
    other = ok.solve(given.replace_phase(1, consolidation=still), t_eval=t)
    away = abs(sim.R.mean("replica") - other.R) / (sim.R.std("replica") / 8**0.5 + 5e-3)
    assert float(away.max()) > 5.0


def test_networks_in_groups_follow_variances():
    m = staircase(0.2, 2.0)
    whole = grouped(
        learning_rate={"x": staircase(0.3, 0.8), "z": 0.5},
        input_variance={"main": {"x": m, "z": 0.6}},
    )
    first = whole.phases[0].during(np.array([0.5]))
    second = whole.phases[0].during(np.array([2.0]))
    parts = whole.replace(phases=[ok.Phase(**{**vars(first), "duration": 1.0}),
                                  ok.Phase(**{**vars(second), "duration": 5.0})])  # fmt: skip
    one, two = (ok.simulate(x, input_dim=200, seed=3, t_eval=[0.0, 6.0]) for x in (whole, parts))
    assert_allclose(one.Q.values, two.Q.values, rtol=1e-9)


def test_fluctuations_of_flat_schedules():
    flat = problem(ok.Phase({"a": table(0.7, 0.7, 0.7), "b": "rest"}, 4.0, 0.4, 0.2))
    plain = problem(ok.Phase({"a": 0.7, "b": 0.3}, 4.0, 0.4, 0.2))
    one, two = (
        ok.fluctuations(ok.solve(x, t_eval=[0.0, 4.0]), input_dim=500) for x in (flat, plain)
    )
    assert_allclose(one.Q_std.values, two.Q_std.values, rtol=1e-5)


# ------------------------------------------------------------------------------- files, refusals


def test_problems_come_back(tmp_path):
    given = problem(BEFORE, MOVING)
    assert ok.Problem.from_dict(given.to_dict()) == given
    assert parse_scenario(given.to_toml()).problem == given
    wide = grouped(learning_rate={"x": table(0.1, 0.2, 0.3), "z": 0.5},
                   input_variance={"main": {"x": table(0.1, 0.2, 0.3), "z": 0.6}})  # fmt: skip
    assert ok.Problem.from_dict(wide.to_dict()) == wide
    assert parse_scenario(wide.to_toml()).problem == wide
    path = tmp_path / "run.nc"
    ok.save(ok.solve(given, t_eval=[0.0, 10.0]), path)
    assert ok.open(path).odekit.problem == given
    words = phase_words(MOVING)
    assert "0.2 to 0.5 a" in words
    assert "strength from 0 to 1" in words


def test_scenarios_say_the_rest():
    text = problem(ok.Phase({"a": table(0.2, 0.9, 0.5), "b": "rest"}, 6.0, 0.3)).to_toml()
    head, _, tail = text.partition("b = { times")
    rest = head + 'b = "rest"' + tail[tail.index("}") + 1 :]
    assert parse_scenario(rest).problem == parse_scenario(text).problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": {"a": table(0.2, 0.9, 0.5), "b": 0.5}}, r"`tasks` must have.*sum to 1.*at t ="),
        ({"tasks": {"a": table(0.2, 1.9, 0.5), "b": "rest"}}, r"tasks\['a'\]` must be >= 0 and <="),
        ({"tasks": {"a": "rest", "b": "rest"}}, "one rest at most"),
        ({"tasks": {"a": 0.8, "b": 0.4, "c": "rest"}}, r"`tasks\['c'\]` must be >= 0 and <= 1"),
        ({"tasks": {"a": table(0.1, 0.2, 0.3, interpolation="cubic"),
                    "b": table(0.1, 0.2, 0.4, interpolation="cubic"), "c": "rest"}},
         r"`tasks\['c'\]` must be given where no one table"),
        ({"weight_decay": lambda t: 1.0 - t}, r"`weight_decay` must be a function giving.*>= 0"),
        ({"readout_weight_decay": "much"}, "`readout_weight_decay` must be a number"),
        ({"noise_std": {"c": 0.1}}, r"`noise_std` must name tasks of the phase \('a'\), got 'c'"),
        ({"noise_std": {"a": -0.1}}, r"`noise_std\['a'\]` must be >= 0"),
        ({"noise_std": 0.1}, "`noise_std` must be"),
        ({"consolidation": ok.Consolidation("node", lambda t: -t)}, "strength` must be"),
        ({"input_variance": {"a": {"x": 0.1}}}, r"\['a'\]` must be a number without groups"),
    ],
)  # fmt: skip
def test_mistakes_are_named(change, message):
    fields = {"tasks": "a", "duration": 6.0, "learning_rate": 0.1, **change}
    with pytest.raises(ok.ProblemError, match=message):
        problem(ok.Phase(**fields))


def test_knots_beyond_the_phase_do_nothing():
    short = {"duration": 2.0, "learning_rate": 0.3}
    whole = ok.Phase("a", weight_decay=table(0.1, 0.3, 9.0), **short)
    part = ok.Phase("a", weight_decay=table(0.1, 0.3, times=(0.0, 2.0)), **short)
    one, two = (ok.solve(problem(x), t_eval=[0.0, 2.0]) for x in (whole, part))
    assert_array_equal(one.Q.values, two.Q.values)


def test_what_knows_constants_alone_refuses():
    given = problem(ok.Phase("a", 6.0, 0.3, weight_decay=table(0.1, 0.2, 0.3)))
    with pytest.raises(ok.ProblemError, match="must have constant numbers"):
        ok.continuation(given, along="phases[0].learning_rate", between=(0.1, 0.2))
