"""The equations at every point of a sweep: the quick ways, the default one, and single problems."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

import odekit as ok
from declared import case
from networks import random_problem as random_network
from odekit.problem.axes import at, axes
from odekit.problem.points import Points
from random_problems import FEATURES, random_problem


def swept_network():
    problem, _ = random_network(5)
    rates = xr.DataArray([0.2, 0.5], dims="eta")
    return problem.replace_phase(0, learning_rate=rates)


def network_of_edges():
    """Rates of the edges' own, one of them swept and one of a schedule, and decay."""
    problem, _ = random_network(5)
    own = dict.fromkeys(problem.network.edges, 0.3)
    first, second, *_ = own
    own[first] = xr.DataArray([0.2, 0.5], dims="eta")
    own[second] = ok.Schedule([0.0, 1.0], [0.1, 0.4])
    decay = {first: xr.DataArray([0.01, 0.02, 0.0], dims="decay")}
    longer = xr.DataArray([2.0, 3.0], dims="longer")
    return problem.replace_phase(0, learning_rate=own, weight_decay=decay, duration=longer)


EVERY = {
    **{f: lambda f=f: random_problem(1, f) for f in FEATURES if f != "function"},
    "linear": swept_network,
    "edges": network_of_edges,
    "outside": lambda: case(rate=xr.DataArray([0.1, 0.4, 0.9], dims="rate")),
}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_equations_of_every_point(make):
    problem = make()
    found = axes(problem)
    points = problem.system.points(problem, found)
    frame, y = points.start()
    for index in range(len(problem.phases)):
        frame, y = points.enter(index, frame, y)
        quick = list(points.each(index, frame, 0.0))
        general = list(Points.each(points, index, frame, 0.0))
        assert len(quick) == len(general) == points.size
        for i, place in enumerate(np.ndindex(points.shape)):
            one = ok.equations(at(problem, dict(zip(found, place, strict=True))), index)
            for own in (quick[i], general[i]):
                assert_array_equal(own.rhs(0.3, y[i]), one.rhs(0.3, y[i]))
                assert_array_equal(own.jac(0.3, y[i]), one.jac(0.3, y[i]))
