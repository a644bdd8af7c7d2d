"""Branches of fixed points of committees: published and independent numbers."""

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.dynamics.outcomes import BranchEnd, SpecialPoint
from odekit.verbs.show import summary

DECAY, RATE = "phases[0].weight_decay", "phases[0].learning_rate"


def committee(K, Q=1.0, R=1.0, equal=False, T=None, noise=0.0, **phase):
    """K units before K orthonormal ones, with fixed readouts of 1."""
    I, ones = np.eye(K), np.ones((K, K))
    state = (Q * ones, R * ones) if equal else (Q * I, R * I)
    return ok.Problem(
        state=ok.OrderParameters(*state, I if T is None else T),
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(np.ones(K), noise_std=noise)},
        phases=[ok.Phase("main", duration=1.0, **{"learning_rate": 1.0, **phase})],
    )


def decaying(K, **more):
    return committee(K, 0.9, 0.9, weight_decay=0.01, gradient_flow=True, **more)


def symmetric(K, **phase):
    """All units alike, near the plateau."""
    return committee(K, 1 / (2 * K - 1), 0.9 / np.sqrt(K * (2 * K - 1)), equal=True, **phase)


def kinds(ds):
    return [SpecialPoint(int(k)).word for k in ds.special_kind.values]


def points(ds, branch=0):
    return ds.isel(branch=branch, point=slice(0, int(ds.n_points[branch])))


@pytest.fixture(scope="module")
def third():
    """Specialised units of three under weight decay, round the fold."""
    return ok.continuation(decaying(3), DECAY, (0.0, 0.06))


# ---------------------------------------------------------------------------------------- numbers


def test_specialisation_under_weight_decay_ends_in_a_pitchfork_of_two_units():
    ds = ok.continuation(decaying(2), DECAY, (0.0, 0.06))
    assert kinds(ds) == ["pitchfork"]
    assert float(ds.special_parameter[0]) == pytest.approx(0.0494513633, abs=6e-11)
    assert points(ds).n_unstable.values.max() == 0


def test_and_in_a_fold_of_three_units_above_the_crossing(third):
    assert kinds(third)[:2] == ["fold", "transcritical"]
    fold, crossing = third.special_parameter.values[:2]
    assert fold == pytest.approx(0.0398539698, abs=5e-11)
    assert crossing == pytest.approx(0.0381162174, abs=5e-11)
    # All (K − 1)² directions that tell units apart meet there.
    assert int(third.special_crossing[1]) == 4


def test_the_fold_is_one_to_rounding(third):
    """f and J v vanish there, and λ ∝ √(κ_c − κ) beside it: an independent look at the flow."""
    fold = third.isel(special=0)
    kappa = float(fold.special_parameter)
    field = ok.equations(decaying(3).replace_phase(0, weight_decay=kappa))
    y = field.pack(Q=fold.special_Q, R=fold.special_R, readout=fold.special_readout)
    assert np.abs(field.rhs(0.0, y)).max() < 1e-15
    moving = field.size - 3
    singular = np.linalg.svd(field.jac(0.0, y)[:moving, :moving], compute_uv=False)
    assert singular[-1] < 1e-13 * singular[0]
    # A little below there are two, one of them stable.
    below = decaying(3).replace_phase(0, weight_decay=kappa - 1e-6)
    roots = [
        ok.fixed_point(below, guess=field.unpack(y + s * 3e-3 * direction(field, y)))
        for s in (-1, 1)
    ]
    assert all(int(r.status) == 0 for r in roots)
    assert sorted(int(r.index) for r in roots) == [0, 1]


def direction(field, y):
    """The null vector at a fold, over all entries."""
    moving = field.size - 3
    null = np.linalg.svd(field.jac(0.0, y)[:moving, :moving])[2][-1]
    return np.append(null, np.zeros(3))


def test_round_the_fold_the_points_are_those_of_a_search_by_force(third):
    """Newton's method of `fixed_point` at each κ, from the neighbour on the same side."""
    one = points(third)
    for i in range(2, one.sizes["point"], 9):
        row = one.isel(point=i)
        problem = decaying(3).replace_phase(0, weight_decay=float(row.parameter))
        found = ok.fixed_point(problem, guess=row)
        assert int(found.status) == 0
        np.testing.assert_allclose(found.R, row.R, atol=1e-9)
        np.testing.assert_allclose(found.generalization_error, row.generalization_error, atol=1e-10)
        assert int(found["index"]) == int(row.n_unstable)
        # There the readouts, which nothing moves, have eigenvalues of 0.
        values = found.eigenvalue_real.values
        own = np.sort(values[np.argsort(np.abs(values))[3:]])[::-1]
        np.testing.assert_allclose(own, row.eigenvalue_real, atol=1e-8)


def test_similar_teachers():
    def similar(V):
        T = np.array([[1.0, V], [V, 1.0]])
        start = ok.OrderParameters(Q=T, R=T, T=T)
        return committee(2, noise=0.1, learning_rate=0.5).replace(state=start)

    ds = ok.continuation(similar(0.0), similar, (-0.5, 1.0), at=0.0)
    assert kinds(ds) == ["pitchfork"]
    assert float(ds.special_parameter[0]) == pytest.approx(0.9970121036, abs=1e-10)
    one = points(ds)
    np.testing.assert_array_equal(one.T[:, 0, 1], one.parameter)


@pytest.mark.parametrize(
    ("K", "critical", "first"), [(3, 1.2880165426, 2), (4, 0.8044221231, 3)]
)  # fmt: skip
def test_more_directions_leave_the_plateau_at_higher_learning_rates(K, critical, first):
    Q = {3: (0.3058455836, 0.183244837), 4: (0.36, 0.117)}[K]
    R = {3: 0.2702182684, 4: 0.207}[K]
    at = {3: 0.5, 4: 0.5}[K]
    guess = {"Q": Q[1] + (Q[0] - Q[1]) * np.eye(K), "R": np.full((K, K), R)}
    ds = ok.continuation(symmetric(K, learning_rate=at), RATE, (0.3, critical + 0.1), start=guess)
    assert float(ds.special_parameter[0]) == pytest.approx(critical, abs=1e-10)
    assert int(ds.special_crossing[0]) == first
    one = points(ds)
    below = one.where(one.parameter < critical - 0.01, drop=True)
    assert set(below.n_unstable.values) == {(K - 1) ** 2}


@pytest.mark.parametrize(
    ("K", "critical"),
    [(1, np.pi * np.sqrt(5 / 3)), (2, 2.3068276961), (3, 1.6206745061), (4, 1.2493927807)],
)
def test_perfect_learning_loses_its_stability(K, critical):
    ds = ok.continuation(committee(K), RATE, (0.5, critical + 0.5))
    (found,) = ds.special_parameter.values
    assert found == pytest.approx(critical, abs=1e-10)
    one = points(ds)
    np.testing.assert_array_equal(one.n_unstable, one.parameter > critical)
    np.testing.assert_allclose(one.generalization_error, 0.0, atol=1e-15)


def test_the_noise_floor_runs_through_the_critical_rate_without_a_fold():
    ds = ok.continuation(committee(2, noise=0.1, learning_rate=0.5), RATE, (0.01, 3.5))
    one = points(ds)
    assert not ds.sizes["special"]
    assert np.all(np.diff(one.parameter) > 0)
    assert set(one.n_unstable.values) == {0}
    assert float(one.Q[-1, 0, 0]) > 15
    error = np.interp([0.01], one.parameter, one.generalization_error[:, 0])
    np.testing.assert_allclose(error, 1.84565e-5, rtol=5e-6)
    for rate, level in ((0.5, 1.1678016e-3), (1.0, 3.1911745e-3)):
        found = ok.fixed_point(committee(2, noise=0.1, learning_rate=rate))
        assert float(found.generalization_error[0]) == pytest.approx(level, rel=1e-7)
        i = int(np.abs(one.parameter.values - rate).argmin())
        np.testing.assert_allclose(one.generalization_error[i], level, rtol=0.2)


# --------------------------------------------------------------------------------------- switching


def two_units():
    """Two alike units under weight decay, and the specialised ones that leave them."""
    return ok.continuation(
        symmetric(2, weight_decay=0.01, gradient_flow=True), DECAY, (0, 0.06), switch=True
    )


@pytest.fixture(scope="module")
def second():
    return two_units()


def test_switching_at_a_pitchfork(second):
    assert second.sizes["branch"] == 2
    assert second.parent_branch.values.tolist() == [-1, 0]
    assert second.parent_special.values.tolist() == [-1, 0]
    assert kinds(second) == ["pitchfork"]
    alike, apart = points(second, 0), points(second, 1)
    assert set(alike.n_unstable.values[alike.parameter < 0.0494]) == {1}
    assert set(alike.n_unstable.values[alike.parameter > 0.0495]) == {0}
    assert set(apart.n_unstable.values) == {0}
    # To perfect learning without decay; the branch begins in the branch point.
    np.testing.assert_allclose(abs(apart.R[-1, 0, 0] - apart.R[-1, 0, 1]), 1.0, atol=1e-9)
    np.testing.assert_allclose(apart.parameter[0], second.special_parameter[0], atol=1e-12)
    status = [BranchEnd(int(x)) for x in second.end_status[1]]
    assert status == [BranchEnd.BRANCH_POINT, BranchEnd.RANGE]


def test_a_special_point_is_a_start(second):
    problem = symmetric(2, weight_decay=0.01, gradient_flow=True)
    ds = ok.continuation(problem, DECAY, (0, 0.06), start=second.isel(special=0))
    assert ds.sizes["branch"] == 1
    np.testing.assert_allclose(
        points(ds).generalization_error[-1], points(second, 1).generalization_error[-1], atol=1e-12
    )
    with pytest.raises(ok.ProblemError, match=r"start.*must be one special point"):
        ok.continuation(problem, DECAY, (0, 0.06), start=second)


def test_every_kind_of_branch_through_a_crossing_of_many_eigenvalues_is_found():
    """At K = 3 four directions break the symmetry of S₃ × S₃; two kinds of branches go off.

    One unit specialises, or all do: both cross, with a fold on one side, and beyond the branch
    point there are halves of three units of which all or one differ.
    """
    problem = symmetric(3, weight_decay=0.03, gradient_flow=True)
    alike = ok.continuation(problem, DECAY, (0.02, 0.06))
    assert kinds(alike) == ["transcritical"]
    ds = ok.continuation(problem, DECAY, (0.02, 0.06), start=alike.isel(special=0))
    assert ds.sizes["branch"] == 4
    folds = ds.special_parameter.values[ds.special_kind.values == SpecialPoint.FOLD]
    np.testing.assert_allclose(np.sort(folds), [0.0386186356, 0.0398539698], atol=6e-11)
    stable = [bool((points(ds, b).n_unstable[1:] == 0).any()) for b in range(4)]
    assert sum(stable) == 1


def test_the_branch_that_keeps_a_symmetry_is_found_from_those_that_broke_it(third):
    """And where these bend sharply: a small distance from the branch point decides."""
    ds = ok.continuation(decaying(3), DECAY, (0.0, 0.06), start=third.isel(special=1))
    ends = [float(points(ds, b).parameter[-1]) for b in range(ds.sizes["branch"])]
    assert sorted(ends)[-1] == 0.06

    def similar(V):
        T = np.array([[1.0, V], [V, 1.0]])
        start = ok.OrderParameters(Q=T, R=T, T=T)
        return committee(2, noise=0.1, learning_rate=0.5).replace(state=start)

    found = ok.continuation(similar(0.95), similar, (0.9, 1.0), at=0.95, switch=True)
    assert float(found.special_parameter[0]) == pytest.approx(0.9970121036, abs=1e-10)
    ends = [float(points(found, b).parameter[-1]) for b in (1, 2)]
    assert sorted(ends) == [0.9, 1.0]


def test_it_begins_at_a_fixed_point_or_a_point_of_another_branch(third):
    row = points(third).isel(point=int(third.special_point[0]) + 3)
    again = ok.continuation(decaying(3), DECAY, (0.02, 0.06), start=row)
    assert "fold" in kinds(again)
    there = float(abs(again.parameter - row.parameter).min())
    assert there < 1e-12  # the point is one of them
    found = ok.fixed_point(decaying(3))
    same = ok.continuation(decaying(3), DECAY, (0.005, 0.02), start=found)
    np.testing.assert_allclose(
        abs(same.R - found.R).sum(["student", "teacher"]).min(), 0.0, atol=1e-9
    )
    with pytest.raises(ok.ProblemError, match="one point"):
        ok.continuation(decaying(3), DECAY, (0.02, 0.06), start=third.drop_dims("special"))


def test_too_many_branches_are_said():
    problem = symmetric(2, weight_decay=0.01, gradient_flow=True)
    with pytest.warns(ok.NotCompletedWarning, match="max_branches"):
        ds = ok.continuation(problem, DECAY, (0, 0.06), switch=True, max_branches=1)
    assert ds.sizes["branch"] == 1


# ------------------------------------------------------------------------- other numbers, systems


def test_numbers_of_tasks():
    """Noise only shifts the floor; a readout is followed entry by entry, or as a whole."""
    problem = committee(2, noise=0.1, learning_rate=0.5)
    noise = points(ok.continuation(problem, "tasks[main].noise_std", (0.0, 0.3)))
    assert float(noise.generalization_error[0, 0]) < 1e-15
    i = int(np.abs(noise.parameter.values - 0.1).argmin())
    np.testing.assert_allclose(noise.parameter[i], 0.1, atol=0.02)
    whole = points(ok.continuation(problem, "tasks[main].readout", (0.9, 1.1)))
    one = points(ok.continuation(problem, "tasks[main].readout[1]", (0.9, 1.1)))
    assert (whole.n_unstable == 0).all()
    assert (
        abs(whole.R[-1, 0, 0] - whole.R[-1, 1, 1]) < 1e-10 < abs(one.R[-1, 0, 0] - one.R[-1, 1, 1])
    )


def test_trained_readouts_move_and_fixed_ones_do_not():
    trained = committee(1, noise=0.1, learning_rate=0.5, readout_learning_rate=0.5)
    ds = ok.continuation(trained, RATE, (0.1, 1.0))
    assert ds.sizes["direction"] == 3
    assert np.ptp(points(ds).readout.values) > 1e-4
    fixed = ok.continuation(committee(1, noise=0.1), RATE, (0.1, 1.0), at=0.5)
    assert fixed.sizes["direction"] == 2
    np.testing.assert_array_equal(points(fixed).readout, 1.0)


def test_an_untrained_head_is_a_family_and_stays_as_it_is():
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[1.0]], R=[[1.0]], T=[[1.0]]),
        heads={"a": [1.0], "b": [0.3]},
        tasks={"a": ok.Task([1.0], noise_std=0.2), "b": ok.Task([1.0])},
        phases=[ok.Phase({"a": 1.0, "b": 0.0}, 1.0, 0.5, readout_learning_rate=0.5)],
    )
    one = points(ok.continuation(problem, RATE, (0.1, 1.5)))
    np.testing.assert_array_equal(one.readout.sel(head="b"), 0.3)
    assert (one.n_unstable == 0).all()


def test_consolidation():
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[1.0]], R=[[1.0, 0.4]], T=[[1.0, 0.4], [0.4, 1.0]]),
        heads={"a": [1.0], "b": [1.0]},
        tasks={"a": ok.Task([1.0, 0.0]), "b": ok.Task([0.0, 1.0])},
        phases=[
            ok.Phase("a", 1.0, 0.1),
            ok.Phase("b", 1.0, 0.1, consolidation=ok.Consolidation("node", 0.1)),
        ],
    )
    ds = ok.continuation(problem, "phases[1].consolidation.strength", (0.0, 5.0), phase=1)
    one = points(ds)
    # Without it the second task is learnt; a strong one keeps the unit at its copy.
    np.testing.assert_allclose(one.R[0, 0, 1], 1.0, atol=1e-9)
    assert np.all(np.diff(one.R[:, 0, 1]) < 0)
    assert one.R[-1, 0, 0] > one.R[0, 0, 0]
    assert set(one.n_unstable.values) == {0}


def test_linear_networks():
    """Deep linear networks: one weight each, w₂ w₁ = s, and 0 where s < 0 … is a saddle."""
    net = ok.linear.deep([1, 1, 1])

    def problem(s):
        return ok.LinearProblem(
            network=net,
            weights={edge: [[0.9]] for edge in net.edges},
            tasks=ok.linear.Correlations(yx=[[s]], xx=[[1.0]]),
            phases=ok.Phase("main", 1.0, 1.0),
        )

    ds = ok.continuation(problem(1.0), problem, (0.5, 2.0), at=1.0)
    one = points(ds)
    weights = [one[name].values.ravel() for name in net.edges]
    np.testing.assert_allclose(weights[0] * weights[1], one.parameter, atol=1e-9)
    # Hyperbolas of equal products are families: one zero mode, and steps that stay balanced.
    assert set(one.n_zero.values) == {1}
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-9)


def brusselator(y, p, d):
    d.x = p.a - (p.b + 1.0) * y.x + y.x * y.x * y.y
    d.y = p.b * y.x - y.x * y.x * y.y


def distance(y, p):
    return (y.x - p.a) ** 2


def test_oscillations_of_a_declared_system():
    """The Brusselator oscillates beyond b = 1 + a², at first with the frequency a."""
    own = ok.system(
        "brusselator",
        state={"x": (), "y": ()},
        parameters={"a": (), "b": ()},
        rhs=brusselator,
        error=distance,
    )
    problem = own.problem(x=1.2, y=1.2, a=1.2, b=1.5, phases=ok.Phase("main", 1.0, 1.0))
    ds = ok.continuation(problem, "parameters[b]", (0.5, 3.0))
    assert kinds(ds) == ["hopf"]
    assert float(ds.special_parameter[0]) == pytest.approx(1 + 1.2**2, abs=1e-9)
    assert float(ds.special_frequency[0]) == pytest.approx(1.2, abs=1e-7)
    assert sorted(set(points(ds).n_unstable.values)) == [0, 2]


# ------------------------------------------------------------------------------ files and pictures


def test_it_is_saved_shown_and_drawn(second, tmp_path):
    path = ok.save(second, tmp_path / "branches.nc")
    again = ok.open(path)
    xr.testing.assert_identical(again, second)
    text = summary(again)
    assert "0: pitchfork at 0.04945136329" in text
    assert "Branch 1" in text
    figure = ok.plot.plot_run(again, tmp_path / "branches.png")
    styles = {line.get_linestyle() for line in figure.axes[0].lines}
    assert {"-", "--"} <= styles
    marks = [line.get_marker() for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert marks == ["D"]
    legend = [text.get_text() for text in figure.axes[0].artists[0].get_texts()]
    assert legend == ["stable", "unstable", "pitchfork"]
    figure = ok.plot.plot_run(again, show="R[0, 1]")
    assert figure.axes[0].get_ylabel() == "R[0, 1]"
    assert len(ok.plot.plot_run(again, show="R").axes) == 4
    for wrong in ("Z", "R[0]", "R[0, 7]", "end_status"):
        with pytest.raises(ok.ProblemError, match="show"):
            ok.plot.plot_run(again, show=wrong)


def test_lines_change_where_the_special_points_are(second):
    figure = ok.plot.plot_run(second)
    unstable = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    (dashed,) = unstable
    assert max(dashed.get_xdata()) == float(second.special_parameter[0])


def test_every_variable_is_documented(second):
    for name, variable in second.variables.items():
        assert variable.attrs.get("long_name"), name
    assert second.parameter.attrs["long_name"] == DECAY


# ------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"along": "phases[0].weight_deca"}, r"along.*Did you mean phases\[0\]\.weight_decay"),
        ({"along": "tasks[main]"}, "must name a number"),
        ({"between": (0.1, 0.0)}, "from low to high"),
        ({"between": 3.0}, "must be two numbers"),
        ({"between": (-1.0, 1.0)}, "weight_decay.*>= 0"),
        ({"at": 0.5}, "at.*within `between`"),
        ({"between": (0.02, 0.06)}, r"within `between`.*got 0\.01"),
        ({"phase": 1}, "phase"),
        ({"max_points": 1}, "max_points"),
        ({"bound": -1.0}, "bound"),
        ({"switch": 1}, "switch"),
        ({"start": {"R": np.ones((3, 3))}}, "R.*shape"),
        ({"along": "phases[0].learning_rate", "between": (0.0, 1.0)}, "nothing moves"),
        ({"along": lambda kappa: decaying(2)}, "at.*none"),
        ({"along": lambda kappa: kappa, "at": 0.01}, "must be a Problem"),
    ],
)
def test_bad_arguments_are_refused(change, words):
    with pytest.raises(ok.ProblemError, match=words):
        ok.continuation(decaying(2), **{"along": DECAY, "between": (0.0, 0.06), **change})


def test_sweeps_and_schedules_have_no_branches():
    swept = decaying(2).replace_phase(0, learning_rate=xr.DataArray([0.1, 0.2], dims="eta"))
    with pytest.raises(ok.ProblemError, match="no sweep dims"):
        ok.continuation(swept, DECAY, (0.0, 0.06))
    changing = decaying(2).replace_phase(0, learning_rate=ok.Schedule([0.0, 1.0], [1.0, 2.0]))
    with pytest.raises(ok.ProblemError, match="constant numbers"):
        ok.continuation(changing, DECAY, (0.0, 0.06))


def test_no_fixed_point_near_the_start():
    with pytest.raises(ok.ProblemError, match=r"start.*near a fixed point"):
        ok.continuation(committee(1, 30.0, 0.0, learning_rate=6.0, noise=0.5), RATE, (5.9, 6.1))


def test_what_was_computed_before_a_branch_failed_is_kept():
    with pytest.warns(ok.NotCompletedWarning, match=r"branch 0 ended at 0\.0.*max_points"):
        ds = ok.continuation(decaying(2), DECAY, (0.0, 0.06), max_points=4)
    assert int(ds.n_points[0]) == 7
    assert [BranchEnd(int(x)) for x in ds.end_status[0]] == [BranchEnd.POINTS] * 2

    def broken(kappa):
        if kappa > 0.02:
            raise ok.ProblemError("kappa", "must be at most 0.02", kappa)
        return decaying(2).replace_phase(0, weight_decay=max(kappa, 0.0))

    with pytest.raises(ok.ProblemError, match="at most"):
        ok.continuation(decaying(2), broken, (0.0, 0.06), at=0.01)


def test_equations_that_end_within_the_range():
    def broken(kappa):
        if 0.02 < kappa < 0.05:
            raise ok.ProblemError("kappa", "must be at most 0.02", kappa)
        return decaying(2).replace_phase(0, weight_decay=max(kappa, 0.0))

    with pytest.warns(ok.NotCompletedWarning, match=r"branch 0 ended at 0\.01999.*at most 0\.02"):
        ds = ok.continuation(decaying(2), broken, (0.0, 0.06), at=0.01)
    assert BranchEnd(int(ds.end_status[0, 1])) is BranchEnd.NOT_FINITE
    assert float(points(ds).parameter[-1]) == pytest.approx(0.02, abs=1e-5)
