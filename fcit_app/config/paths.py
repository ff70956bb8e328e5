"""Make a configuration independent of the working directory.

Flower runs the app's processes in other working directories than the user's, and in a deployment on
other machines, so every relative path has to become absolute before a run starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from fcit_app.config.schema import RunConfig, Scalar
from fcit_app.data.scenario import BUILT_IN

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")

_MEND = (
    "Give an absolute path, the same on every machine of the federation: the apps of server and "
    "clients run in working directories of their own. (`fcit run` makes paths absolute itself.)"
)


def resolve_paths(config: RunConfig, base: Path | None = None) -> RunConfig:
    """Return the configuration with absolute paths, relative ones taken from ``base``.

    Parameters
    ----------
    config : RunConfig
        ``out``, a scenario file and ``model.name`` become absolute, unless the latter is ``mini``
        or the name of a checkpoint; the part of
        ``identity.encoder`` after the colon becomes absolute if it is a folder, and stays a
        name otherwise. So do ``resume``, ``data.root`` and ``data.feature-cache``, unless they are
        empty.
    base : Path, optional
        The working directory by default.
    """
    base = base or Path.cwd()
    name, encoder = config.model.name, config.identity.encoder
    places = {"root": config.data.root, "feature_cache": config.data.feature_cache}
    data = {key: str(_absolute(place, base)) if place else "" for key, place in places.items()}
    if name != "mini" and not is_hub_name(name, base):
        name = str(_absolute(name, base))
    kind, colon, place = encoder.partition(":")
    if colon and _absolute(place, base).is_dir():
        encoder = f"{kind}:{_absolute(place, base)}"
    scenario = config.scenario
    if scenario not in BUILT_IN:
        scenario = str(_absolute(scenario, base))
    return config.model_copy(
        update={
            "scenario": scenario,
            "out": str(_absolute(config.out, base)),
            "resume": str(_absolute(config.resume, base)) if config.resume else "",
            "model": config.model.model_copy(update={"name": name}),
            "identity": config.identity.model_copy(update={"encoder": encoder}),
            "data": config.data.model_copy(update=data),
        }
    )


def relative_paths(flat: Mapping[str, Scalar]) -> Iterator[str]:
    """Say which paths would mean another place to each of the federation's processes.

    Parameters
    ----------
    flat : Mapping[str, Scalar]
        Flat configuration as `parse` hands it to its checks. The ``out`` folder is the server's
        alone and may be relative; so may an encoder's name that is no folder here.

    Yields
    ------
    str
        One problem for each of ``scenario``, ``model.name``, ``identity.encoder``, ``data.root``
        and ``data.feature-cache`` that is a relative path.
    """
    scenario = str(flat.get("scenario", "hom"))
    if scenario not in BUILT_IN and not Path(scenario).is_absolute():
        yield f"scenario: {scenario!r} is a relative path. {_MEND}"
    name, encoder = str(flat.get("model.name", "mini")), str(flat.get("identity.encoder", ""))
    if name != "mini" and not Path(name).is_absolute() and not is_hub_name(name):
        yield f"model.name: {name!r} is a relative path. {_MEND}"
    place = encoder.partition(":")[2]
    local = place.startswith((".", "~")) or _absolute(place, Path.cwd()).is_dir()
    if place and not Path(place).is_absolute() and local:
        yield f"identity.encoder: {encoder!r} holds a relative path. {_MEND}"
    for key in ("data.root", "data.feature-cache"):
        folder = str(flat.get(key, ""))
        if folder and not Path(folder).is_absolute():
            yield f"{key}: {folder!r} is a relative path. {_MEND}"


def is_hub_name(name: str, base: Path | None = None) -> bool:
    """Whether a base's name reads like ``organisation/model`` and is no folder below ``base``."""
    is_folder = _absolute(name, base or Path.cwd()).is_dir()
    return bool(_HUB_NAME.fullmatch(name)) and not is_folder


def _absolute(text: str, base: Path) -> Path:
    return (base / Path(text).expanduser()).resolve()
