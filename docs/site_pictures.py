"""Pictures that the build makes: what every scenario draws, and screenshots of the main pages."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from odekit.cli import main

PAGES = ("index", "getting-started", "tutorial", "theory", "gallery/README", "reference/pictures")
"""Pages of which there are screenshots."""
WIDTHS = (1200, 390)
"""Of a desktop and of a phone."""
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --virtual-time-budget=20000"
)
HEAD = """# What the scenarios draw

Every [scenario](../scenarios.md), as `odekit run data/NAME.toml -o NAME.nc --plot NAME.png` does.
"""


def scenarios(app: Any) -> None:
    """Draw every scenario whose file has changed, and write the page that shows them."""
    folder = Path(app.srcdir) / "reference"
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    parts = [HEAD]
    for path in sorted((Path(app.srcdir).parent / "data").glob("*.toml")):
        _draw(path, folder / "pictures")
        table = tomllib.loads(path.read_text())
        shown = f"![{table['title']}](pictures/{path.stem}.png)"
        parts.append(f"## {path.stem}\n\n{table['description'].strip()}\n\n{shown}\n")
    page, text = folder / "pictures.md", "\n".join(parts)
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def _draw(path: Path, folder: Path) -> None:
    """The picture of one scenario, unless it is there."""
    mark = folder / f"{path.stem}.sha256"
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    picture = folder / f"{path.stem}.png"
    if picture.exists() and mark.exists() and mark.read_text() == sha:
        return
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(io.StringIO()) as said:
        command = ["run", str(path), "-o", f"{made}/run.nc", "--plot", str(picture), "--overwrite"]
        if main(command) != 0:
            raise RuntimeError(f"{path.name}: {said.getvalue()}")
    mark.write_text(sha)


def screenshots(app: Any, exception: Exception | None) -> None:
    """Photograph the main pages at both widths, where there is a browser."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if exception is not None or app.builder.name != "html" or browser is None:
        return
    out = Path(app.outdir)
    (out / "_screenshots").mkdir(exist_ok=True)
    for page in PAGES:
        for width in WIDTHS:
            picture = out / "_screenshots" / f"{page.replace('/', '-')}-{width}.png"
            with tempfile.TemporaryDirectory() as profile:
                where = [f"--user-data-dir={profile}", f"--window-size={width},1400"]
                what = [f"--screenshot={picture}", (out / f"{page}.html").as_uri()]
                command = [browser, *FLAGS.split(), *where, *what]
                subprocess.run(command, capture_output=True, check=False, timeout=120)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry."""
    scenarios(app)  # before Sphinx looks which pages there are
    app.connect("build-finished", screenshots, priority=999)  # after formulas have their scripts
    return {"parallel_read_safe": True}
