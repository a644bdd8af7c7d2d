"""A store that was put in its place leaves nothing that blocks the next, whenever it is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import odekit as ok
from sweeps import assert_same, sweep


class Killed(BaseException):
    """As by a signal, in the middle of cleaning up."""


@pytest.mark.parametrize("after", range(0, 14, 3))
def test_a_kill_while_the_part_is_removed_blocks_nothing(tmp_path, monkeypatch, after):
    path, left = tmp_path / "grid.zarr", [after]
    unlink, rmtree = Path.unlink, shutil.rmtree

    def counted(self, *arguments, **keywords):
        if self.parent.name == "grid.zarr.part" and self.name.startswith(("chunk", "problem")):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        unlink(self, *arguments, **keywords)

    def one_by_one(folder, *arguments, **keywords):
        """In the worst order for what is left."""
        folder = Path(folder)
        if folder.name == "grid.zarr.part":
            for file in sorted(folder.iterdir(), key=lambda p: p.name != "problem.json"):
                if file.is_file():
                    file.unlink()
        rmtree(folder, *arguments, **keywords)

    monkeypatch.setattr(Path, "unlink", counted)
    monkeypatch.setattr(shutil, "rmtree", one_by_one)
    try:
        ok.solve(sweep(), store=path, chunk_size=3)
    except Killed:
        assert left[0] < 0
    monkeypatch.undo()
    assert path.is_dir()
    again = ok.solve(sweep(), store=path, overwrite=True)
    assert_same(again, ok.solve(sweep()))
    assert [p.name for p in tmp_path.iterdir()] == ["grid.zarr"]
