"""Typed run configuration: parsed once, at the door, with every error reported at once."""

from fcit_app.config.methods import METHODS
from fcit_app.config.parse import PRESET_VALUE, flatten, parse, parse_assignments
from fcit_app.config.paths import relative_paths, resolve_paths
from fcit_app.config.presets import PRESETS
from fcit_app.config.schema import FEDERATED_METHODS, RunConfig, Scalar

__all__ = [
    "FEDERATED_METHODS",
    "METHODS",
    "PRESETS",
    "PRESET_VALUE",
    "RunConfig",
    "Scalar",
    "flatten",
    "parse",
    "parse_assignments",
    "relative_paths",
    "resolve_paths",
]
