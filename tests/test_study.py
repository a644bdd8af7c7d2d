"""The study of continual learning: what its scenarios show, on smaller sweeps of the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit import measures
from odekit.cli import main
from odekit.verbs.scenario import load_scenario, parse_scenario

DATA = Path(__file__).parents[1] / "data"
STUDY = (
    "consolidation",
    "forgetting_similarity",
    "replay",
    "specialisation_map",
    "wide_students",
)
SCHEMES = '"large even", "small uneven", "small even", "large uneven"'
SIMILARITIES = "values = [0.0, 0.15, 0.3, 0.6, 1.0]"
ACCURATE = 1e-6
"""Errors at the switch and at the end are a few 1e-6: specialised units still creep there."""


def small(name: str, *changes: tuple[str, str]) -> xr.Dataset:
    """The result of a scenario of the study with some of its values changed."""
    text = (DATA / f"{name}.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    ds = ok.solve(parse_scenario(text).problem)
    assert (ds.status == 0).all()
    return ds


@pytest.fixture(scope="module")
def similarity() -> xr.Dataset:
    two = [
        (SCHEMES, '"large even", "small uneven"'),
        ("[1.0, 1e-3, 1e-3, 1.0]", "[1.0, 1e-3]"),
        ("[0.7853981633974483, 0.3, 0.7853981633974483, 0.3]", "[0.7853981633974483, 0.3]"),
    ]
    return small("forgetting_similarity", ("linspace = [0.0, 1.0, 41]", SIMILARITIES), *two)


def at_switch(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(time=measures.switch_row(ds))


def test_both_tasks_are_learned(similarity: xr.Dataset) -> None:
    errors = similarity.generalization_error
    assert float(at_switch(similarity).generalization_error.sel(task="1").max()) < 5 * ACCURATE
    assert float(errors.isel(time=-1).sel(task="2").max()) < 5 * ACCURATE


def test_large_even_readouts_leave_redundant_units(similarity: xr.Dataset) -> None:
    Q = at_switch(similarity).Q.sel(scheme="large even")
    # The units differ at first by σ_w / √N = 1e-5 of the teacher's length and by σ_w = 1e-3.
    np.testing.assert_allclose(Q, 1.0, atol=1e-3)


def test_forgetting_of_redundant_units_falls_monotonically(similarity: xr.Dataset) -> None:
    F = measures.final(measures.forgetting(similarity)).sel(scheme="large even")
    assert (F.diff("similarity") < 0).all()
    # At V = 0 both units leave the first task: its head then answers with the second one's unit.
    assert float(F.sel(similarity=0)) == pytest.approx(1 / 3, abs=1e-3)
    assert abs(float(F.sel(similarity=1))) < 5 * ACCURATE


def test_forgetting_of_specialised_units_is_largest_in_between(similarity: xr.Dataset) -> None:
    F = measures.final(measures.forgetting(similarity)).sel(scheme="small uneven")
    ends = F.sel(similarity=[0.0, 1.0])
    assert float(abs(ends).max()) < 0.02 * float(F.max())
    assert float(F.idxmax("similarity")) == 0.3
    assert float(F.max()) > 0.2
    # The spare unit takes the second task where the tasks differ, and not where they are alike.
    cosine = abs(measures.student_cosine(similarity)[..., -1, 0, 1]).sel(scheme="small uneven")
    assert float(cosine.sel(similarity=0)) < 0.25
    assert float(cosine.sel(similarity=0.6)) > 0.99


def test_readouts_decide_below_the_boundary_and_the_draw_above() -> None:
    ds = small(
        "specialisation_map",
        ("geomspace = [0.0316, 31.6, 60]", "values = [0.1, 1.0, 17.8]"),
        ("linspace = [0.0, 0.7853981633974483, 60]", "values = [0.0, 0.3, 0.6]"),
    )
    entropy = measures.contribution_entropy(ds)[..., -1, 0, 0]
    spread = (entropy.max("draw") - entropy.min("draw")).max("angle")
    assert (spread.sel(gain=[0.1, 1.0]) < 0.04).all()
    assert float(spread.sel(gain=17.8)) > 0.5
    below = entropy.sel(gain=[0.1, 1.0])
    assert (below.sel(angle=0.0) < 0.01).all()
    assert (below.sel(angle=0.3) < 0.5).all()  # the boundary is at 0.45 to 0.47
    assert (below.sel(angle=0.6) > 0.5).all()


def test_consolidation_trades_transfer_for_memory() -> None:
    ds = small(
        "consolidation",
        ("geomspace = [1e-3, 1e3, 25]", "values = [1e-3, 0.1, 1.0, 100.0]"),
        ("values = [0.0, 0.4, 0.8]", "values = [0.4]"),
    )
    F = measures.final(measures.forgetting(ds)).isel(similarity=0)
    gained = measures.final(measures.transfer(ds)).isel(similarity=0)
    assert (F.diff("strength") < 0).all()
    assert (gained.diff("strength") < ACCURATE).all()
    assert (F.sel(strength=100.0) < 1e-3).all()
    lost = 1 - gained.sel(strength=1.0) / gained.sel(strength=1e-3)
    # A spare unit has little Fisher information: it is free to learn.
    assert float(lost.sel(scheme="specialised")) < 0.02 < float(lost.sel(scheme="redundant"))
    assert float(F.sel(strength=1.0, scheme="specialised")) < 0.003


def test_replay_reduces_forgetting() -> None:
    fractions = "[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]"
    ds = small(
        "replay",
        (fractions, "[0.001, 0.02, 0.1]"),
        ("[0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5]", "[0.999, 0.98, 0.9]"),
        ("values = [0.0, 0.4, 0.8]", "values = [0.4]"),
    )
    F = measures.forgetting(ds)
    assert (measures.maximum(F).diff("replay") < 0).all()
    assert (measures.final(F).sel(replay=0.001) > 0.1).all()
    assert (measures.final(F).sel(replay=0.1) < 1e-3).all()
    second = ds.generalization_error.isel(time=-1).sel(task="2")
    assert float(second.max()) < 1e-3


def test_wide_students_show_the_same() -> None:
    ds = small("wide_students", ("linspace = [0.0, 1.0, 25]", "values = [0.0, 0.25, 0.6, 1.0]"))
    F = measures.final(measures.forgetting(ds))
    assert (F.sel(scheme="large even").diff("similarity") < 0).all()
    uneven = F.sel(scheme="small uneven")
    assert float(uneven.idxmax("similarity")) == 0.25
    assert float(uneven.sel(similarity=0)) < 0.3 * float(uneven.max())
    assert (abs(F.sel(similarity=1)) < 1e-3).all()


@pytest.mark.parametrize("name", STUDY)
def test_scenario_is_complete(name: str) -> None:
    scenario = load_scenario(DATA / f"{name}.toml")
    assert scenario.figure is not None
    assert scenario.description
    assert scenario.references
    assert f"`{name}.toml`" in (DATA / "README.md").read_text()
    page = (DATA.parent / "docs" / "continual-learning.md").read_text()
    assert f"odekit run data/{name}.toml -o " in page
    picture = DATA.parent / "docs" / "figures" / f"{name}.png"
    assert f"figures/{name}.png" in page
    assert picture.stat().st_size < 150_000


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDY)
def test_scenario_runs_and_obeys_the_laws(name: str, tmp_path: Path) -> None:
    out, picture = str(tmp_path / "out.nc"), tmp_path / "out.png"
    assert main(["run", str(DATA / f"{name}.toml"), "-o", out, "--plot", str(picture)]) == 0
    assert main(["validate", out]) == 0
    assert picture.stat().st_size > 10_000


# ------------------------------------------------------------- labelled arguments of the builders


def axis(name: str, *values: float) -> xr.DataArray:
    return xr.DataArray(np.array(values), dims=name, coords={name: list(values)})


def test_polar_sweeps_radius_and_angles() -> None:
    r, theta = axis("r", 1.0, 2.0), axis("theta", 0.1, 0.2, 0.3)
    both = ok.polar(r, theta)
    assert both.dims == ("r", "theta", "student")
    np.testing.assert_array_equal(both.sel(r=2.0, theta=0.3), ok.polar(2.0, 0.3))
    whole = xr.DataArray([[0.1, 0.2], [0.3, 0.4]], dims=("case", "student"))
    np.testing.assert_array_equal(ok.polar(1.0, whole)[1], ok.polar(1.0, [0.3, 0.4]))
    three = ok.polar(1.0, [0.4, theta])
    np.testing.assert_array_equal(three.sel(theta=0.2), ok.polar(1.0, [0.4, 0.2]))


def test_polar_takes_any_number_of_combinations() -> None:
    r, theta = axis("r", *np.geomspace(1e-3, 1, 1000)), axis("theta", *np.linspace(0, 1, 1000))
    every = ok.polar(r, theta)
    assert every.shape == (1000, 1000, 2)
    np.testing.assert_array_equal(every[17, 23], ok.polar(r.values[17], theta.values[23]))


def test_imbalance_sweeps_scale_and_gain() -> None:
    std, readout = ok.imbalance(0.1, axis("gain", 0.5, 2.0))
    assert std.dims == readout.dims == ("gain",)
    for gain in (0.5, 2.0):
        expected = ok.imbalance(0.1, gain)
        assert (float(std.sel(gain=gain)), float(readout.sel(gain=gain))) == expected


def test_draw_sweeps_the_weights_with_one_seed() -> None:
    keywords = {"input_dim": 1000, "seed": 3}
    std, T = axis("std", 0.1, 0.5), ok.teachers.rotated(1, axis("V", 0.0, 0.9))
    swept = ok.OrderParameters.draw(2, T, weight_std=std, **keywords)
    assert set(swept.Q.dims) == {"V", "std", "student", "student_other"}
    one = ok.OrderParameters.draw(2, ok.teachers.rotated(1, 0.9), weight_std=0.5, **keywords)
    np.testing.assert_array_equal(swept.Q.sel(V=0.9, std=0.5), one.Q)
    np.testing.assert_array_equal(swept.R.sel(V=0.9, std=0.5), one.R)
    drawn = ok.OrderParameters.draw(2, 1, weight_std=std, draws=3, **keywords)
    many = ok.OrderParameters.draw(2, 1, weight_std=0.1, draws=3, **keywords)
    assert drawn.Q.dims == ("std", "draw", "student", "student_other")
    np.testing.assert_array_equal(drawn.R.sel(std=0.1), many.R)
    units = xr.DataArray([0.1, 0.2], dims="student")
    each = ok.OrderParameters.draw(2, 1, weight_std=units * std / 0.1, **keywords)
    plain = ok.OrderParameters.draw(2, 1, weight_std=[0.1, 0.2], **keywords)
    # units * std / 0.1 rounds once.
    np.testing.assert_allclose(each.Q.sel(std=0.1), plain.Q, rtol=1e-14)
