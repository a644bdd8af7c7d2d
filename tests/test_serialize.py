"""A problem as plain data, and back without a bit lost."""

import json
import string

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import odekit as ok
from odekit import cli
from odekit.dataset.provenance import problem_of
from odekit.dataset.result import prepare
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import axes
from odekit.sweeps.block import blank

rates = st.floats(0, 1e6, allow_subnormal=False)
positive = st.floats(1e-9, 1e9)
# Names of the plain data's own keys among them: a task may be called "dims".
names = st.one_of(
    st.sampled_from(
        [
            "dims",
            "values",
            "coords",
            "variable",
            "sha256",
            "times",
            "interpolation",
            "head",
            "tasks",
        ]
    ),
    st.text(string.ascii_letters + string.digits + " _-.,[]{}'\"", min_size=1, max_size=12),
)


@st.composite
def schedules(draw):
    steps = draw(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=6))
    values = draw(st.lists(rates, min_size=len(steps), max_size=len(steps)))
    return ok.Schedule(np.cumsum(steps), values, draw(st.sampled_from(["linear", "cubic"])))


@st.composite
def labelled(draw, numbers=rates):
    size = draw(st.integers(1, 3))
    values = draw(st.lists(numbers, min_size=size, max_size=size))
    dim = draw(st.sampled_from(["eta", "dims", "draw"]))
    coords = draw(st.sampled_from([None, np.arange(size) / 7, ["one", "two", "three"][:size]]))
    return xr.DataArray(values, dims=dim, coords=None if coords is None else {dim: coords})


@st.composite
def phases(draw, tasks, heads, K, first):
    some = draw(st.lists(st.sampled_from(tasks), min_size=1, unique=True))
    mixture = {name: 1 / len(some) for name in some} if len(some) > 1 else some[0]
    kind = draw(st.sampled_from([None, "fisher", "node", "quadratic"]))
    task = None if kind is None else draw(st.sampled_from(tasks))
    return ok.Phase(
        mixture,
        duration=draw(st.one_of(positive, labelled(positive))),
        learning_rate=draw(st.one_of(rates, labelled(), schedules())),
        readout_learning_rate=draw(st.one_of(rates, schedules())),
        until=draw(
            st.one_of(
                st.none(), positive, st.dictionaries(st.sampled_from(tasks), positive, min_size=1)
            )
        ),
        weight_decay=draw(rates),
        readout_weight_decay=draw(rates),
        batch_size=draw(st.integers(1, 2**53)),
        gradient_flow=draw(st.booleans()),
        frozen=draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=K, max_size=K))),
        consolidation=None if kind is None else ok.Consolidation(kind, draw(rates), task),
        copy_heads=draw(st.one_of(st.none(), st.just({heads[0]: heads[-1]}))),
    )


@st.composite
def problems(draw):
    K, P = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**32))
    draws = draw(st.sampled_from([None, 2]))
    start = ok.OrderParameters.draw(K, P, weight_std=0.1, input_dim=9, seed=seed, draws=draws)
    rng = np.random.default_rng(seed)
    heads = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    tasks = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    return ok.Problem(
        state=start,
        heads={name: rng.standard_normal(K) for name in heads},
        tasks={
            name: ok.Task(rng.standard_normal(P), draw(rates), head=draw(st.sampled_from(heads)))
            for name in tasks
        },
        phases=draw(st.lists(phases(tasks, heads, K, first=False), min_size=1, max_size=3)),
        activation=draw(st.sampled_from(["erf", "linear"])),
    )


@given(problems())
def test_a_problem_survives_json_exactly(problem):
    again = ok.Problem.from_dict(json.loads(json.dumps(problem.to_dict(), allow_nan=False)))
    assert again == problem
    assert list(again.heads) == list(problem.heads)
    np.testing.assert_array_equal(again.state.Q, problem.state.Q)
    for a, b in zip(again.phases, problem.phases, strict=True):
        assert vars(a).keys() == vars(b).keys()
        for name, value in vars(b).items():
            _same(getattr(a, name), value)


def _same(a, b):
    """Equal in type and value; labelled arrays in dims and coordinates too."""
    assert type(a) is type(b)
    if isinstance(b, xr.DataArray):
        xr.testing.assert_identical(a, b)
    elif isinstance(b, ok.Schedule):
        assert a.to_dict() == b.to_dict()
    elif isinstance(b, ok.Consolidation):
        assert vars(a) == vars(b)
    else:
        assert a == b


def test_numbers_keep_their_last_bit():
    odd = np.nextafter(0.1, 1)
    task = ok.Task([odd, np.pi], noise_std=np.nextafter(0.3, 0))
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[odd]], R=[[0.0, 0.0]], T=np.eye(2)),
        heads={"a": [1e-300]},
        tasks={"a": task},
        phases=[ok.Phase("a", 1.0, xr.DataArray([odd], dims="eta"))],
    )
    again = ok.Problem.from_dict(json.loads(json.dumps(problem.to_dict())))
    assert again.state.Q[0, 0] == odd
    assert again.heads["a"][0] == 1e-300
    np.testing.assert_array_equal(again.tasks["a"].readout, task.readout)
    assert again.tasks["a"].noise_std == task.noise_std
    assert again.phases[0].learning_rate.item() == odd


@pytest.mark.parametrize("names", [("dims", "values"), ("times", "values")])
def test_names_are_not_taken_for_the_keys_of_an_array_or_a_table(names):
    first, second = names
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[1.0]], R=[[0.0]], T=[[1.0]]),
        heads={first: [1.0], second: [2.0]},
        tasks={first: ok.Task([1.0]), second: ok.Task([0.5])},
        phases=[
            ok.Phase(
                {first: 0.5, second: 0.5},
                1.0,
                0.1,
                until={first: 0.1, second: 0.2},
                copy_heads={first: second, second: first},
            )
        ],
    )
    again = ok.Problem.from_dict(json.loads(json.dumps(problem.to_dict())))
    assert again == problem
    assert again.phases[0].thresholds == {first: 0.1, second: 0.2}


def test_plain_data_is_checked_as_it_is_read():
    data = ok.Problem(
        state=ok.OrderParameters(Q=[[1.0]], R=[[0.0]], T=[[1.0]]),
        heads={"a": [1.0]},
        tasks={"a": ok.Task([1.0])},
        phases=[ok.Phase("a", 1.0, 0.1)],
    ).to_dict()
    data["phases"][0]["duration"] = -1.0
    with pytest.raises(ok.ProblemError, match="duration"):
        ok.Problem.from_dict(data)


# ------------------------------------------------------------- large arrays, kept as variables


def large(coord=None, draws=1500):
    """Initial states whose numbers are above the threshold, in a run of no time."""
    start = ok.OrderParameters.draw(
        student=2, teacher=2, weight_std=0.3, input_dim=50, seed=1, draws=draws
    )
    if coord is not None:
        Q, R = (x.assign_coords(draw=coord(draws)) for x in (start.Q, start.R))
        start = ok.OrderParameters(Q=Q, R=R, T=start.T)
    return ok.Problem(
        state=start,
        heads={"a head": xr.DataArray(np.ones((draws, 2)), dims=("draw", "student"))},
        tasks={"main": ok.Task([1.0, 0.5], head="a head")},
        phases=[ok.Phase("main", 0.01, 0.5)],
    )


def without_steps(problem):
    """Its dataset, with one row and nothing integrated."""
    options, times = SolverOptions(), np.array([0.0])
    sizes = [size for size, _ in axes(problem).values()]
    result = prepare(problem, ("odekit_solver", options.to_dict()))
    return result.dataset(blank(problem, sizes, 1), times)


@pytest.mark.parametrize(
    "coord",
    [None, lambda n: np.linspace(0, 1, n), lambda n: [f"ä{i}" for i in range(n)]],
    ids=["counted", "numbers", "text"],
)
@pytest.mark.parametrize("name", ["run.nc", "run.zarr"])
def test_large_arrays_are_variables_and_come_back_identical(tmp_path, coord, name):
    problem = large(coord, draws=5000)
    ds = without_steps(problem)
    assert len(ds.attrs["odekit_problem"]) < 2000
    assert {"problem_state_Q", "problem_state_R", "problem_heads_a_head"} <= set(ds)
    back = ok.open(ok.save(ds, tmp_path / name))
    again = ok.Problem.from_dict(problem_of(back))
    assert again == problem
    assert again.state.Q.identical(problem.state.Q)
    assert again.heads["a head"].identical(problem.heads["a head"])
    # A selection of the result keeps the problem whole.
    assert ok.Problem.from_dict(problem_of(back.isel(draw=slice(3)))) == problem


def test_the_checksum_of_the_problem_holds_for_its_variables():
    ds = without_steps(large())
    edited = ds.copy(deep=True)
    edited["problem_state_Q"].values[7, 0, 0] *= 1.5
    with pytest.raises(ok.ProblemError, match="checksum"):
        problem_of(edited)
    with pytest.raises(ok.ProblemError, match="dropped"):
        problem_of(ds.drop_vars("problem_state_Q"))


def test_small_arrays_stay_in_the_text():
    ds = without_steps(large(draws=100))
    assert not [name for name in ds if str(name).startswith("problem_")]


def test_equal_arrays_are_kept_once():
    both = xr.DataArray(np.ones((5000, 2)), dims=("draw", "student"))
    problem = large().replace(
        state=ok.OrderParameters(Q=np.eye(2), R=np.zeros((2, 2)), T=np.eye(2)),
        heads={"a head": both, "b": both, "a_head": 2 * both},
    )
    ds = without_steps(problem)
    kept = [str(name) for name in ds if str(name).startswith("problem_")]
    assert kept == ["problem_heads_a_head", "problem_heads_a_head_1"]
    assert ok.Problem.from_dict(problem_of(ds)) == problem


def test_a_large_problem_is_run_again_from_its_file(tmp_path, capsys):
    ds = ok.solve(large(), t_eval=[0.0, 0.01])
    path = ok.save(ds, tmp_path / "run.nc")
    assert cli.main(["run", str(path), "-o", str(tmp_path / "again.nc")]) == 0
    again = ok.open(tmp_path / "again.nc")
    assert again.equals(ok.open(path))
    assert again.attrs["odekit_problem_sha256"] == ds.attrs["odekit_problem_sha256"]
