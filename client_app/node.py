"""The worker that a message's handler asks, wherever it lives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from fcit_app.config import Scalar, parse
from fcit_app.data.folder.private import OwnData

if TYPE_CHECKING:  # it imports torch
    from client_app.worker import Worker

_MAKER = "client_app.worker:own_worker"


def worker_of(run_config: Mapping[str, Scalar], data: OwnData | None = None) -> Worker:
    """Give the worker of a configuration: the same one for the same configuration and data.

    In a simulation, whose processes stay, it is this process's own. In a deployment it is the
    node's resident one (``client_app.resident``), unless ``client-resident`` is 0; this process
    then imports no torch.

    Parameters
    ----------
    run_config : Mapping[str, Scalar]
        The run's configuration, as Flower gives it.
    data : OwnData, optional
        The node's own data.

    Raises
    ------
    ConfigError
        If the configuration is wrong.
    """
    from client_app.resident.owner import owner_of_message

    text = json.dumps(dict(run_config), sort_keys=True)

    def own() -> Worker:
        from client_app.worker import own_worker

        return own_worker(text, data)

    owner = owner_of_message()
    idle = 0.0 if owner is None else parse(run_config).client_resident
    if owner is None or idle == 0:
        return own()
    from client_app.resident.caller import ResidentWorker, Wanted

    return cast("Worker", ResidentWorker(owner, Wanted(_MAKER, (text, data), idle), own))
