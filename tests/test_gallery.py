"""The gallery: every number within its tolerance, and on its page as it is computed."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
sys.path.insert(0, str(GALLERY))  # its modules import each other, as they do when they are run

make = importlib.import_module("make")
entry = importlib.import_module("entry")

LARGEST = 100_000
"""Bytes of a picture in the repository."""


def sections(paper):
    """Parts of a page by the figure whose numbers they hold."""
    parts = re.split(r"^## ", (GALLERY / f"{paper}.md").read_text(), flags=re.MULTILINE)[1:]
    return {re.search(r"<!-- numbers: (\w+) -->", part)[1]: part for part in parts}


def table(part):
    """The cells of a section's table by the names of its rows."""
    lines = [line for line in part.splitlines() if line.startswith("| ")][2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("name", make.known())
def test_numbers(name):
    """Within tolerance of the reference, and within it of what the page says."""
    paper, _, figure = name.partition("/")
    one = make.figures(paper)[figure]
    rows = one.numbers(one.run(False))
    off = [row.texts() for row in rows if not row.as_said]
    assert not off
    page = table(sections(paper)[figure])
    for row in rows:
        _, reference, source, own, _, _ = page[row.what]
        assert [reference, source] == [row.texts()[2], row.texts()[3]]
        printed = entry.read_back(own)
        for value, (said, digit), known in zip(row.found, printed, row.known, strict=True):
            allowed = row.within * (abs(known) if row.relative else 1.0)
            allowed *= 2 if one.sampled else 1  # other draws on either side of the reference
            assert value == said or abs(value - said) <= max(1.01 * digit, allowed), row.what


@pytest.mark.parametrize("paper", make.PAPERS)
def test_page_is_complete(paper):
    """Every figure has its command, its picture, its caveat and a table without gaps."""
    found = sections(paper)
    assert list(found) == list(make.figures(paper))
    for figure, part in found.items():
        assert f"```\npython docs/gallery/make.py {paper}/{figure}\n```" in part
        picture = f"figures/{paper}_{figure}.png"
        assert f"]({picture})" in part
        assert (GALLERY / picture).stat().st_size <= LARGEST
        assert "> **Caveat.**" in part
        assert ("**missed**" in part) == ("**Missed.**" in part)
        rows = table(part)
        assert rows
        assert all(len(row) == len(make.HEAD) - 1 and row[1] and row[3] for row in rows.values())


def test_index_leads_everywhere():
    index = (GALLERY / "README.md").read_text()
    for paper in make.PAPERS:
        assert f"]({paper}.md)" in index
        for part in sections(paper).values():
            title = part.splitlines()[0]
            assert f"]({paper}.md#{anchor(title)})" in index, title


def anchor(title):
    """Of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", sorted(path.name for path in GALLERY.glob("*.md")))
def test_links(page):
    """Links within the documentation lead to files, and to headings of theirs."""
    text = (GALLERY / page).read_text()
    for target, _, place in re.findall(r"\]\(((?!https?:)[^)#]*)(#?)([^)]*)\)", text):
        path = (GALLERY / target).resolve() if target else GALLERY / page
        assert path.exists(), target
        if place:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert place in [anchor(title) for title in headings], place


def test_rows_know_their_rounding():
    row = entry.Row("x", [0.12344, 2e-6], ".1234 .0000", within=0.0)
    assert row.holds
    assert row.texts()[4:6] == ["0.1234, 0.0000", "rounding"] or row.texts()[5] == "rounding"
    assert not entry.Row("x", [0.1236], ".1234", within=1e-4).holds
    assert entry.Row("x", [110.0], "100", within=0.1, relative=True).holds
    assert not entry.Row("x", [float("nan")], "1.0", within=1.0).holds
    assert entry.Row("x", [float("inf")], "inf", within=0.0).holds
    assert entry.read_back("−0.25, 3e−05, ∞")[1] == (3e-05, 1e-05)


def test_a_figure_by_its_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make.py", "jarvis_2025/timing", "-o", str(tmp_path)])
    assert make.main() == 0
    assert "| t̂ at Λ" in capsys.readouterr().out
    assert (tmp_path / "figures" / "jarvis_2025_timing.png").stat().st_size > 10_000
    monkeypatch.setattr(sys, "argv", ["make.py", "jarvis_2025/absent"])
    with pytest.raises(SystemExit) as refused:
        make.main()
    assert refused.value.code == 2
