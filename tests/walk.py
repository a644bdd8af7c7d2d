"""The project as a user meets it: built, installed in fresh environments, and read from the start.

``python tests/walk.py FOLDER`` does all of it there, and lists every command and block that it ran
with its seconds of CPU; ``python tests/walk.py FOLDER wheel readme`` those stages; ``--list``
prints the commands of README and site without running any, and what other tests run.

wheel
    A source distribution and a wheel from it are built; each is installed, with nothing but what
    it asks for, in a fresh environment: the wheel under the newest Python that numba supports
    and that is found here, the source distribution under this one. Both solve a scenario.
readme
    README.md is followed in a copy of the project: its first command as written, in a fresh
    environment; its blocks of Python; its other commands, with files for the names in capitals;
    and the commands on the pages of the site that name files of the project.

Compiled kernels are kept where ``NUMBA_CACHE_DIR`` says, so that environments of one Python
compile them once; else in the folder.
"""

from __future__ import annotations

import os
import re
import resource
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
    "optimise SCENARIO.toml": "optimise data/optimal_rate_k2.toml",
    "SCENARIO.toml": "data/linear_exact.toml",
}
"""What stands in README for a file of the reader's."""
ELSEWHERE = (
    ("README.md: its test command", "whoever runs these tests"),
    ("README.md: its command of the site", "test_docs_site.py, in a copy"),
    ("README.md and pages: every block of Python", "test_docs_site.py, test_docs_PAGE.py"),
    ("docs/continual-learning.md: odekit run data/...", "the site's build, which draws all data/"),
)
"""What other tests run as written."""
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


def newest() -> str:
    """The newest Python up to `NEWEST` on this machine; this one where there is no other."""
    for minor in range(NEWEST, 10, -1):
        pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"))
        for python in [shutil.which(f"python3.{minor}"), *map(str, pyenv)]:
            command = [python, "-c", "import sys, venv; print(sys.version_info[1])"]
            done = python and subprocess.run(command, capture_output=True, text=True, check=False)
            if done and done.stdout.strip() == str(minor):
                return str(python)
    return sys.executable


def index_is_reached() -> bool:
    """Whether pip finds a small package where it looks for packages."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--retries", "0", "--timeout", "20"]
    asked = [*pip, "--dry-run", "--ignore-installed", "--no-deps", "tqdm"]
    return not subprocess.run(asked, capture_output=True, check=False).returncode


def spent() -> float:
    """Seconds of CPU of all processes that were run."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Walk:
    """Runs and lists; the first that fails ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ran = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        ours = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS")
        self.env = {k: v for k, v in os.environ.items() if k not in ours}
        self.env.setdefault("NUMBA_CACHE_DIR", str(folder / "kernels"))
        # Bytecode is made of what is imported, not of all that is installed: 40 s of CPU less.
        self.env |= {"MPLBACKEND": "agg", "PYTHONNOUSERSITE": "1", "PIP_NO_COMPILE": "0"}

    def run(self, command: str | list[str], where: Path, said: str = "") -> None:
        """Run a command, as a shell does if it is one line."""
        self.ran += 1
        shown = said or (command if isinstance(command, str) else shlex.join(command))
        words = ["/bin/bash", "-euo", "pipefail", "-c", command]
        before = spent()
        done = subprocess.run(
            words if isinstance(command, str) else command,
            cwd=where, env=self.env, check=False, capture_output=True, text=True,
        )  # fmt: skip
        print(f"{self.ran:3} {spent() - before:6.1f} s  {shown}", flush=True)
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

    def wheel(self) -> None:
        """Build the packages, and install each in a fresh environment."""
        project, dist = self.copy(), self.folder / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        self.run([sys.executable, "-m", "build", "-o", str(dist), str(project)], self.folder)
        (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
        for python, package in ((newest(), wheel), (sys.executable, source)):
            self.install(python, package, project / "data" / "linear_exact.toml")

    def install(self, python: str, package: Path, scenario: Path) -> None:
        """Install a package in a fresh environment, solve a scenario there, and remove both."""
        home = self.folder / "fresh"
        shutil.rmtree(home, ignore_errors=True)
        self.run([python, "-m", "venv", "--without-pip", str(home)], self.folder)
        pip = [sys.executable, "-m", "pip", "--python", str(home), "install", "-q", str(package)]
        self.run(pip, self.folder)
        odekit = str(home / "bin" / "odekit")
        self.run([odekit, "run", str(scenario), "-o", "run.nc"], home)
        self.run([odekit, "validate", "run.nc"], home)
        (installed,) = home.glob("lib/python3.*/site-packages/odekit")
        assert (installed / "py.typed").is_file()
        shutil.rmtree(home)

    def readme(self) -> None:
        """Follow README, and the commands of the site, in the environment that it makes."""
        project = self.copy()
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
        shutil.rmtree(project)


STAGES = {"wheel": Walk.wheel, "readme": Walk.readme}


def main() -> None:
    """All of it, or the stages that are named."""
    elsewhere = "\n".join(f"Run elsewhere: {what}, by {who}" for what, who in ELSEWHERE)
    if "--list" in sys.argv:
        print("\n".join([*readme(), *site(), elsewhere]))
        return
    walk = Walk(Path(sys.argv[1]).resolve())
    for stage in sys.argv[2:] or STAGES:
        STAGES[stage](walk)
    print(f"{elsewhere}\n{walk.ran} commands ran, in {spent():.0f} s of CPU.")


if __name__ == "__main__":
    main()
