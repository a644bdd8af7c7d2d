"""Pictures: what they show, that they can be read, and how they are written."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import matplotlib as mpl
import matplotlib._pylab_helpers
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import odekit as ok
from committees import assemble, provenance
from odekit.base.errors import OdekitError, ProblemError, StoreError
from odekit.base.status import Status
from odekit.cli import main
from odekit.drawing.style import DPI, WIDTH
from odekit.verbs.plot import plot_run

PNG = b"\x89PNG\r\n\x1a\n"


def result(
    K: int = 2,
    P: int = 2,
    phases: int = 1,
    tasks: tuple[str, ...] = ("main",),
    duration: float = 1e3,
    until: float | None = None,
    moving: bool = False,
    **attrs: object,
) -> xr.Dataset:
    """A made-up run: overlaps that rise from 0 to 1, an error that falls in every phase."""
    inside = np.geomspace(1e-2, duration, 60)
    time = np.concatenate([[0.0], *(i * duration + inside for i in range(phases))])
    rise = (time / (time + 10.0))[:, None, None]
    names = [tasks[i % len(tasks)] for i in range(phases)]
    problem = ok.Problem(
        state=ok.OrderParameters(Q=np.eye(K), R=np.zeros((K, P)), T=np.eye(P)),
        heads={t: np.ones(K) for t in tasks},
        tasks={t: ok.Task(np.ones(P)) for t in tasks},
        phases=[ok.Phase(n, duration, 0.1, until=until) for n in names],
    )
    readout = np.ones((time.size, len(tasks), K))
    phase = np.concatenate([[0], np.repeat(np.arange(phases), inside.size)])
    fall = np.exp(-time / duration * 5)[:, None] * np.ones(len(tasks))
    return assemble(
        {
            "Q": rise * np.eye(K),
            "R": rise * np.eye(K, P),
            "T": np.eye(P),
            "readout": readout * (1 + rise) if moving else readout,
            "generalization_error": fall,
            "phase": phase,
            "status": 0,
            "t_last": time[-1],
            "n_steps": 1,
            "n_rhs": 1,
        },
        {"time": time, "head": list(tasks), "task": list(tasks)},
        {**provenance(problem.to_dict(), "A made-up run"), **attrs},
    )


def swept(count: int, dim: str = "eta") -> xr.Dataset:
    ds = result()
    values = np.geomspace(0.1, 10, count)
    error = ds.generalization_error * xr.DataArray(values, dims=dim, coords={dim: values})
    return ds.assign(generalization_error=error.transpose(dim, "time", "task"))


def labels(figure: Figure) -> list[str]:
    return [ax.get_ylabel() for ax in figure.axes]


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_text()]


def test_panels_of_a_run() -> None:
    figure = plot_run(result())
    assert labels(figure) == [r"$\epsilon_g$", "$R_{kn}$", "$Q_{kl}$"]
    error, overlaps, norms = figure.axes
    assert (error.get_xscale(), error.get_yscale()) == ("log", "log")
    assert overlaps.get_yscale() == "linear"
    assert (len(error.lines), len(overlaps.lines), len(norms.lines)) == (1, 4, 3)
    assert norms.get_xlabel() == "time $t$ (steps / $N$)"
    assert {"$k=0$", "$k=1$", "$n=0$", "$n=1$", "A made-up run"} <= set(texts(figure))


def test_colour_is_the_student_unit_and_dashes_the_fixed_vector() -> None:
    lines = plot_run(result(K=2, P=2)).axes[1].lines
    colours, dashes = [line.get_color() for line in lines], [line.get_linestyle() for line in lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert dashes[0] == dashes[2] != dashes[1] == dashes[3]


def test_lines_carry_the_data() -> None:
    ds = result(K=2, P=2)
    lines = plot_run(ds).axes[1].lines
    np.testing.assert_array_equal(lines[3].get_ydata(), ds.R[:, 1, 1])
    np.testing.assert_array_equal(lines[3].get_xdata(), ds.time)


def test_readouts_are_drawn_when_they_move() -> None:
    assert labels(plot_run(result(moving=True)))[-1] == "$v_k$"


def test_time_axis_suits_the_run() -> None:
    assert plot_run(result(duration=1e3)).axes[0].get_xscale() == "log"
    assert plot_run(result(duration=10.0)).axes[0].get_xscale() == "linear"
    assert plot_run(result(phases=2)).axes[0].get_xscale() == "linear"
    assert plot_run(result(phases=2), time="log").axes[0].get_xscale() == "log"
    with pytest.raises(ProblemError, match="must be one of 'auto', 'log', 'linear', 'phases'"):
        plot_run(result(), time="logarithmic")


def test_every_phase_has_its_own_log_axis() -> None:
    figure = plot_run(result(phases=3, duration=1e3), time="phases")
    ax = figure.axes[0]
    place = ax.transScale.transform
    at = [place((t, 1.0))[0] for t in (0.0, 10.0, 1000.0, 1010.0, 2000.0, 3000.0)]
    np.testing.assert_allclose(np.diff([at[0], at[2], at[4], at[5]]), 1.0, atol=1e-12)
    np.testing.assert_allclose(at[1] - at[0], at[3] - at[2], atol=1e-12)
    assert at[1] > 0.4  # of the width, where 1 % of the phase has passed
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == ["$10^{1}$", "$10^{2}$"] * 3


def test_phases_and_tasks_are_marked() -> None:
    figure = plot_run(result(phases=3, tasks=("first", "second"), until=0.05))
    top = figure.axes[0]
    marks = [line.get_xdata()[0] for line in top.lines if len(set(line.get_xdata())) == 1]
    assert marks == [1000.0, 2000.0]
    annotated = [t.get_text() for t in top.texts]
    assert annotated == ["task first", "task second", "task first"]
    levels = [line for line in top.lines if set(line.get_ydata()) == {0.05}]
    assert [tuple(line.get_xdata()) for line in levels] == [
        (0.0, 1000.0),
        (1000.0, 2000.0),
        (2000.0, 3000.0),
    ]


def test_legends_cover_no_line_and_stay_inside_the_picture() -> None:
    figure = plot_run(result(K=4, P=4, phases=2, tasks=("first", "second"), moving=True))
    figure.canvas.draw()
    page = figure.bbox
    legends = figure.findobj(mpl.legend.Legend)
    assert len(legends) == 5
    panels = [ax.get_window_extent() for ax in figure.axes]
    for legend in legends:
        box = legend.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
        assert not any(box.y0 < p.y1 - 1 and box.y1 > p.y0 + 1 for p in panels)


@pytest.mark.parametrize("K", [1, 6, 7, 16])
def test_many_units_share_one_colour_bar(K: int) -> None:
    figure = plot_run(result(K=K, P=K))
    figure.canvas.draw()
    entries = sum(len(legend.get_texts()) for legend in figure.findobj(mpl.legend.Legend))
    assert entries <= 12
    assert ("student unit $k$" in labels(figure)) == (K > 6)
    assert len(figure.axes[1].lines) == K * K


def test_rounding_below_zero_is_left_out() -> None:
    ds = result()
    error = ds.generalization_error.copy()
    error[-5:] = [[-3e-14], [1e-14], [0.0], [2e-14], [5e-14]]
    shown = plot_run(ds.assign(generalization_error=error)).axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(np.isnan(shown[-5:]), [True, True, True, True, False])


def test_error_axis_has_two_numbers_even_if_nothing_moves() -> None:
    ds = result()
    flat = xr.full_like(ds.generalization_error, 0.02)
    low, high = plot_run(ds.assign(generalization_error=flat)).axes[0].get_ylim()
    assert low < 0.02 < high
    assert high / low >= 10


def test_zero_error_throughout_is_drawn_as_nothing() -> None:
    ds = result()
    figure = plot_run(ds.assign(generalization_error=xr.zeros_like(ds.generalization_error)))
    figure.canvas.draw()


def test_a_stopped_run_says_so() -> None:
    ds = result().assign(status=np.int8(Status.BLOW_UP))
    assert "stopped: blow up" in texts(plot_run(ds))


def test_names_are_text_not_formulas() -> None:
    ds = result(phases=2, tasks=("$x", "a_{"), title="100 $ \\frac")
    figure = plot_run(ds)
    figure.canvas.draw()
    assert r"task \$x" in texts(figure)


def test_sweep_is_drawn_with_a_colour_scale() -> None:
    figure = plot_run(swept(12))
    assert len(figure.axes[0].lines) == 12
    assert labels(figure) == [r"$\epsilon_g$", "eta"]
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert len(set(colours)) == 12
    bar = figure.axes[-1]
    assert bar.get_yscale() == "log"
    mappable = bar._colorbar.mappable
    assert [tuple(c) for c in mappable.to_rgba(np.geomspace(0.1, 10, 12))] == colours


def test_sweep_of_one_is_drawn_as_a_run() -> None:
    assert labels(plot_run(swept(1)))[1:] == ["$R_{kn}$", "$Q_{kl}$"]
    both = swept(5).expand_dims(draw=[0])
    assert len(plot_run(both).axes[0].lines) == 5


def test_runs_that_failed_at_once_are_drawn_as_nothing() -> None:
    ds = swept(3)
    error = ds.generalization_error.copy()
    error[1] = np.nan
    figure = plot_run(ds.assign(generalization_error=error))
    assert np.isnan(figure.axes[0].lines[1].get_ydata()).all()
    whole = ds.isel(eta=0).assign(generalization_error=error[1])
    plot_run(whole).canvas.draw()


def test_large_sweep_shows_its_last_errors() -> None:
    ax = plot_run(swept(21)).axes[0]
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), swept(21).eta)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), swept(21).generalization_error[:, -1, 0])
    assert ax.get_xscale() == "log"


def test_large_sweep_over_time_asks_to_select() -> None:
    with pytest.raises(ProblemError, match=r"sweep dimensions eta \(21\).*ds.isel\(eta=0\)"):
        plot_run(swept(21), time="log")
    with pytest.raises(ProblemError, match="must be a result of odekit"):
        plot_run(xr.Dataset({"a": 1}))


@pytest.mark.parametrize(("ending", "magic"), [("png", PNG), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_formats(tmp_path: Path, ending: str, magic: bytes) -> None:
    path = tmp_path / f"figure.{ending}"
    plot_run(result(), path)
    assert path.read_bytes().startswith(magic)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_picture_fits_a_column_and_is_the_same_each_time(tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    plot_run(result(), one)
    plot_run(result(), str(two))
    assert one.read_bytes() == two.read_bytes()
    width = int.from_bytes(one.read_bytes()[16:20], "big")
    assert width == round(WIDTH * DPI)


def test_existing_picture_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        plot_run(result(), path)
    assert path.read_text() == "mine"
    plot_run(result(), path, overwrite=True)
    assert path.read_bytes().startswith(PNG)
    with pytest.raises(ProblemError, match=r"must end in one of \.png, \.pdf, \.svg"):
        plot_run(result(), tmp_path / "figure.jpeg")
    with pytest.raises(StoreError, match="folder does not exist"):
        plot_run(result(), tmp_path / "none" / "figure.png")


def test_a_failed_drawing_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(StoreError, match="disk full"):
        plot_run(result(), tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_no_global_state_is_touched() -> None:
    before = dict(mpl.rcParams)
    plot_run(result())
    assert dict(mpl.rcParams) == before
    # Something else may have imported pyplot: then it knows of no figure.
    assert not mpl._pylab_helpers.Gcf.get_all_fig_managers()


def test_missing_matplotlib_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "odekit.verbs.plot.find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    with pytest.raises(OdekitError, match=r"pip install 'odekit\[plot\]'"):
        plot_run(result())


def test_a_system_that_is_not_known_here_shows_its_errors(tmp_path: Path) -> None:
    ds = ok.solve(
        ok.Problem(
            state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
            heads={"a": [1.0]},
            tasks={"a": ok.Task([1.0])},
            phases=ok.Phase("a", 5.0, 1.0),
        )
    )
    told = json.loads(ds.attrs["odekit_problem"]) | {"kind": "elsewhere"}
    strange = ds.assign_attrs(provenance(told, "Of another system"))
    ok.save(strange, tmp_path / "strange.nc")
    assert main(["plot", str(tmp_path / "strange.nc"), "-o", str(tmp_path / "strange.png")]) == 0
    assert labels(plot_run(strange)) == [r"$\epsilon_g$"]
    assert len(labels(plot_run(ds))) > 1
    beside = plot_run(strange, beside=[strange])
    assert [len(ax.containers) for ax in beside.axes] == [1]


def test_a_result_without_its_problem_is_drawn_by_its_variables() -> None:
    ds = result().drop_attrs(deep=False)
    assert len(labels(plot_run(ds))) == 3
    assert labels(plot_run(ds.drop_vars("R"))) == [r"$\epsilon_g$"]
