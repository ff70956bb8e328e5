"""pyproject.toml, the constraints and the schema say the same."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from flwr.common.config import (
    flatten_dict,
    fuse_dicts,
    get_fused_config_from_dir,
    parse_config_args,
    validate_config,
)
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from fcit_app.config import flatten, parse
from fcit_app.config.schema import KEYS
from fcit_app.launch.flower import _toml

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


def test_flower_accepts_a_value_and_a_quoted_key_below_it():
    valid, errors, _ = validate_config(PROJECT, check_module=False)
    assert valid, errors
    assert get_fused_config_from_dir(ROOT, {})["aggregator.arguments"] == "preset"


@pytest.mark.parametrize("quote", ['"', "'"])
def test_aggregator_and_arguments_on_flowers_command_line(quote):
    line = f"aggregator='fedyogi' {quote}aggregator.arguments{quote}='eta=0.01, tau=1e-3' seed=3"
    given = parse_config_args([line])
    assert given == {
        "aggregator": "fedyogi",
        "aggregator.arguments": "eta=0.01, tau=1e-3",
        "seed": 3,
    }
    defaults = flatten_dict(PROJECT["tool"]["flwr"]["app"]["config"])
    config = parse(fuse_dicts(defaults, given))
    assert (config.aggregator, config.aggregator_arguments) == ("fedyogi", "eta=0.01, tau=1e-3")


def test_flower_reads_the_file_the_launcher_writes(tmp_path):
    config = parse(
        {"aggregator": "krum", "aggregator.arguments": "num_malicious_nodes=1", "out": 'a "b"'}
    )
    file = tmp_path / "run-config.toml"
    file.write_text(_toml(flatten(config)), encoding="utf-8")
    assert parse_config_args([str(file)]) == flatten(config)


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


def test_whatever_they_require_in_turn_is_pinned_too():
    project = PROJECT["project"]
    extras = sorted(project["optional-dependencies"])
    waiting = [f"{project['name']}[{','.join(extras)}]"]
    seen, names = set(), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        names.add(name)
        for text in distribution(name).requires or ():
            found = Requirement(text)
            applies = [{"extra": extra} for extra in ("", *requirement.extras)]
            if not found.marker or any(map(found.marker.evaluate, applies)):
                found.marker = None
                found.specifier = SpecifierSet()
                waiting.append(str(found))
    assert {"setuptools", "torch", "ray"} < names
    assert names - pins().keys() == {project["name"]}


def test_torch_is_pinned_for_cpu_and_cuda_builds_alike():
    assert pins()["torch"] == "2.13.0"


def test_constraints_are_exact():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in lines)
