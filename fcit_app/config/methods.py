"""The methods by name: the one list that every other room reads.

A new federated method is a class in a file of ``fcit_app/methods`` and one line in ``FEDERATED``.
The class is named and not imported, so that a configuration can be read without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REFERENCES: tuple[str, ...] = ("zero-shot", "blind", "centralized")
"""Methods without clients and rounds; they run in one process."""

FEDERATED: Mapping[str, str] = MappingProxyType(
    {
        # DISCO's clients fine-tune plainly too; its own part is the server's (strategies/disco.py).
        "finetune": "fcit_app.methods.base:Method",
        "ewc": "fcit_app.methods.ewc:Ewc",
        "o-lora": "fcit_app.methods.o_lora:OLora",
        "m-lora": "fcit_app.methods.m_lora:MultiLora",
        "moelora": "fcit_app.methods.moelora:MoeLora",
        "l2p": "fcit_app.methods.l2p:L2p",
        "disco": "fcit_app.methods.base:Method",
    }
)
"""Name in the configuration to ``module:Class`` of a ``fcit_app.methods.base.Method``."""

METHODS: tuple[str, ...] = (*REFERENCES, *FEDERATED)
"""All names, in the order of the report's table."""
