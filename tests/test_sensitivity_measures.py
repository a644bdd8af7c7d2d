"""Derivatives of measures, through whole runs and by themselves, against differences."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from odekit.systems.committee.gradients.measured import MEASURES, Moving, Overlaps
from odekit.verbs.sensitivity import label
from test_sensitivity import FINE, SHARP, difference, everything
from test_sensitivity_structured import groups

NAMES = [
    "phases[0].learning_rate.values[1]",
    "phases[0].until",
    "phases[1].consolidation.strength",
    "phases[2].duration",
    "heads[a][0]",
    "state.R[1, 0]",
    "state.T[0, 0]",
]
OF = ["forgetting", "phase_end_error", *MEASURES]


def of_run(run, row):
    """What `odekit.measures` says of a run, in the order of `OF`."""
    end, ends = run.generalization_error.isel(time=row), run.phase_end_error
    lost = end.sel(task="a") - ends.isel(phase_index=0).sel(task="a")
    own = [getattr(ok.measures, name)(run).isel(time=row) for name in MEASURES]
    return np.concatenate([np.ravel(part) for part in (lost, ends, *own)])


@pytest.mark.parametrize("t_eval", [None, [8.0]], ids=["end", "time"])
def test_measures_of_a_run(t_eval):
    problem = everything()
    ways = [
        ok.sensitivity(problem, of=OF, wrt=NAMES, t_eval=t_eval, method=method, estimate=False,
                       **SHARP)
        for method in ("forward", "adjoint")
    ]  # fmt: skip
    one, other = (
        np.concatenate([ds[f"d_{name}"].values.reshape(-1, len(NAMES)) for name in OF])
        for ds in ways
    )
    assert np.abs(one - other).max() <= 1e-11 * np.abs(one).max()

    def found(changed):
        return of_run(ok.solve(changed, **FINE, t_eval=t_eval), -1)

    values = np.concatenate([ways[0][name].values.ravel() for name in OF])
    np.testing.assert_allclose(values, found(problem), rtol=1e-8, atol=1e-10)
    wanted = np.array([difference(problem, name, found) for name in NAMES]).T
    scale = np.maximum(np.abs(wanted).max(axis=1, keepdims=True), 1e-3)
    np.testing.assert_array_less(np.abs(one - wanted) / scale, 1e-7)


LOGS = ["generalization_error[b]", "phase_end_error[1, a]", "forgetting[a]", "R[0, 1]"]


@pytest.mark.parametrize("t_eval", [None, [8.0]], ids=["end", "time"])
def test_logarithms(t_eval):
    """Of errors, of those since the switch as `measures.forgetting` has them, and of overlaps."""
    problem, names = everything(), [f"{name}.log10" for name in LOGS]
    how = {"of": names, "wrt": NAMES, "t_eval": t_eval, "estimate": False, **SHARP}
    ways = [ok.sensitivity(problem, method=method, **how) for method in ("forward", "adjoint")]
    one, other = (
        np.concatenate([ds[f"d_{label(name)}"].values.reshape(-1, len(NAMES)) for name in names])
        for ds in ways
    )
    assert np.abs(one - other).max() <= 1e-11 * np.abs(one).max()

    def found(changed):
        run = ok.solve(changed, **FINE, t_eval=t_eval)
        error = np.log10(run.generalization_error.isel(time=-1))
        ends, R = np.log10(run.phase_end_error), np.log10(run.R[-1, 0, 1])
        lost = error.sel(task="a") - ends.isel(phase_index=0).sel(task="a")
        return np.array([error.sel(task="b"), ends.isel(phase_index=1).sel(task="a"), lost, R])

    values = np.concatenate([np.ravel(ways[0][label(name)].values) for name in names])
    np.testing.assert_allclose(values, found(problem), rtol=1e-8)
    wanted = np.array([difference(problem, name, found) for name in NAMES]).T
    scale = np.maximum(np.abs(wanted).max(axis=1, keepdims=True), 1e-3)
    np.testing.assert_array_less(np.abs(one - wanted) / scale, 1e-7)


def test_what_is_not_above_zero_has_no_logarithm():
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[-0.1]], T=[[1.0]]),
        heads={"main": [1.0]}, tasks={"main": ok.Task([1.0])}, phases=[ok.Phase("main", 0.1, 0.1)],
    )  # fmt: skip
    ds = ok.sensitivity(problem, of="R[0, 0].log10", wrt="state.R", estimate=False)
    assert np.isnan(ds["R_0_0.log10"])
    assert np.isnan(ds["d_R_0_0.log10"]).all()


def test_measures_by_themselves():
    rng = np.random.default_rng(2)
    W = rng.standard_normal((5, 6))
    C, v = W @ W.T, rng.standard_normal((2, 2, 3))
    # As many directions as there are numbers; the heads have two outputs.
    x = np.concatenate([C[:3, :3].ravel(), C[:3, 3:].ravel(), C[3:, 3:].ravel(), v.ravel()])
    cuts, shapes = np.cumsum([9, 6, 4]), ((3, 3), (3, 2), (2, 2), (2, 2, 3))

    def at(x):
        values = [p.reshape(s) for p, s in zip(np.split(x, cuts), shapes, strict=True)]
        rows = [
            p.reshape(*s, -1) for p, s in zip(np.split(np.eye(x.size), cuts), shapes, strict=True)
        ]
        return Overlaps(*(Moving(*pair) for pair in zip(values, rows, strict=True)))

    for name, of in MEASURES.items():
        found = of(at(x))
        wanted = np.empty_like(found.rows)
        for j, d in enumerate(1e-3 * np.eye(x.size)):
            near, far = (of(at(x + k * d)).values - of(at(x - k * d)).values for k in (1, 2))
            wanted[..., j] = (8 * near - far) / 12e-3
        np.testing.assert_allclose(found.rows, wanted, rtol=0, atol=1e-9, err_msg=name)


def test_an_entropy_has_no_derivative_by_a_weight_of_zero():
    one = Moving(np.array([1.0, 0.0]), np.eye(2))
    none = Moving(np.array([1.0, 0.0]), np.eye(2)[:, :1])
    Q, R, T = (Moving(np.eye(2), np.zeros((2, 2, 2))) for _ in range(3))
    of = MEASURES["readout_entropy"]
    assert np.isnan(of(Overlaps(Q, R, T, Moving(*(a[np.newaxis] for a in one)))).rows[0, 1])
    assert of(Overlaps(Q, R, T, Moving(*(a[np.newaxis] for a in none)))).rows[0, 0] == 0.0


def test_with_groups_overlaps_are_means_over_them():
    problem = groups()
    found = ok.sensitivity(problem, of=list(MEASURES), wrt="phases[1].duration", estimate=False)
    run = ok.solve(problem, t_eval=None)
    for name in MEASURES:
        wanted = getattr(ok.measures, name)(run).isel(time=-1)
        np.testing.assert_allclose(found[name].values, wanted.values, rtol=1e-6, atol=1e-8)


def test_rows_before_the_switch_have_nothing_to_forget():
    problem = everything()
    ds = ok.sensitivity(
        problem, of=["forgetting[a]", "transfer"], wrt=NAMES[0], t_eval=[0.5, 8.0], estimate=False
    )
    assert np.isnan(ds.d_forgetting_a[0])
    assert np.isnan(ds.transfer[0])
    run = ok.solve(problem, t_eval=[8.0])
    assert ds.transfer[1] == pytest.approx(
        float(run.phase_end_error[0, 1] - run.generalization_error[0, 1]), abs=1e-7
    )


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ("forgetting[b]", "never learnt"),
        ("forgetting[c]", "task"),
        ("specialised", "must be of"),
        ("phase_end[0].log10", "log10 of errors"),
        ("R.log10.mean", "must be of"),
    ],
)
def test_measures_without_derivatives_are_refused(of, said):
    with pytest.raises(ok.ProblemError, match=said) as caught:
        ok.sensitivity(everything(), of=of, wrt="phases[0].until")
    assert caught.value.argument == "of"


def test_forgetting_after_a_mixture_that_moves():
    """A task is trained where its probability is not zero throughout."""
    problem = everything().replace_phase(0, tasks={"a": lambda t: 0.5 / (1.0 + t), "b": "rest"})
    how = {"wrt": "state.R[1, 0]", "estimate": False}
    ds = ok.sensitivity(problem, of=["forgetting[a]", "forgetting[b]"], **how)
    assert np.isfinite(ds.d_forgetting_a)
    assert np.isfinite(ds.d_forgetting_b)
    with pytest.raises(ok.ProblemError, match="must name one of the tasks"):
        ok.sensitivity(problem, of="forgetting", **how)


def test_forgetting_needs_a_second_phase():
    problem = everything()
    alone = problem.replace(phases=problem.phases[:1])
    with pytest.raises(ok.ProblemError, match="two phases"):
        ok.sensitivity(alone, of="forgetting", wrt="phases[0].until")
