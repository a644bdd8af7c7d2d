"""Opens damaged copies one after the other, in a process that may crash or hang.

``python isolated.py FOLDER GOOD`` opens every name that it reads from its input, compares what it
holds with the good one, and answers with a line for each.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

TIMEOUT = 20.0


def same(got, good) -> bool:
    """Bitwise, in every variable and attribute."""
    return (
        set(got.variables) == set(good.variables)
        and all(got[n].dims == good[n].dims for n in good.variables)
        and all(got[n].dtype == good[n].dtype for n in good.variables)
        and all(got[n].values.tobytes() == good[n].values.tobytes() for n in good.variables)
        and {k: str(v) for k, v in got.attrs.items()} == {k: str(v) for k, v in good.attrs.items()}
        and all(
            {k: str(v) for k, v in got[n].attrs.items()}
            == {k: str(v) for k, v in good[n].attrs.items()}
            for n in good.variables
        )
    )


def outcome(path: Path, good) -> str:
    """What opening and loading a damaged copy comes to."""
    import odekit as ok

    try:
        got = ok.open(path).load()
    except ok.StoreError:
        return "refused"
    except BaseException as error:
        return f"crashed: {type(error).__name__}: {error}".replace("\n", " ")[:200]
    return "harmless" if same(got, good) else "wrong"


class _Reader:
    """One process, begun again where it crashed or hung."""

    def __init__(self, good: Path) -> None:
        self.good = good
        self.process: subprocess.Popen[str] | None = None

    def ask(self, path: Path) -> str:
        if self.process is None:
            command = [sys.executable, str(Path(__file__)), str(self.good)]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
            assert self.process.stdout.readline() == "ready\n"
        killer = threading.Timer(TIMEOUT, self.process.kill)
        killer.start()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        hung = not killer.is_alive()
        killer.cancel()
        if answer:
            return answer
        code, self.process = self.process.wait(), None
        return "hung" if hung else f"crashed: signal {-code}"

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()


def outcomes(good: Path, damaged: Iterable[Path]) -> Iterator[str]:
    """What became of every damaged copy, in turn: each may reuse the place of the one before."""
    reader = _Reader(good)
    try:
        for path in damaged:
            yield reader.ask(path)
    finally:
        reader.close()


if __name__ == "__main__":
    import odekit as ok

    reference = ok.open(sys.argv[1]).load()
    print("ready", flush=True)
    for line in sys.stdin:
        print(outcome(Path(line.rstrip("\n")), reference), flush=True)
