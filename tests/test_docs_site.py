"""The documentation site: blocks run as written, twice; it builds, and opens in a browser."""

from __future__ import annotations

import contextlib
import functools
import http.server
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
PAGES = [DOCS / "getting-started.md", DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
SCRIPTS = [page for page in PAGES if BLOCK.search(page.read_text())]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MADE = ("_build", "reference", "__pycache__")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --virtual-time-budget=20000"
)


# ------------------------------------------------------------------------------------------ blocks


@pytest.mark.parametrize("page", SCRIPTS, ids=lambda page: page.stem)
def test_blocks_run_as_written_twice(page, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("\n".join(BLOCK.findall(page.read_text())))
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True,
            text=True, check=False, env={**os.environ, "MPLBACKEND": "agg"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


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


def test_search_finds_what_is_looked_for(browse):
    shown = browse("search.html?q=Consolidation")
    assert "odekit.Consolidation" in shown
    assert re.search(r"found \d+ pages? matching|Search finished", shown)


def test_formulas_show(browse, address):
    shown = browse("theory.html")
    assert shown.count("<mjx-container") > 5
    assert "data-mjx-error" not in shown
    assert [path for _, path in address[1] if "favicon" not in path] == []


@pytest.mark.parametrize("width", [390, 1200])
def test_pages_fit_their_window(browse, width, tmp_path):
    """At the width of a phone nothing but code and tables is wider than the page."""
    from matplotlib.image import imread

    picture = tmp_path / "page.png"
    for page in ("index.html", "getting-started.html", "reference/api.html"):
        browse(page, width, picture)
        shown = imread(picture)
        assert shown.shape[1] == width
        # Not an empty page: letters are dark on light.
        assert shown[..., :3].std() > 0.05
    with contextlib.suppress(FileNotFoundError):
        picture.unlink()
