"""The numbers of a problem by name."""

import numpy as np
import pytest

import odekit as ok
from odekit.problem import names


@pytest.fixture
def problem():
    return ok.Problem(
        state=ok.OrderParameters(Q=np.eye(2), R=np.zeros((2, 2)), T=[[1.0, 0.3], [0.3, 1.0]]),
        heads={"a": [1.0, 0.5]},
        tasks={"a": ok.Task([1.0, 0.0], noise_std=0.1), "b c": ok.Task([0.0, 1.0], head="a")},
        phases=[
            ok.Phase({"a": 0.25, "b c": 0.75}, 10.0, 0.5),
            ok.Phase("b c", 10.0, 0.5, consolidation=ok.Consolidation("node", 2.0, task="a")),
        ],
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phases[0].learning_rate", 0.5),
        ("phases[1].consolidation.strength", 2.0),
        ("phases[0].tasks[b c]", 0.75),
        ("tasks[a].noise_std", 0.1),
        ("tasks['b c'].readout[1]", 1.0),
        ("heads[a][1]", 0.5),
        ("state.T[0, 1]", 0.3),
    ],
)
def test_get_and_replace(problem, name, value):
    assert names.get(problem, name) == value
    changed = names.replace(problem, name, 0.2)
    assert names.get(changed, name) == 0.2
    assert names.get(problem, name) == value
    before, after = names.numbers(problem), names.numbers(changed)
    moved = {n for n in before if before[n] != after[n]}
    plain = name.replace("'", "")
    also = {"state.T[0, 1]": "state.T[1, 0]", "phases[0].tasks[b c]": "phases[0].tasks[a]"}
    assert moved == {plain, *([also[plain]] if plain in also else [])}


def test_an_array_is_filled_or_replaced_whole(problem):
    filled = names.replace(problem, "tasks[a].readout", 0.7)
    np.testing.assert_array_equal(filled.tasks["a"].readout, [0.7, 0.7])
    whole = names.replace(problem, "heads[a]", np.array([0.1, 0.2]))
    np.testing.assert_array_equal(names.get(whole, "heads[a]"), [0.1, 0.2])


def test_probabilities_still_sum_to_one(problem):
    mixture = names.replace(problem, "phases[0].tasks[a]", 0.4).phases[0].mixture
    assert mixture == pytest.approx({"a": 0.4, "b c": 0.6})


@pytest.mark.parametrize(
    "name",
    ["phases[3].duration", "phases.x", "tasks[a]", "tasks[a].head", "phases[0].batch_size", "", 3,
     "state.T[0, 5]", "heads[z]", "phases[0]", "phases[0].learning_rate.x", "[0]", "tasks[a]x"],
)  # fmt: skip
def test_what_names_no_number_is_told(problem, name):
    with pytest.raises(ok.ProblemError, match=r"`along` must name a number.*phases\[0\]"):
        names.get(problem, name, "along")


def test_every_number_has_a_name_that_leads_to_it(problem):
    for name, value in names.numbers(problem).items():
        assert names.get(problem, name) == value


def test_the_problem_checks_what_it_is_given(problem):
    with pytest.raises(ok.ProblemError, match=r"noise_std.*>= 0"):
        names.replace(problem, "tasks[a].noise_std", -1.0)


def test_numbers_of_other_systems():
    net = ok.linear.deep([1, 1, 1])
    linear = ok.LinearProblem(
        network=net,
        weights={edge: [[0.5]] for edge in net.edges},
        tasks=ok.linear.Correlations(yx=[[2.0]], xx=[[1.0]]),
        phases=ok.Phase("main", 1.0, 1.0),
    )
    known = names.numbers(linear)
    assert known["phases[0].learning_rate"] == 1.0
    (name,) = [n for n, v in known.items() if v == 2.0]
    assert names.get(names.replace(linear, name, 1.5), name) == 1.5
