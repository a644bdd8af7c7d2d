"""Draw measures of a sweep against its dimensions: lines, or maps."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from odekit.base.errors import ProblemError
from odekit.drawing.figure import LINES, FigureTable, is_numeric, text
from odekit.drawing.style import UNITS, WIDTH, Page, colormap, literal, scale_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P")
HEIGHT, MAP_HEIGHT = 1.65, 2.1
COLUMN, WIDEST = 2.4, 7.0
"""Inches for every further column of panels, and for the whole page."""
MOST_MARKERS = 30
ACROSS = 32
"""Letters along the vertical axis of a panel."""
TITLE_LETTERS = 15
"""Of a title, that fit into an inch."""


def draw(ds: xr.Dataset, figure: FigureTable, arrays: Sequence[xr.DataArray]) -> Figure:
    """Draw every measure of a figure in a panel of its own, one below the other.

    Parameters
    ----------
    ds : Dataset
        A sweep.
    figure : FigureTable
        What `figure_of` or `default_figure` returned: the measures, the dim along the
        horizontal axis, and those shown by colour (`hue`), by columns of panels, or up the
        vertical axis of a map (`y`).
    arrays : sequence of DataArray
        The measures over the dims of the sweep; the name of each is the figure's, and its
        attribute ``long_name`` says it in words.

    Returns
    -------
    matplotlib.figure.Figure
    """
    bars = [_errors(array, figure) for array in arrays]
    arrays = [_averaged(array, figure) for array in arrays]
    columns = [None] if figure.column is None else list(range(ds.sizes[figure.column]))
    page, axes = _page(ds, figure, len(arrays), len(columns))
    for row, array, bar in zip(axes, arrays, bars, strict=True):
        for ax, i in zip(row, columns, strict=True):
            panel = array if i is None else array.isel({figure.column: i})
            if figure.y is None:
                _lines(ax, panel, figure)
                if bar is not None:
                    _bars(ax, panel, bar if i is None else bar.isel({figure.column: i}), figure)
            else:
                _map(ax, panel, array, figure)
        _value_axis(row, array, figure)
    _label_columns(axes[0], ds, figure)
    for ax in axes[-1]:
        ax.set_xlabel(_said(text(figure, figure.x)))
    if figure.y is None:
        _key(page, axes, ds, figure)
    return page


def _errors(array: xr.DataArray, figure: FigureTable) -> xr.DataArray | None:
    """Standard errors of the means; of fractions those of a binomial distribution."""
    if not figure.bars or not figure.mean:
        return None
    spread = array.std(figure.mean, ddof=1) / array.count(figure.mean) ** 0.5
    return _averaged(spread, figure.model_copy(update={"mean": []}))


def _averaged(array: xr.DataArray, figure: FigureTable) -> xr.DataArray:
    """The measure over the dims that are shown, in their order."""
    array = array.mean(figure.mean, keep_attrs=True)
    shown = [d for d in (figure.column, figure.hue, figure.y, figure.x) if d is not None]
    array = array.isel({d: 0 for d in array.dims if d not in shown and array.sizes[d] == 1})
    left = [str(d) for d in array.dims if d not in shown]
    if left:
        raise ProblemError("figure", "must show every dim of the sweep", ", ".join(left), "")
    return array.transpose(*shown)


def _page(
    ds: xr.Dataset, figure: FigureTable, rows: int, columns: int
) -> tuple[Figure, list[list[Axes]]]:
    width = min(WIDTH + COLUMN * (columns - 1), WIDEST)
    height = HEIGHT if figure.y is None else MAP_HEIGHT
    page = Page(figsize=(width, height * rows + 0.7), layout="constrained")
    FigureCanvasAgg(page)
    axes = page.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    title = literal(ds.attrs.get("title", ""))
    page.suptitle("\n".join(textwrap.wrap(title, int(TITLE_LETTERS * width))[:3]), fontsize=8)
    return page, [list(row) for row in axes]


# ------------------------------------------------------------------------------------------- lines


def _lines(ax: Axes, panel: xr.DataArray, figure: FigureTable) -> None:
    """One line for every value of the hue."""
    x = _positions(ax, panel, figure.x)
    low, high = float(panel.min()), float(panel.max())
    if low <= 0 <= high:
        ax.axhline(0.0, color="0.75", lw=0.6, zorder=0)
    count = 1 if figure.hue is None else panel.sizes[figure.hue]
    for i, (colour, marker) in zip(range(count), _styles(panel, figure), strict=False):
        values = panel.values if figure.hue is None else panel.isel({figure.hue: i}).values
        # Lines that coincide stay visible: the later ones are thinner.
        width = 1.8 - 0.8 * i / max(count - 1, 1) if marker else 1.2
        shown = marker if len(x) <= MOST_MARKERS else None
        ax.plot(x, values, color=colour, marker=shown, ms=3.2, lw=width, mew=0, clip_on=False)


def _bars(ax: Axes, panel: xr.DataArray, bars: xr.DataArray, figure: FigureTable) -> None:
    """Standard errors on every line."""
    x = _positions(ax, panel, figure.x)
    count = 1 if figure.hue is None else panel.sizes[figure.hue]
    for i, (colour, _) in zip(range(count), _styles(panel, figure), strict=False):
        y, half = (a if figure.hue is None else a.isel({figure.hue: i}) for a in (panel, bars))
        ax.errorbar(x, y.values, half.values, fmt="none", ecolor=colour, elinewidth=0.8)


def _styles(panel: xr.DataArray, figure: FigureTable) -> Iterator[tuple[Any, str | None]]:
    """Colour and marker of each line: told apart one by one, or along a scale."""
    if figure.hue is None or _few(panel, figure.hue):
        yield from zip(UNITS, MARKERS, strict=True)
        return
    values, norm = scale_of(panel[figure.hue].values)
    for v in values:
        yield colormap()(norm(v)), None


def _few(array: xr.DataArray | xr.Dataset, dim: str) -> bool:
    return array.sizes[dim] <= LINES


def _key(page: Figure, axes: list[list[Axes]], ds: xr.Dataset, figure: FigureTable) -> None:
    """What the colours mean: a legend below the panels, or a scale beside them."""
    if figure.hue is None:
        return
    label = _said(text(figure, figure.hue))
    if not _few(ds, figure.hue):
        _, norm = scale_of(ds[figure.hue].values)
        every = [ax for row in axes for ax in row]
        page.colorbar(mpl.cm.ScalarMappable(norm, colormap()), ax=every, label=label, pad=0.02)
        return
    names = [_value(figure, figure.hue, v) for v in _coordinate(ds, figure.hue)]
    lines = axes[0][0].lines[-len(names) :]
    # As many in a row as fit, at some six hundredths of an inch for a letter.
    width = page.get_size_inches()[0] / (0.45 + 0.06 * max(map(_letters, names)))
    page.legend(lines, names, loc="outside lower center", ncols=max(1, min(len(names), int(width))))


# -------------------------------------------------------------------------------------------- maps


def _map(ax: Axes, panel: xr.DataArray, whole: xr.DataArray, figure: FigureTable) -> None:
    """Colours for the measure, and lines where it has the figure's levels."""
    x, y = _positions(ax, panel, figure.x), _positions(ax, panel, str(figure.y), vertical=True)
    values = np.ma.masked_invalid(panel.values)
    edges = (_edges(x, ax.get_xscale()), _edges(y, ax.get_yscale()))
    norm = Normalize(float(whole.min()), float(whole.max()))
    ax.pcolormesh(*edges, values, cmap="viridis", norm=norm, rasterized=True)
    inside = [level for level in figure.levels if values.min() < level < values.max()]
    if inside:
        lines = ax.contour(x, y, values, levels=inside, colors="white", linewidths=1.2)
        ax.clabel(lines, fontsize=6.5, fmt="%g")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


def _edges(centres: Any, scale: str) -> Any:
    """Borders of the cells around points, half-way on the axis' scale."""
    at = np.log(centres) if scale == "log" else np.asarray(centres, dtype=float)
    middle = 0.5 * (at[1:] + at[:-1])
    step = (at[1] - at[0], at[-1] - at[-2]) if at.size > 1 else (1.0, 1.0)
    edges = np.concatenate([[at[0] - step[0] / 2], middle, [at[-1] + step[1] / 2]])
    return np.exp(edges) if scale == "log" else edges


# -------------------------------------------------------------------------------------------- axes


def _positions(ax: Axes, panel: xr.DataArray, dim: str, vertical: bool = False) -> Any:
    """Where the values of a dim stand; on a logarithmic axis if that suits them better."""
    axis, name = (ax.yaxis, "y") if vertical else (ax.xaxis, "x")
    values = _coordinate(panel, dim)
    if not is_numeric(values):
        axis.set_ticks(range(len(values)), [literal(v) for v in values])
        return np.arange(len(values))
    if _is_logarithmic(values):
        ax.set(**{f"{name}scale": "log"})
        axis.set_minor_formatter(NullFormatter())
    return values


def _is_logarithmic(values: Any) -> bool:
    """Whether values are spaced more evenly in their logarithms than as they are."""
    if len(values) < 3 or min(values) <= 0:
        return False
    ratios, steps = np.diff(np.log(values)), np.diff(values)
    return bool(np.std(ratios) / abs(np.mean(ratios)) < np.std(steps) / abs(np.mean(steps)))


def _value_axis(row: list[Axes], array: xr.DataArray, figure: FigureTable) -> None:
    label = _said(text(figure, str(array.name), array.attrs["long_name"]))
    if figure.y is None:
        row[0].set_ylabel(_wrapped(label, ACROSS))
        row[0].margins(y=0.08)
        return
    row[0].set_ylabel(_said(text(figure, figure.y)))
    label = _wrapped(label, ACROSS + 10)
    row[0].figure.colorbar(row[-1].collections[0], ax=row, label=label, pad=0.02)


def _label_columns(row: list[Axes], ds: xr.Dataset, figure: FigureTable) -> None:
    if figure.column is not None:
        for ax, v in zip(row, _coordinate(ds, figure.column), strict=True):
            ax.set_title(_value(figure, figure.column, v))


def _coordinate(ds: Any, dim: str) -> Any:
    return ds[dim].values


# ------------------------------------------------------------------------------------------- words


def _value(figure: FigureTable, dim: str, value: Any) -> str:
    """A value of a dim for a legend: a name alone, a number with its symbol."""
    if isinstance(value, str):
        return _said(figure.labels.get(value, literal(value)))
    label = text(figure, dim)
    symbol = label[label.find("$") :] if label.count("$") == 2 else label
    return _said(f"{symbol} = {value:.4g}")


def _wrapped(label: str, most: int) -> str:
    """A label in two lines if it is long, the second one from its formula on."""
    if _letters(label) <= most:
        return label
    parts = re.findall(r"\$[^$]*\$|\S+", label)
    formulas = [i for i, part in enumerate(parts) if part.startswith("$")]
    first = formulas[0] if formulas and formulas[0] else (len(parts) + 1) // 2
    return " ".join(parts[:first]) + "\n" + " ".join(parts[first:])


def _letters(label: str) -> int:
    """How many letters wide a label is, about, without the marks of its formulas."""
    return len(re.sub(r"[\\${}^_]", "", re.sub(r"\\[A-Za-z]+", "x", label)))


def _said(label: str) -> str:
    """A label whose formulas can be set; one that cannot is shown as it is written."""
    from matplotlib.mathtext import MathTextParser

    if label.count("$") % 2 == 0:
        try:
            MathTextParser("path").parse(label)
        except ValueError:
            return literal(label)
        return label
    return literal(label)
