"""Which subspaces a question would wake, found without the base model.

Weights come from identity tokens alone (DISCO, subspace selective activation), so the frozen text
encoder is all that is needed; tokens made of pictures need what has encoded those.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from fcit_app.config import RunConfig
from fcit_app.data.sample import Sample
from fcit_app.errors import ConfigError
from fcit_app.evaluate.question import open_picture
from fcit_app.evaluate.saved_run import SavedRun
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.pictures import load_picture_encoder
from fcit_app.model.activation import activation_weights
from fcit_app.model.base import load_base
from fcit_app.model.features import SampleFeatures, sample_features
from fcit_app.model.routes import route_owners, route_tokens
from fcit_app.model.vision import vision_features


@dataclass(frozen=True)
class Route:
    """How a bank's subspaces are woken by one question, in the bank's order.

    Parameters
    ----------
    weights : dict[int, float]
        Identifier to its weight in the answer, by the run's activation.
    cosines : dict[int, float]
        Identifier to the cosine of the question with its identity token (its best prototype).
    """

    weights: dict[int, float]
    cosines: dict[int, float]


def route(run: SavedRun, question: str, picture: Path | None = None) -> Route:
    """Weigh the subspaces of a run for one question.

    Parameters
    ----------
    run : SavedRun
        Bank and settings; its tokens decide whether a picture is needed.
    question : str
        As the model would see it, with what it says about the form of the answer.
    picture : Path, optional
        A file; needed if, and only if, the run's tokens are made of pictures too.

    Raises
    ------
    ConfigError
        If the bank has no tokens, or the picture is missing or of no use; all at once.
    DataError
        If the picture cannot be read.
    """
    tokens = route_tokens(run.bank)
    source = run.config.identity.token
    problems = []
    if tokens is None:
        problems.append(
            f"{run.path} is a run of method {run.config.method}, whose bank has no identity "
            "tokens: every question wakes all of it. Name a run of method disco."
        )
    elif source == "text" and picture is not None:
        problems.append(
            "--image: this run's tokens are made of text alone (identity.token = text), a picture "
            "changes nothing. Leave it out."
        )
    elif source != "text" and picture is None:
        problems.append(
            f"--image: missing; this run's tokens are made of pictures (identity.token = {source})."
        )
    if source != "image" and not question.strip():
        problems.append("--text: is empty. Write the question as you would ask a person.")
    if problems or tokens is None:
        raise ConfigError(problems)
    image = open_picture(picture) if picture else None
    sample = Sample("question", "question", question, "", (lambda: image) if image else None)
    feature = torch.from_numpy(features_of(run.config).of([sample]))
    owners = route_owners(run.bank)
    weights, cosines = (
        activation_weights(
            feature, tokens, mode, run.config.identity.temperature, owners, open_world
        )[0]
        for mode, open_world in (
            (run.config.activation, run.config.identity.open_world),
            ("cosine", 0.0),
        )
    )
    names = [subspace.identifier for subspace in run.bank.subspaces]
    return Route(
        dict(zip(names, weights.tolist(), strict=True)),
        dict(zip(names, cosines.tolist(), strict=True)),
    )


def features_of(config: RunConfig) -> SampleFeatures:
    """Features of the run's tokens; the base is loaded only where its vision tower made them."""
    encoder, source = load_encoder(config.identity.encoder), config.identity.token
    seen_by_base = source != "text" and load_picture_encoder(encoder.name) is None
    vision = vision_features(load_base(config.model), config.data) if seen_by_base else None
    return sample_features(source, encoder, vision, config.identity.dimension)
