"""Draws the gallery: pictures of the papers' figures, and the tables of numbers on its pages.

python docs/gallery/make.py                     everything
python docs/gallery/make.py jarvis_2025         one page
python docs/gallery/make.py jarvis_2025/timing  one figure: its picture, its table on the screen

Pages hold their words; what stands between "<!-- numbers: FIGURE -->" and "<!-- end -->" is put
there. The exit code is 1 if a number is not what it should be.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time
from pathlib import Path

import matplotlib as mpl
from entry import Figure, Row
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture

from odekit.drawing.style import STYLE

HERE = Path(__file__).parent
PAPERS = (
    "jarvis_2025",
    "lee_2022",
    "kunin_2024",
    "domine_2025",
    "zhang_2024",
    "saxe_2022",
    "haste_2025",
    "rubruck_2024",
    "kleinman_2024",
    "decay",
)
HEAD = ("", "paper or closed form", "reference", "from", "odekit", "deviation", "allowed")
BLOCK = re.compile(r"(<!-- numbers: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
DPI = 130


def figures(paper: str) -> dict[str, Figure]:
    """Figures of a page by name."""
    found: dict[str, Figure] = importlib.import_module(paper).FIGURES
    return found


def known() -> list[str]:
    """Names of all figures."""
    return [f"{paper}/{name}" for paper in PAPERS for name in figures(paper)]


def table(rows: list[Row]) -> str:
    """Rows in Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *(row.texts() for row in rows)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def filled(page: str, tables: dict[str, str]) -> str:
    """A page with its tables in place."""
    return BLOCK.sub(lambda m: m[1] + tables[m[2]] + m[3], page)


def picture(figure: Figure, found: object, path: Path) -> None:
    """Draw what a run found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        empty = Picture(figsize=figure.size, layout="constrained")
        FigureCanvasAgg(empty)
        figure.draw(empty, found)
        empty.savefig(path, dpi=DPI)


def make(paper: str, name: str, folder: Path) -> list[Row]:
    """Run a figure, draw it, and return its numbers."""
    began = time.perf_counter()
    figure = figures(paper)[name]
    found = figure.run(True)
    picture(figure, found, folder / "figures" / f"{paper}_{name}.png")
    rows = figure.numbers(found)
    print(f"{paper}/{name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    for row in rows:
        if not row.as_said:
            print(f"  off: {' | '.join(row.texts())}", file=sys.stderr)
    return rows


def main() -> int:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="PAGE[/FIGURE]")
    parser.add_argument("-o", "--output", type=Path, default=HERE, help="folder")
    arguments = parser.parse_args()
    good = True
    for asked in arguments.names or PAPERS:
        if asked not in (*PAPERS, *known()):
            parser.error(f"no figure {asked!r}; there are {', '.join(known())}")
        paper, _, chosen = asked.partition("/")
        names = [chosen] if chosen else list(figures(paper))
        rows = {name: make(paper, name, arguments.output) for name in names}
        good &= all(row.as_said for name in names for row in rows[name])
        tables = {name: table(rows[name]) for name in names}
        if chosen:
            print(tables[chosen], end="")
        else:
            page = (HERE / f"{paper}.md").read_text()
            (arguments.output / f"{paper}.md").write_text(filled(page, tables))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
