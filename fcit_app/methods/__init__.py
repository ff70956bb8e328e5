"""The federated methods: what each adds on the client, on the server and at inference."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from fcit_app.config.methods import FEDERATED

if TYPE_CHECKING:
    from fcit_app.config import RunConfig
    from fcit_app.methods.base import Method

__all__ = ["load_method"]


def load_method(config: RunConfig) -> Method:
    """Make the configured method; references are fine-tuned plainly, like ``finetune``."""
    path = FEDERATED.get(config.method, FEDERATED["finetune"])
    module, _, name = path.partition(":")
    method: Method = getattr(importlib.import_module(module), name)(config)
    return method
