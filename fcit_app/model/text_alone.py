"""What a base of text alone cannot have, told before it is loaded; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fcit_app.model.architectures import ARCHITECTURES


def is_text_alone(folder: Path) -> bool:
    """Whether a folder's ``config.json`` describes a base without eyes.

    False if there is no such file or it is damaged: that is told when the base is loaded.
    """
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False
    return kind in ARCHITECTURES and not ARCHITECTURES[kind].sees


def text_alone_problems(
    name: str, folder: Path, projector: str, token: str, pictured: Sequence[str]
) -> list[str]:
    """Say which settings ask a base of text alone for what needs eyes; nothing of any other base.

    Parameters
    ----------
    name, folder : str, Path
        The base as the user named it, and where it would lie.
    projector, token : str
        The settings ``projector`` and ``identity.token``.
    pictured : Sequence[str]
        Tasks of the run that ask about pictures.

    Returns
    -------
    list[str]
        One sentence a problem.
    """
    if not is_text_alone(folder):
        return []
    what = f"the base {name!r}, a model of text alone"
    problems = []
    if projector != "frozen":
        problems.append(
            f"projector: {projector!r} is not allowed for {what} that has no projector; "
            "allowed: frozen."
        )
    if token != "text":
        problems.append(f"identity.token: {token!r} is not allowed for {what}; allowed: text.")
    if pictured:
        problems.append(
            f"tasks: {', '.join(pictured)} ask about pictures, which {what} cannot see; allowed: "
            "private tasks without pictures (docs/data.md). Or name a base that takes pictures as "
            "model.name."
        )
    return problems
