"""Curves of fixed points of textbook systems, whose special points are known."""

import numpy as np
import pytest

from odekit.dynamics.arclength import direction, trace
from odekit.dynamics.branches import Explorer
from odekit.dynamics.curve import Curve, Nearby
from odekit.dynamics.outcomes import BranchEnd, SpecialPoint
from odekit.dynamics.special import events, matched, unstable, zero_modes

FOLD, PITCHFORK, TRANSCRITICAL, HOPF = (
    SpecialPoint.FOLD,
    SpecialPoint.PITCHFORK,
    SpecialPoint.TRANSCRITICAL,
    SpecialPoint.HOPF,
)
LOCATED = 1e-10
"""What is promised of crossings, in units of the range."""


def curve(f, jac, between, size=1.0):
    def vector(y, mu):
        with np.errstate(invalid="ignore"):
            return np.atleast_1d(f(y, mu))

    return Curve(vector, lambda y, mu: np.atleast_2d(jac(y, mu)), between, size)


def explored(f, jac, between, y, mu, **limits):
    there = curve(f, jac, between)
    explorer = Explorer(there, **limits)
    explorer.both_ways(there.point(np.atleast_1d(np.array(y, dtype=float)), mu))
    return there, explorer


def found(f, jac, between, y, mu):
    """Kinds and parameters of the special points of the branch through a fixed point."""
    there, explorer = explored(f, jac, between, y, mu)
    return [(e.kind, there.parameter(e.z)) for e in explorer.branches[0].events]


def normal_form(quadratic, cubic):
    """(μ − 0.3) y − a y² − b y³, and a bystander that is stable."""

    def f(y, mu):
        x, w = y
        return np.array([(mu - 0.3) * x - quadratic * x**2 - cubic * x**3, x - w])

    def jac(y, mu):
        x = y[0]
        return np.array([[mu - 0.3 - 2 * quadratic * x - 3 * cubic * x**2, 0.0], [1.0, -1.0]])

    return f, jac


def cubic_fold(y, mu):
    return mu + y - y**3 / 3


def cubic_fold_jac(y, mu):
    return 1 - y**2


def oscillator(y, mu):
    x, v, w = y
    r = x * x + v * v
    return np.array(
        [(mu - 0.1) * x - 2 * v - x * r, 2 * x + (mu - 0.1) * v - v * r, x * v - 0.5 * w]
    )


def oscillator_jac(y, mu):
    x, v, _ = y
    a, r = mu - 0.1, x * x + v * v
    return np.array(
        [
            [a - r - 2 * x * x, -2 - 2 * x * v, 0.0],
            [2 - 2 * x * v, a - r - 2 * v * v, 0.0],
            [v, x, -0.5],
        ]
    )


def test_a_curve_goes_round_its_folds_which_are_found_to_rounding():
    points = found(cubic_fold, cubic_fold_jac, (-4.0, 4.0), -2.5, 2.5 - 2.5**3 / 3)
    assert [kind for kind, _ in points] == [FOLD, FOLD]
    np.testing.assert_allclose([mu for _, mu in points], [2 / 3, -2 / 3], rtol=1e-14)


def test_points_on_the_way_are_fixed_points_and_close_together():
    _, explorer = explored(cubic_fold, cubic_fold_jac, (-4.0, 4.0), 0.0, 0.0)
    (branch,) = explorer.branches
    z = np.array([spot.z for spot in branch.spots])
    assert branch.ends == (BranchEnd.RANGE, BranchEnd.RANGE)
    assert {z[0, -1], z[-1, -1]} == {0.0, 1.0}
    y, mu = z[:, 0], -4.0 + 8.0 * z[:, -1]
    np.testing.assert_allclose(cubic_fold(y, mu), 0.0, atol=1e-12)
    tangents = np.array([spot.tangent for spot in branch.spots])
    assert (tangents[1:] * tangents[:-1]).sum(axis=1).min() > 0.99


@pytest.mark.parametrize(
    ("form", "kind"),
    [((0.0, 1.0), PITCHFORK), ((1.0, 0.0), TRANSCRITICAL), ((0.7, 2.0), TRANSCRITICAL)],
)
def test_crossings_on_the_trivial_branch(form, kind):
    ((found_kind, mu),) = found(*normal_form(*form), (-1.0, 2.0), [0.0, 0.0], -0.7)
    assert found_kind is kind
    assert mu == pytest.approx(0.3, abs=3 * LOCATED)


def test_a_pitchfork_on_the_branch_that_turns_round_in_it_is_no_fold():
    """[J, f_μ] has no full rank there."""
    x = np.sqrt(0.5)
    ((kind, mu),) = found(*normal_form(0.0, 1.0), (-1.0, 2.0), [x, x], 0.8)
    assert kind is PITCHFORK
    assert mu == pytest.approx(0.3, abs=3 * LOCATED)


def test_hopf():
    there, explorer = explored(oscillator, oscillator_jac, (-1.0, 1.0), np.zeros(3), -0.5)
    (event,) = explorer.branches[0].events
    assert event.kind is HOPF
    assert there.parameter(event.z) == pytest.approx(0.1, abs=2 * LOCATED)
    assert event.frequency == pytest.approx(2.0, abs=1e-9)
    assert event.crossing == 2


def test_eigenvalues_that_cross_in_even_numbers_are_counted():
    """The determinant keeps its sign."""

    def f(y, mu):
        return y * (mu - 0.2 - y @ y)

    def jac(y, mu):
        return np.eye(2) * (mu - 0.2 - y @ y) - 2 * np.outer(y, y)

    there, explorer = explored(f, jac, (-1.0, 1.0), [0.0, 0.0], -0.5)
    (event,) = explorer.branches[0].events
    assert (event.kind, event.crossing) == (PITCHFORK, 2)
    assert there.parameter(event.z) == pytest.approx(0.2, abs=2 * LOCATED)
    # The circle of fixed points beyond is a family: one of them is followed, and stays itself.
    spots = explored(f, jac, (-1.0, 1.0), [0.3, 0.4], 0.45)[1].branches[0].spots
    outside = np.array([s.z[:-1] for s in spots if np.linalg.norm(s.z[:-1]) > 1e-3])
    np.testing.assert_allclose(outside[:, 0] * 0.4, outside[:, 1] * 0.3, atol=1e-10)
    assert max(zero_modes(s) for s in spots) >= 1


def test_as_many_up_as_down_are_not_missed():
    """Two units that exchange their stability: the number of unstable directions stays one."""

    def f(y, mu):
        return np.array([(mu - 0.3) * y[0] - y[0] ** 3, -(mu - 0.3) * y[1] - y[1] ** 3])

    def jac(y, mu):
        return np.diag([mu - 0.3 - 3 * y[0] ** 2, 0.3 - mu - 3 * y[1] ** 2])

    there, explorer = explored(f, jac, (-1.0, 2.0), [0.0, 0.0], -0.7)
    (event,) = explorer.branches[0].events
    assert event.crossing == 2
    assert there.parameter(event.z) == pytest.approx(0.3, abs=3 * LOCATED)


def test_closed_branches_close():
    def f(y, mu):
        return y**2 + mu**2 - 1

    there, explorer = explored(f, lambda y, mu: 2 * y, (-2.0, 2.0), 1.0, 0.0)
    (branch,) = explorer.branches
    assert branch.ends == (BranchEnd.CLOSED, BranchEnd.CLOSED)
    folds = sorted(there.parameter(e.z) for e in branch.events)
    np.testing.assert_allclose(folds, [-1.0, 1.0], rtol=1e-14)


def test_ends_that_are_no_end_of_the_range():
    def pole(y, mu):
        return mu - 1 + 1 / y

    ends = (
        explored(pole, lambda y, mu: -1 / y**2, (0.0, 3.0), 2.0, 0.5, bound=50.0)[1]
        .branches[0]
        .ends
    )
    assert ends == (BranchEnd.RANGE, BranchEnd.DIVERGED)
    few = explored(cubic_fold, cubic_fold_jac, (-4.0, 4.0), 0.0, 0.0, most=5)[1].branches[0]
    assert few.ends == (BranchEnd.POINTS, BranchEnd.POINTS)
    stop = explored(cubic_fold, cubic_fold_jac, (-4.0, 4.0), 0.0, 0.0, asked=lambda: True)[1]
    assert stop.branches[0].ends == (BranchEnd.INTERRUPTED, BranchEnd.INTERRUPTED)


def test_where_equations_end_the_branch_ends_and_says_so():
    def f(y, mu):
        return y - 1 - (mu - 0.1) * np.sqrt(mu - 0.1)

    there, explorer = explored(f, lambda y, mu: np.ones(1), (0.0, 1.0), 1.027, 0.19)
    (branch,) = explorer.branches
    assert branch.ends == (BranchEnd.NOT_FINITE, BranchEnd.RANGE)
    assert "not finite" in branch.reasons[0]
    assert there.parameter(branch.spots[0].z) == pytest.approx(0.1, abs=1e-6)


def test_switching_finds_the_other_branches():
    """(μ − 0.3) y − a y² − b y³: the other branch is μ = 0.3 + a y + b y²."""
    for form, halves in (((0.0, 1.0), 1), ((0.7, 2.0), 2)):
        there, explorer = explored(*normal_form(*form), (-1.0, 2.0), [0.0, 0.0], -0.7)
        assert explorer.everywhere(10)
        first, *others = explorer.branches
        # Both halves of a pitchfork's branch are one by symmetry.
        assert len(others) == halves
        for branch in others:
            assert branch.parent == (0, 0)
            y = np.array([there.state(s.z)[0] for s in branch.spots])
            mu = np.array([there.parameter(s.z) for s in branch.spots])
            np.testing.assert_allclose(mu, 0.3 + form[0] * y + form[1] * y**2, atol=1e-9)
            assert np.abs(y).max() > 0.5
        assert [unstable(s) for s in first.spots][:: len(first.spots) - 1] == [0, 1]


def test_interpolated_equations_are_those_of_the_curve():
    there = curve(*normal_form(0.7, 2.0), (-1.0, 2.0))
    z = there.point(np.array([0.2, 0.1]), 0.31)
    nearby = Nearby(there, z, 0.01)
    other = z + 0.005
    np.testing.assert_allclose(nearby.value(other), there.value(other), atol=1e-14)
    np.testing.assert_allclose(nearby.matrix(other), there.matrix(other), atol=1e-12)


def test_eigenvalues_are_followed_by_their_vectors():
    def jac(y, mu):
        return np.diag([mu, -mu, -1.0])

    there = curve(lambda y, mu: jac(y, mu) @ y, jac, (-1.0, 1.0))
    spots = [direction(there, there.point(np.zeros(3), mu)) for mu in (-0.01, 0.02)]
    np.testing.assert_allclose(spots[0].eigenvalues.real, [0.01, -0.01, -1.0])
    np.testing.assert_allclose(matched(*spots).real, [-0.02, 0.02, -1.0])


def test_tracing_needs_no_luck_with_the_size_of_the_state():
    """The fold of a state a thousand times larger."""
    there = curve(lambda y, mu: mu - (y / 1e3) ** 2, lambda y, mu: -2 * y / 1e6, (-1.0, 1.0), 1e3)
    start = direction(there, there.point(np.array([700.0]), 0.49))
    start.tangent = -start.tangent
    path = trace(there, start)
    assert path.end is BranchEnd.RANGE
    (event,) = events(there, path.spots)
    assert event.kind is FOLD
    assert there.parameter(event.z) == pytest.approx(0.0, abs=1e-15)
