"""The project as a user meets it: built, installed in fresh environments, and read from the start.

``python tests/walk.py FOLDER`` does all of it there, and lists every command and block that it ran;
``--list`` prints them without running any.

1. A source distribution and a wheel from it are built; the wheel is installed in fresh
   environments of this Python and of the newest other one, and solves a scenario there.
2. README.md is followed in a copy of the project: its first command as written, in a fresh
   environment; its blocks of Python; its other commands, with files for the names in capitals.
3. So are the commands on the pages of the site that name files of the project.

What a test of its own runs as written is left out: the command of the tests themselves, that which
builds the site (`test_docs_site.py`), and the blocks of pages (there too).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = (
    ".git", ".venv*", "_build", "reference", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)  # fmt: skip
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
PAGES = ("docs/getting-started.md", "docs/simulation.md")
"""Pages of the site whose commands name files of the project."""
STANDS_FOR = {
    "SCENARIO.toml -o OUT.zarr": "data/noise_floor_l0.toml -o OUT.zarr",
    "descend SCENARIO.toml -o OUT.nc": "descend data/optimal_constant.toml -o DESCENT.nc",
    "optimise SCENARIO.toml": "optimise data/optimal_curriculum.toml",
    "fixed-point OUT.nc --time 30": "fixed-point OUT.nc --time 30",
    "SCENARIO.toml": "data/linear_exact.toml",
    "[--plot FIG.png]": "--plot FIG.png",
}
"""What README leaves to the reader: names in capitals, and what is optional."""
NEWEST = 13
"""Minor versions of Python from 11 on up to which wheels are tried, where there are any."""


def commands(text: str) -> Iterator[str]:
    """Commands of a page, one a line, without remarks."""
    for language, block in BLOCK.findall(text):
        if not language:
            for line in block.splitlines():
                said = line.partition("   #")[0].strip()
                if said.startswith(("odekit ", "python3 ")):
                    yield said


def filled(command: str) -> str:
    """A command with files for the names that stand for them, which may be there already."""
    for name, file in STANDS_FOR.items():
        if name in command:
            command = command.replace(name, file)
            break
    command = command.replace("[--plot FIG.png]", "--plot FIG.png")
    writes = " -o " in command and "--overwrite" not in command
    return f"{command} --overwrite" if writes and not command.endswith(".zarr") else command


def readme() -> list[str]:
    """README's commands, as they are run."""
    first, *others = commands((ROOT / "README.md").read_text())
    own = [c for c in others if c.startswith("odekit ")]
    return [first, *map(filled, own)]


def site() -> list[str]:
    """Commands of the site's pages, as they are run."""
    found = [c for page in PAGES for c in commands((ROOT / page).read_text())]
    return [c for c in found if c.startswith("odekit ")]


def interpreters() -> list[str]:
    """This Python, and the newest other one on this machine that is supported."""
    found = [sys.executable]
    for minor in range(NEWEST, 10, -1):
        pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"))
        for python in [shutil.which(f"python3.{minor}"), *map(str, pyenv)]:
            command = [python, "-c", "import sys, ensurepip; print(sys.version_info[1])"]
            done = python and subprocess.run(command, capture_output=True, text=True, check=False)
            if done and done.stdout.strip() == str(minor) != str(sys.version_info[1]):
                return [*found, str(python)]
    return found


class Walk:
    """Runs and lists; the first that fails ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ran = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        self.env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self.env |= {"MPLBACKEND": "agg", "PYTHONNOUSERSITE": "1"}

    def run(self, command: str | list[str], where: Path, said: str = "") -> None:
        """Run a command, as a shell does if it is one line."""
        self.ran += 1
        shown = said or (command if isinstance(command, str) else shlex.join(command))
        print(f"{self.ran:3}  {shown}", flush=True)
        words = ["/bin/bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(
            words if isinstance(command, str) else command,
            cwd=where, env=self.env, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            sys.exit(
                f"It failed ({done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            )

    def copy(self) -> Path:
        """A copy of the project, without what was made in it."""
        project = self.folder / "project"
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(*LEFT_OUT))
        return project

    def packages(self, project: Path) -> None:
        """Build the packages, and install the wheel in fresh environments."""
        dist = self.folder / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        self.run([sys.executable, "-m", "build", "-o", str(dist), str(project)], self.folder)
        (wheel,), (_,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
        for i, python in enumerate(interpreters()):
            home = self.folder / f"wheel{i}"
            shutil.rmtree(home, ignore_errors=True)
            self.run([python, "-m", "venv", str(home)], self.folder)
            self.run([str(home / "bin/pip"), "install", "-q", str(wheel)], self.folder)
            scenario = str(project / "data" / "linear_exact.toml")
            odekit = str(home / "bin" / "odekit")
            self.run([odekit, "run", scenario, "-o", "run.nc", "--overwrite"], home)
            self.run([odekit, "validate", "run.nc"], home)
            (package,) = home.glob("lib/python3.*/site-packages/odekit")
            assert (package / "py.typed").is_file()

    def readme(self, project: Path) -> None:
        """Follow README, and the commands of the site, in the environment that it makes."""
        first, *others = readme()
        self.run(first, project)
        self.env["PATH"] = os.pathsep.join([str(project / ".venv" / "bin"), self.env["PATH"]])
        blocks = [b for language, b in BLOCK.findall((ROOT / "README.md").read_text()) if language]
        script = project / "readme.py"
        script.write_text("\n".join(blocks))
        said = f"README.md: {len(blocks)} blocks of Python, as one script"
        self.run(["python", "readme.py"], project, said)
        self.run("pip install -q '.[sweep]'", project)
        for command in [*others, *site()]:
            self.run(command, project)


def main() -> None:
    """All of it."""
    if "--list" in sys.argv:
        print("\n".join([*readme(), *site()]))
        return
    walk = Walk(Path(sys.argv[1]).resolve())
    project = walk.copy()
    walk.packages(project)
    walk.readme(project)
    print(f"{walk.ran} commands ran.")


if __name__ == "__main__":
    main()
