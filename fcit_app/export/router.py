"""What chooses among the subspaces of an exported bank, as two plain files and a loader."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.reduction import directions
from fcit_app.model.bank import Bank
from fcit_app.runs.atomic import write_json

LOADER = tuple(Path(__file__).with_name(name) for name in ("load_bank.py", "text_encoder.py"))
"""The reference loader, copied into the export; it needs nothing of this project."""


def why_not_as_one(bank: Bank, config: RunConfig) -> str:
    """Say why a routed bank cannot be exported as one adapter; empty if it can."""
    if any(subspace.projector is not None for subspace in bank.subspaces):
        return "projector = per-subspace: PEFT cannot mix several projectors for one question"
    if config.identity.token != "text":
        return f"identity.token = {config.identity.token}: the router would need the run's pictures"
    return ""


def write_router(folder: Path, bank: Bank, config: RunConfig) -> None:
    """Write ``router.safetensors``, ``router.json`` and the reference loader.

    Parameters
    ----------
    folder : Path
        Of the stacked adapter.
    bank : Bank
        Its subspaces all have tokens.
    config : RunConfig
        Gives encoder, activation, temperature and the open world's limit.
    """
    tokens = [subspace.token for subspace in bank.subspaces if subspace.token is not None]
    routes = [(place, part) for place, token in enumerate(tokens) for part in token.routes]
    arrays: Arrays = {
        # what questions are compared with, and the position of the subspace of each row
        "means": np.stack([part.mean for _, part in routes]),
        "owners": np.array([place for place, _ in routes], dtype=np.int64),
        # the tokens as they are merged: sums over samples
        "totals": np.stack([token.total for token in tokens]),
        "counts": np.array([token.count for token in tokens], dtype=np.int64),
        "route_counts": np.array([part.count for _, part in routes], dtype=np.int64),
    }
    dimension = config.identity.dimension
    if dimension:
        width = load_encoder(config.identity.encoder).dimension
        # of the encoder's features, before they are compared with the means
        arrays["directions"] = np.array(directions(width, dimension))
    save_file(arrays, folder / "router.safetensors")
    kind, _, place = config.identity.encoder.partition(":")
    write_json(
        folder / "router.json",
        {
            "format": "fcit-router-1",
            "encoder": kind,
            # a folder's own name, not where it lay
            "checkpoint": Path(place).name if Path(place).is_dir() else place,
            "width": int(arrays["means"].shape[1]),
            "activation": config.activation,
            "temperature": config.identity.temperature,
            "open_world": config.identity.open_world,
            "subspaces": [subspace.identifier for subspace in bank.subspaces],
        },
    )
    for file in LOADER:
        shutil.copyfile(file, folder / file.name)
