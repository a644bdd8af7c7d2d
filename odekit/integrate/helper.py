"""A second process that compiles parts of a kernel while this one compiles the others.

Both take the parts that neither has begun, from the two ends of one list; what the helper has
compiled is read from the cache. Whatever becomes of it, nothing but time is lost.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import parent_process
from pathlib import Path

from odekit.base.cores import cores
from odekit_kernels._jit import NO_JIT, cache_directory
from odekit_kernels._parts import Order, Part, claim, file_of

CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from odekit_kernels._parts import help_out; help_out()"
)
PATIENCE = 60.0
"""Seconds after which a part that the helper has begun is not waited for any more."""
LOOK = 0.005


def possible() -> bool:
    """Whether another process could help: a core for it, a cache, and a Python to run."""
    if NO_JIT or cores() < 2 or parent_process() is not None:
        return False
    return Path(sys.executable or "").name.startswith("python") and cache_directory() is not None


class Helper:
    """A process that waits for one order.

    Raises
    ------
    OSError
        If there cannot be another process, or no folder for what they claim.
    """

    def __init__(self) -> None:
        self.claims = tempfile.mkdtemp(prefix="odekit-")
        self.own: dict[Path, int] = {}
        self.busy = False
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", CODE, json.dumps([str(path) for path in sys.path])],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except BaseException:
            shutil.rmtree(self.claims, ignore_errors=True)
            raise

    def share(self, parts: Sequence[Part], later: Sequence[Part]) -> None:
        """Have parts compiled, the last ones first, and then what is needed later."""
        self.busy = True
        todo = [(part, file_of(part)) for part in (*parts, *later)]
        missing = [(part, file) for part, file in todo if file is not None and not file.exists()]
        self.own = {file: number for number, (_, file) in enumerate(missing)}
        count = sum(part in parts for part, _ in missing)
        numbers = [*reversed(range(count)), *range(count, len(missing))]
        jobs = []
        for number in numbers:
            function, types = missing[number][0]
            jobs.append((number, function.__module__, function.__name__, types))
        order = Order(str(cache_directory()), self.claims, jobs)
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended
            pickle.dump(order, self.process.stdin)
            self.process.stdin.flush()

    def begun(self, file: Path) -> bool:
        """Whether the helper has begun what is kept in a file; if not, it will not."""
        number = self.own.get(file)
        if number is None or not claim(self.claims, number):
            return number is not None
        del self.own[file]
        return False

    def wait(self, file: Path, stop: Callable[[], None]) -> None:
        """Wait for what the helper has begun, as long as it is at work and `stop` lets us."""
        end = time.monotonic() + PATIENCE
        while not file.exists() and self.process.poll() is None:
            stop()
            if time.monotonic() > end:
                self.process.kill()
            time.sleep(LOOK)

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.claims, ignore_errors=True)
