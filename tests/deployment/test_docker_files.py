"""Compose file, Dockerfile and scripts, as far as they can be checked without a Docker daemon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deployed import ROOT, blocks

from fcit_app.deployment import PROGRAMS, read_arguments
from fcit_app.deployment.check import check_node
from fcit_app.errors import ConfigError
from fcit_app.launch.stopping import WITHIN

DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
GPU = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())
SERVICES: dict[str, dict] = COMPOSE["services"]
NODES = sorted(name for name in SERVICES if name.startswith("supernode-"))
DAEMONS = ["superlink", *NODES]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
MADE_BY_THE_USER = {"certificates", "data", "models", "runs"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def default(text: str) -> str:
    """A value of the Compose file with nothing set in the environment."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def mounts(service: str) -> dict[str, str]:
    """Path in the container to what is mounted there."""
    entries = [default(entry).split(":") for entry in SERVICES[service]["volumes"]]
    return {entry[1]: entry[0] for entry in entries}


def test_the_base_image_is_pinned_to_a_version():
    (image,) = [rest for word, rest in instructions() if word == "FROM"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image)
    assert all(re.search(r":\d+\.\d+\.\d+$", service["image"]) for service in SERVICES.values())
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert installs and all("-c constraints.txt" in line for line in installs)


def test_nothing_runs_as_root_or_gains_rights():
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["1000:1000"]
    for service in SERVICES.values():
        assert default(service["user"]) == "1000:1000"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_all_that_is_copied_is_there_and_reaches_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [
        part for word, rest in instructions() if word == "COPY" for part in rest.split()[:-1]
    ]
    assert {"client_app", "fcit_app", "server_app", "strategies"} < set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
    assert "*" in ignored  # keys and data are not sent along


def test_what_is_mounted_exists_or_is_made_by_the_page():
    page = "\n".join(blocks("sh"))
    for name in SERVICES:
        for source in mounts(name).values() if "volumes" in SERVICES[name] else ():
            if source in COMPOSE["volumes"]:
                continue
            first = Path(source).parts[0]
            if first in MADE_BY_THE_USER:
                assert f"docker/{first}" in page
            else:
                assert (DOCKER / source).is_file(), source


def test_daemons_restart_and_say_whether_they_are_well():
    # Podman's image format drops the image's own.
    assert "HEALTHCHECK" not in [word for word, _ in instructions()]
    assert "https://localhost:8000/health" in SERVICES["superlink"]["healthcheck"]["test"]
    for name in DAEMONS:
        assert SERVICES[name]["restart"] in ("always", "unless-stopped")
        # `fcit start` gives Flower fifteen seconds to take leave, and its children ten more; before
        # that a SuperLink's runs have a minute (--stop-within) to finish their round.
        longest = 25 if name in NODES else 25 + WITHIN
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > longest
    for name in NODES:
        assert "http://localhost:9094/health" in SERVICES[name]["healthcheck"]["test"]


def test_supernodes_wait_for_registration_and_that_for_a_healthy_superlink():
    assert SERVICES["register"]["depends_on"]["superlink"]["condition"] == "service_healthy"
    for name in NODES:
        wanted = SERVICES[name]["depends_on"]["register"]["condition"]
        assert wanted == "service_completed_successfully"


@pytest.mark.parametrize("name", DAEMONS)
def test_commands_hold_flags_that_flower_has(name):
    fcit, start, program, *arguments = map(default, SERVICES[name]["command"])
    assert (fcit, start) == ("fcit", "start")
    binary = Path(sys.executable).parent / PROGRAMS[program]
    known = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=60).stdout
    flags = [argument.partition("=")[0] for argument in arguments]
    assert [flag for flag in flags if f"{flag} " not in known and f"{flag}]" not in known] == []
    assert "--insecure" not in flags
    files = [
        value for _, _, value in (a.partition("=") for a in arguments) if "certificates" in value
    ]
    assert files and all(file in mounts(name) for file in files)


def test_every_supernode_is_another_client_with_its_own_key_and_no_other():
    identities, keys = [], []
    for name in NODES:
        given = list(map(default, SERVICES[name]["command"][3:]))
        arguments = read_arguments("supernode", given)
        with pytest.raises(ConfigError) as caught:  # the files are in the container only
            check_node(arguments)
        assert "--node-config" not in str(caught.value)
        identities.append(arguments.node_config)
        keys.append(str(arguments.key))
        private = [path for path in mounts(name) if path.startswith("/certificates/")]
        assert sorted(private) == sorted(["/certificates/ca.crt", str(arguments.key)])
    assert len(set(identities)) == len(set(keys)) == len(NODES) == 2
    registered = {path for path in mounts("register") if path.endswith(".pub")}
    assert registered == {f"{key}.pub" for key in keys}
    everything = [path for name in SERVICES if "volumes" in SERVICES[name] for path in mounts(name)]
    assert "/certificates/ca.key" not in everything


def test_layers_that_cost_minutes_hold_nothing_of_ours():
    """Only what is copied later changes with every edit."""
    steps = [f"{word} {rest}" for word, rest in instructions()]
    ours = next(number for number, step in enumerate(steps) if step.startswith("COPY client_app"))
    installs = [number for number, step in enumerate(steps) if "pip install" in step]
    assert len(installs) == 3 and installs[1] < ours < installs[2]
    assert "--no-deps" in steps[installs[2]]


def test_the_commit_is_that_of_this_build():
    """Podman 4 takes an ENV from its cache, unless a RUN before it was given the argument."""
    steps = [f"{word} {rest}" for word, rest in instructions()]
    declared = steps.index('ARG FCIT_COMMIT=""')
    told = steps.index("ENV FCIT_COMMIT=$FCIT_COMMIT")
    assert any(step.startswith("RUN") for step in steps[declared:told])
    # Without a value it is the environment's; podman-compose 1.0 keeps `${FCIT_COMMIT:-}` as text.
    assert SERVICES["superlink"]["build"]["args"]["FCIT_COMMIT"] is None


def test_gpus_are_reserved_for_all_that_compute():
    assert sorted(GPU["services"]) == sorted(DAEMONS)
    for service in GPU["services"].values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
        assert default(device["device_ids"][0]).isdecimal()


def test_the_page_names_the_keys_that_compose_wants():
    (text,) = [text for text in blocks("sh") if "docker compose" in text]
    assert f"make-certificates.sh docker/certificates {len(NODES)}\n" in text
    assert f"clients-per-round={len(NODES)} " in text


@pytest.mark.parametrize("script", sorted(path.name for path in DOCKER.glob("*.sh")))
def test_scripts_are_sound_and_may_be_run(script):
    assert os.access(DOCKER / script, os.X_OK)
    assert subprocess.run(["sh", "-n", DOCKER / script]).returncode == 0
