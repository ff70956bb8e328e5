"""pyproject.toml, the constraints and the schema say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from flwr.common.config import flatten_dict
from packaging.requirements import Requirement

from fcit_app.config.schema import KEYS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    entries = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in entries}


def test_flowers_run_configuration_has_exactly_the_schemas_keys():
    flat = flatten_dict(PROJECT["tool"]["flwr"]["app"]["config"])
    assert set(flat) == set(KEYS)
    assert flat.pop("preset") == "mini"
    assert set(flat.values()) == {"preset"}


def test_pyproject_has_no_federations():
    # Any flwr command would rewrite the file.
    assert "federations" not in PROJECT["tool"]["flwr"]


def test_every_dependency_is_pinned_within_its_bounds():
    extras = PROJECT["project"]["optional-dependencies"].values()
    requirements = [*PROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]
    requirements += PROJECT["build-system"]["requires"]
    pinned = pins()
    for requirement in map(Requirement, requirements):
        version = pinned[requirement.name]
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_torch_is_pinned_for_cpu_and_cuda_builds_alike():
    assert pins()["torch"] == "2.13.0"


def test_constraints_are_exact():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in lines)
