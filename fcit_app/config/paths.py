"""Make a configuration independent of the working directory.

Flower runs the app's processes in another working directory than the user's, so every relative
path has to become absolute before a run starts.
"""

from __future__ import annotations

from pathlib import Path

from fcit_app.config.schema import RunConfig
from fcit_app.errors import ConfigError


def resolve_paths(config: RunConfig, base: Path | None = None) -> RunConfig:
    """Return the configuration with absolute paths, relative ones taken from ``base``.

    Parameters
    ----------
    config : RunConfig
        ``out`` becomes absolute; ``model.name`` other than ``mini`` must be a folder; the part
        of ``identity.encoder`` after the colon becomes absolute if it is a folder, and stays a
        name otherwise.
    base : Path, optional
        The working directory by default.

    Raises
    ------
    ConfigError
        If ``model.name`` is neither ``mini`` nor a folder.
    """
    base = base or Path.cwd()
    name, encoder = config.model.name, config.identity.encoder
    if name != "mini":
        folder = _absolute(name, base)
        if not folder.is_dir():
            raise ConfigError(
                f"model.name: {name!r} is not allowed; allowed: mini, or a folder in Hugging Face "
                f"layout. There is no folder {folder}."
            )
        name = str(folder)
    kind, colon, place = encoder.partition(":")
    if colon and _absolute(place, base).is_dir():
        encoder = f"{kind}:{_absolute(place, base)}"
    return config.model_copy(
        update={
            "out": str(_absolute(config.out, base)),
            "model": config.model.model_copy(update={"name": name}),
            "identity": config.identity.model_copy(update={"encoder": encoder}),
        }
    )


def _absolute(text: str, base: Path) -> Path:
    return (base / Path(text).expanduser()).resolve()
