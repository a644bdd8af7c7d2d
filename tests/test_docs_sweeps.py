"""The page on sweeps: what can run on one machine runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import odekit as ok
from odekit import cli

PAGE = Path(__file__).parents[1] / "docs" / "sweeps.md"
BLOCK = re.compile(r"(<!-- ([\w ]+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def blocks(language):
    """Pairs of the remark before a block, and the block."""
    return [(m[2] or "", m[4]) for m in BLOCK.finditer(PAGE.read_text()) if m[3] == language]


def test_the_page_runs(tmp_path):
    """Blocks one after the other; a script of its own begins with the first problem."""
    python = blocks("python")
    here = "\n".join(code for remark, code in python if not remark)
    alone = [code for remark, code in python if remark == "a script of its own"]
    assert [remark for remark, _ in python].count("not run") == 1
    assert len(alone) == 2
    problem = python[0][1].partition("grid = ")[0]
    for code in [here, *(problem + code for code in alone)]:
        script = tmp_path / "script.py"
        script.write_text(code)
        done = subprocess.run(
            # Another cluster of these tests may run at the same time; Dask takes another port then.
            [sys.executable, "-W", "error", "-W", "ignore:Port 8787", script],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert ok.open(tmp_path / "part.nc").sizes["eta"] == 5
    assert (ok.open(tmp_path / "cluster.zarr").status == 0).all()


def test_its_scenario_runs(tmp_path):
    ((_, text),) = blocks("toml")
    (tmp_path / "rates.toml").write_text(text)
    arguments = ["run", str(tmp_path / "rates.toml"), "-o", str(tmp_path / "rates.zarr")]
    assert cli.main(arguments) == 0
    assert ok.open(tmp_path / "rates.zarr").status.shape == (3, 2, 5)
