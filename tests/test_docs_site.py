"""The documentation site: blocks run as written, twice; it builds, and opens in a browser."""

from __future__ import annotations

import functools
import html
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import odekit as ok

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
ROOT = DOCS.parent
PRINTED = ("branches", "fixed-points", "fluctuations", "gradients", "inputs", "sweeps", "testing")
"""Pages whose tests compare what they print: `test_docs_PAGE.py`."""
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "howto").glob("*.md"))]
SCRIPTS = [p for p in PAGES if BLOCK.search(p.read_text()) and p.stem not in PRINTED]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MAIN = [f"{page}.html" for page in (
    "index", "getting-started", "tutorial", "howto/index", "howto/sizes", "theory", "glossary",
    "gallery/README", "gallery/lee_2022", "notebooks/plateau", "reference/api",
    "reference/generated/odekit.solve", "reference/pictures", "dataset", "changes",
)]  # fmt: skip
PROBE = """<iframe id="frame" style="width:%dpx;height:900px;border:0"></iframe><script>
const pages = %s, found = {}, frame = document.getElementById("frame");
function next() {
  if (!pages.length) {
    const said = document.createElement("pre");
    said.textContent = JSON.stringify(found);
    document.body.append(said);
    return;
  }
  const page = pages.shift();
  frame.onload = () => setTimeout(() => {
    const inside = frame.contentDocument;
    found[page] = {
      width: inside.documentElement.scrollWidth,
      letters: inside.body.innerText.length,
      broken: [...inside.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src),
    };
    next();
  }, 200);
  frame.src = page;
}
next();
</script>"""
"""Visits pages in a frame of some width, and says how wide they are and what did not load."""
MADE = ("_build", "reference", "__pycache__")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --virtual-time-budget=20000"
)


# ------------------------------------------------------------------------------------------ blocks


@pytest.mark.parametrize("page", SCRIPTS, ids=lambda page: page.stem)
def test_blocks_run_as_written_twice(page, tmp_path):
    """A second time where the first has left files, which are then overwritten."""
    script = tmp_path / "script.py"
    script.write_text("\n".join(BLOCK.findall(page.read_text())))
    for again in (False, True):
        if again and len(list(tmp_path.iterdir())) == 1:
            break
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True,
            text=True, check=False, env={**os.environ, "MPLBACKEND": "agg"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_every_page_with_code_has_a_test():
    for name in PRINTED:
        assert (Path(__file__).parent / f"test_docs_{name.replace('-', '_')}.py").is_file()
        assert BLOCK.search((DOCS / f"{name}.md").read_text())
    others = [p for p in DOCS.rglob("*.md") if p not in PAGES and not set(MADE) & set(p.parts)]
    assert not [p for p in others if BLOCK.search(p.read_text())]


def test_every_equation_of_the_theory_leads_to_its_kernel():
    """A section with formulas ends with files of kernels that exist, or with the next formulas."""
    text = (DOCS / "theory.md").read_text()
    for section in text.split("\n## ")[1:]:
        if "$$" in section:
            _, *after = section.split("$$")
            files = re.findall(r"literalinclude\} \.\./(\S+)", after[-1])
            assert files, section[:40]
            assert all((ROOT / file).is_file() for file in files)


# -------------------------------------------------------------------------------------------- site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors, without network."""
    pytest.importorskip("sphinx", reason="extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    source = folder / "project" / "docs"
    # A copy: the build writes pages for every public name beside the others.
    for name in ("docs", "data", "kernels"):
        shutil.copytree(
            DOCS.parent / name,
            folder / "project" / name,
            ignore=shutil.ignore_patterns("_build", "reference", "__pycache__"),
        )
    shutil.copy(DOCS.parent / "CHANGELOG.md", folder / "project")
    built = folder / "html"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(source), str(built)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


class _Links(HTMLParser):
    """Where a page leads, and the names that it has."""

    def __init__(self):
        super().__init__()
        self.found, self.names = [], set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.found += [given[k] for k in ("href", "src") if given.get(k)]
        self.names |= {given[k] for k in ("id", "name") if given.get(k)}


@functools.cache
def links(page):
    parser = _Links()
    parser.feed(page.read_text())
    return parser


def test_no_link_is_broken(site):
    """Every file that a page names is there, and every anchor on it."""
    pages = [page for page in site.rglob("*.html") if "_static" not in page.parts]
    assert len(pages) > 80
    broken = []
    for page in pages:
        for link in links(page).found:
            target, anchor = urldefrag(link)
            if re.match(r"[a-z]+:|//", target):
                continue
            path = unquote(target.partition("?")[0])
            there = (page.parent / path).resolve() if path else page
            lost = not there.exists()
            if not lost and anchor and there.suffix == ".html":
                lost = unquote(anchor) not in links(there).names
            if lost:
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken


def test_nothing_is_fetched_from_elsewhere(site):
    """Scripts, styles, fonts and pictures are the site's own."""
    for page in site.rglob("*.html"):
        assert not re.findall(
            r"<(?:script|img|link)[^>]*(?:src|href)=\"(?:https?:)?//", page.read_text()
        )


def test_every_public_name_has_a_page(site):
    modules = ("linear", "teachers", "inputs", "measures", "plot", "testing")
    names = [n for n in ok.__all__ if n not in modules and not n.startswith("__")]
    names += [f"{m}.{n}" for m in modules for n in getattr(ok, m).__all__ if n not in ok.__all__]
    missing = [n for n in names if not (site / f"reference/generated/odekit.{n}.html").exists()]
    assert not missing


# ----------------------------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def address(site):
    """The site, served on this machine; what was asked for and missing is kept."""
    lost = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

        def send_error(self, code, *args):
            lost.append((code, self.path))
            super().send_error(code, *args)

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", lost
        server.shutdown()


@pytest.fixture
def browse(address, tmp_path):
    """A page as a browser shows it, in HTML, and its picture."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    def show(path, width=1200, picture=None):
        kept = ["--dump-dom"] if picture is None else [f"--screenshot={picture}"]
        window = [f"--user-data-dir={tmp_path}", f"--window-size={width},900"]
        command = [CHROMIUM, *FLAGS.split(), *window, *kept, f"{address[0]}/{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return show


@pytest.mark.parametrize("width", [390, 1200])
def test_search_finds_what_is_looked_for(browse, width):
    shown = browse("search.html?q=Consolidation", width)
    assert "odekit.Consolidation" in shown
    assert re.search(r"found \d+ pages? matching|Search finished", shown)


def test_formulas_show(browse, address):
    shown = browse("theory.html")
    assert shown.count("<mjx-container") > 5
    assert "data-mjx-error" not in shown
    assert [path for _, path in address[1] if "favicon" not in path] == []


@pytest.mark.parametrize("width", [390, 1200])
def test_pages_fit_their_window(browse, site, width):
    """Nothing is wider than a phone's page but what scrolls in its own box; pictures are there."""
    (site / "probe.html").write_text(PROBE % (width, json.dumps(MAIN)))
    said = re.search(r"<pre>(.*?)</pre>", browse("probe.html"), re.DOTALL)
    found = json.loads(html.unescape(said[1]))
    assert list(found) == MAIN
    for page, seen in found.items():
        assert seen["width"] <= width + 1, page
        assert seen["letters"] > 200, page
        assert not seen["broken"], page


def test_the_build_made_screenshots_and_pictures(site):
    """Of the main pages at both widths, and of every scenario."""
    from matplotlib.image import imread

    scenarios = {p.stem for p in (ROOT / "data").glob("*.toml")}
    assert {p.stem for p in (site / "_images").glob("*.png")} >= scenarios
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    made = sorted((site / "_screenshots").glob("*.png"))
    assert len(made) == 12
    for picture in made:
        shown = imread(picture)
        assert str(shown.shape[1]) == picture.stem.rpartition("-")[2]
        assert shown[..., :3].std() > 0.05  # letters on a page
