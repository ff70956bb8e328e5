"""Arrows between packages point one way: whoever imports whom is written down here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"fcit_app", "strategies", "client_app", "server_app"}
WATCHED = ROOMS | {"flwr", "ray", "torch"}

# What each package may import of the watched ones, itself aside.
PACKAGES = {
    "fcit_app": {"torch"},
    "strategies": {"fcit_app", "flwr"},
    "client_app": {"fcit_app", "flwr"},
    "server_app": {"fcit_app", "strategies", "flwr"},
}
EXCEPTIONS = {
    # The command line judges the aggregator at the door, and only Flower can.
    ("fcit_app.cli", "strategies"),
}

# What each room of fcit_app may import of the others, itself aside. `errors` and `arrays` anyone.
INSIDE = {
    "errors": set(),
    "arrays": set(),
    "workers": set(),
    "processes": {"workers"},
    "codec": set(),
    "parcel": set(),
    "data": set(),
    "config": {"data"},
    "identity": set(),
    "model": {"identity", "data"},
    "train": {"config", "data", "model"},
    "methods": {"config", "data", "identity", "model", "train"},
    "evaluate": {"config", "data", "identity", "methods", "model", "runs", "workers"},
    "runs": {"config"},
    "preflight": {"config", "data", "model", "tracking"},
    "estimate": {"config", "data", "model"},
    "doctor": {"data", "workers"},
    "launch": {"config", "processes", "runs", "workers"},
    "deployment": {"config", "launch", "processes", "runs", "workers"},
    "reference": {"config", "data", "evaluate", "model", "runs", "train", "workers"},
    "pretrain": {"data", "model"},
    "watch": {"runs"},
    "tracking": {"runs"},
    "report": {"config", "data", "identity", "runs"},
    "export": {"config", "data", "evaluate", "identity", "model", "runs"},
    "commands": {
        *("config", "data", "deployment", "doctor", "estimate", "evaluate", "export", "identity"),
        *("launch", "model", "report", "runs", "tracking", "watch"),
    },
    "cli": {
        *(
            "commands",
            "config",
            "data",
            "estimate",
            "identity",
            "launch",
            "model",
            "preflight",
            "reference",
            "report",
            "runs",
            "tracking",
        ),
    },
}
FOR_ALL = {"errors", "arrays"}


def imports() -> set[tuple[str, str]]:
    """Pairs (module, module imported), of every import statement wherever it stands."""
    found = set()
    for package in sorted(ROOMS):
        for file in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            module = module.removesuffix(".__init__")
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {(module, alias.name) for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{module} imports relatively"
                    found |= {(module, f"{node.module}.{alias.name}") for alias in node.names}
    return found


IMPORTS = imports()


def test_packages_import_only_what_lies_below_them():
    edges = {(here, there.split(".")[0]) for here, there in IMPORTS}
    wrong = {
        (here, package)
        for here, package in edges
        if package in WATCHED - PACKAGES[here.split(".")[0]] - {here.split(".")[0]}
    }
    assert wrong - EXCEPTIONS == set()


@pytest.mark.parametrize("edge", sorted(EXCEPTIONS))
def test_exceptions_are_needed(edge):
    assert any((here, there.split(".")[0]) == edge for here, there in IMPORTS)


def test_rooms_of_fcit_app_import_only_what_lies_below_them():
    rooms = {path.stem for path in (ROOT / "fcit_app").iterdir() if path.stem[0] != "_"}
    assert rooms == set(INSIDE), "a new room: say what it may import"
    wrong = set()
    for here, there in IMPORTS:
        if not here.startswith("fcit_app.") or not there.startswith("fcit_app."):
            continue
        room, other = here.split(".")[1], there.split(".")[1]
        if other not in INSIDE[room] | FOR_ALL | {room, "__version__"}:
            wrong.add((here, there))
    assert wrong == set()


def test_rooms_have_no_circles():
    left = {room: set(below) - FOR_ALL for room, below in INSIDE.items()}
    while left:
        free = {room for room, below in left.items() if not below & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {room: below for room, below in left.items() if room not in free}


def test_nothing_below_imports_what_stands_on_top():
    top = {"cli", "commands", "report"}
    assert not any(top & below for room, below in INSIDE.items() if room not in top)
