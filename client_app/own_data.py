"""What a node's own configuration says of its data, judged against the run's."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import ConfigRecord

from fcit_app.config import RunConfig, Scalar, parse
from fcit_app.data.folder.datasets import INSTRUCTIONS
from fcit_app.data.folder.partition import partition_folder
from fcit_app.data.folder.private import ROOT_KEY, OwnData, own_data
from fcit_app.errors import DataError

PRIVATE = "private"
"""Record of the answer to the hello query: task and stages of a client's private task."""


def usable_own_data(
    node_config: Mapping[str, object], run_config: Mapping[str, Scalar], client: int
) -> OwnData | None:
    """Read a node's own data and see whether the run can use them; records are not read.

    Parameters
    ----------
    node_config, run_config : Mapping
        The node's and the run's configuration.
    client : int
        Which client the node is, to be named.

    Raises
    ------
    DataError
        If the node's configuration is wrong, or the folder does not fit the run.
    """
    try:
        own = own_data(node_config)
        if own and not own.task:
            _check_layout(own, parse(run_config))
    except DataError as error:
        raise DataError(f"client {client}: {error}") from error
    return own


def private_record(own: OwnData) -> ConfigRecord:
    """Tell the server of a private task."""
    return ConfigRecord({"task": own.task, "stages": list(own.stages)})


def _check_layout(own: OwnData, config: RunConfig) -> None:
    """Refuse a folder in FCIT's layout that lacks what the run deals from."""
    where = f"{ROOT_KEY} = '{own.root}' is in FCIT's layout, but "
    if not config.data.root:
        raise DataError(
            f"{where}the run uses the mini benchmark. Set data.root on the server to a folder with "
            "FCIT's test data, or leave it out of this node's --node-config."
        )
    shards = partition_folder(own.root, config.setting, config.beta)
    if config.data.partition == "files" and not shards.is_dir():
        raise DataError(
            f"{where}lacks this run's shards, {shards.relative_to(own.root)}. Put the client's "
            "there, or run with the beta and setting that it has."
        )
    if config.data.partition == "seeded" and not (own.root / INSTRUCTIONS).is_dir():
        raise DataError(
            f"{where}has no {INSTRUCTIONS} to deal from. Run with data.partition=files, which "
            "takes the shards that are there."
        )
