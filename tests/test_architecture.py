"""The rooms of the library: who may name a system, how many layers there are, how far to a kernel.

`docs/architecture.md` describes them; the imports themselves are held by the contract in
pyproject.toml (tests/test_layers.py).
"""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import odekit as ok
from odekit.dataset.common import registry
from odekit.integrate.engine import Engine
from odekit.problem.system import FIRST, system_of
from odekit_kernels.committee import explicit
from sweeps import sweep

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "odekit"
FRONT = {
    *("__init__.py", "data.py", "linear.py", "plot.py", "inputs.py", "teachers.py"),
    "measures/__init__.py",
}
"""What users import: it shows the systems' own functions, and does nothing with them."""
COMMITTEES = {"verbs/compare.py"}
"""Theory beside finite networks, which only committees have."""
OWN = {
    "training/course.py": {"test_error"},  # measured by networks of any system, given inputs
    "problem/system.py": {FIRST},  # of files that do not name their system
}
FIELDS = {"state", "heads", "activation", "network", "weights"}
"""Of problems, that only one system has."""
SUBJECTS = {"problem", "ds", "run", "sim", "other", "last", "result"}
MOST_LAYERS = 9
MOST_MODULES = 6


def own_variables() -> set[str]:
    """Variables of datasets that one shipped system has, but for names of users."""
    net = ok.linear.deep([1, 1])
    outline = {"nodes": net.nodes, "edges": net.edges, "paths": net.paths}
    ours = set(system_of("committee").variables({}))
    theirs = set(system_of("linear").variables({"network": outline}))
    return (ours ^ theirs) - {*net.nodes, *net.edges, "path"} - set(registry([]))


VARIABLES = own_variables()


def sources() -> list[str]:
    """Modules that must know no system."""
    every = (p.relative_to(PACKAGE).as_posix() for p in sorted(PACKAGE.rglob("*.py")))
    return [p for p in every if not p.startswith(("systems/", "testing/")) and p not in FRONT]


def docstrings(tree: ast.AST) -> set[int]:
    bodies = (n.body for n in ast.walk(tree) if isinstance(getattr(n, "body", None), list))
    return {
        id(part.value)
        for body in bodies
        for part in body
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
    }


def offences(text: str, allowed: set[str] = frozenset()) -> list[str]:
    """Where a module names a system, or asks for what only one has."""
    tree = ast.parse(text)
    skipped, found = docstrings(tree), []
    for node in ast.walk(tree):
        what = None
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("odekit.systems"):
                what = f"imports {module}"
            case ast.Import(names=names) if any("odekit.systems" in n.name for n in names):
                what = "imports a system"
            case ast.Constant(value=str(word)) if id(node) not in skipped | allowed:
                bare = word not in allowed and (word in VARIABLES or word == FIRST)
                what = f"names {word!r}" if bare or "odekit.systems." in word else None
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in SUBJECTS:
                what = f"asks for {name}.{attr}" if attr in FIELDS | VARIABLES else None
            case ast.Compare(left=left, comparators=others):
                asked = [ast.unparse(x) for x in (left, *others)]
                if any(x.endswith(("problem.kind", "system.kind", "['kind']")) for x in asked):
                    what = f"compares {' and '.join(asked)}"
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, kind]):
                named = {n.id for n in ast.walk(kind) if isinstance(n, ast.Name)}
                what = f"asks for {named}" if named & {"Problem", "LinearProblem"} else None
        if what is not None:
            found.append(f"line {node.lineno} {what}")
    return found


@pytest.mark.parametrize("name", sources())
def test_no_module_outside_the_systems_names_one(name):
    if name not in COMMITTEES:
        assert offences((PACKAGE / name).read_text(), OWN.get(name, set())) == []


@pytest.mark.parametrize(
    "text",
    [
        "from odekit.systems import linear",
        "from odekit.systems.committee.state import OrderParameters",
        "def f():\n    import odekit.systems.linear.panels",
        "importlib.import_module('odekit.systems.linear')",
        "if 'mode_strength' in ds: pass",
        "kind = data.get('kind', 'committee')",
        "K = problem.state.student",
        "n = ds.Q.shape",
        "if problem.kind == name: pass",
        "ok = isinstance(problem, Problem)",
        "ok = isinstance(problem, (Other, LinearProblem))",
    ],
)
def test_such_a_name_would_be_found(text):
    assert offences(text)


def test_modules_that_may_name_a_system_are_there_and_do():
    for name in COMMITTEES | FRONT - {"plot.py"}:
        assert offences((PACKAGE / name).read_text()) or name == "plot.py", name
    for name, words in OWN.items():
        assert len(offences((PACKAGE / name).read_text())) >= len(words), name


# ----------------------------------------------------------------------------------------- layers


def layers() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (c for c in settings["contracts"] if c["type"] == "layers")
    return contract["layers"]


def test_layers_are_few_and_hide_no_circle():
    assert len(layers()) <= MOST_LAYERS
    assert not any(":" in layer for layer in layers())


def test_every_folder_has_its_place():
    named = {part for layer in layers() for part in layer.split(" | ")}
    there = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    files = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert named == there | files


def test_the_page_lists_the_layers():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for layer in layers():
        for part in layer.split(" | "):
            assert f"`{part}`" in page or f"`{part}/`" in page, part


# ------------------------------------------------------------------------------------------- depth


def on_the_way() -> list[str]:
    """Modules of odekit on the stack, from the call of the caller's caller up to `solve`."""
    frame, found = sys._getframe(2), []
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("odekit.") and name not in found:
            found.append(name)
        frame = frame.f_back
    return found[::-1]


@pytest.mark.parametrize(
    ("place", "name", "swept", "method"),
    [
        (explicit, "advance", False, "DOP853"),  # Python calls a kernel for some steps
        (Engine, "_integrate", False, "Rodas5P"),  # its module calls a kernel for a whole phase
        (Engine, "_integrate", True, None),
    ],
)
def test_few_modules_from_solve_to_a_kernel(monkeypatch, place, name, swept, method):
    """Distinct modules of odekit on the stack when a kernel is called, its caller's included."""
    original, seen = getattr(place, name), []

    def spy(*args):
        seen.append(on_the_way())
        return original(*args)

    monkeypatch.setattr(place, name, spy)
    problem = sweep(etas=2, draws=None)
    ok.solve(problem if swept else problem.replace_phase(0, learning_rate=0.1), method=method)
    modules = max(seen, key=len)
    assert modules[0] == "odekit.verbs.solve"
    assert len(modules) <= MOST_MODULES, modules


def test_a_penalty_of_a_phase_touches_the_files_that_the_page_names():
    """At most eight for the equations; those of the readouts' decay stand for any other's."""
    page = (ROOT / "docs" / "architecture.md").read_text().split("To add")[1].split("**… an")[0]
    equations, others = page.split("Finite networks")
    named = set(re.findall(r"`((?:odekit|kernels)/[\w/]+\.py)`", equations))
    folder = "kernels/odekit_kernels/committee/"
    named_others = set(re.findall(r"`((?:odekit|kernels)/[\w/]+\.py)`", others))
    named_others |= {f"{folder}sgd/{name}.py" for name in ("memory", "steps", "cuda")}
    named_others |= {f"{folder}chain/{name}.py" for name in ("memory", "steps")}
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]
    word = re.compile("readout_weight_decay|kappa_v")
    touched = {p.relative_to(ROOT).as_posix() for p in files if word.search(p.read_text())}
    assert len(named) <= 8
    assert touched <= named | named_others
    assert all((ROOT / name).exists() for name in named)


def test_the_version_is_that_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert ok.__version__ == settings["project"]["version"]
