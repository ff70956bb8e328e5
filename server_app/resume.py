"""Opening a run that goes on: is it there, is it the same run, are its clients here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcit_app.config import RunConfig, flatten, parse
from fcit_app.errors import RunError, RunFolderError
from fcit_app.runs import (
    RESUME,
    Difference,
    RunFolder,
    SavedState,
    config_differences,
    data_differences,
    describe_environment,
    environment_differences,
    refuse,
)


def open_run(config: RunConfig) -> tuple[RunFolder, SavedState | None, list[str]]:
    """Open the run ``config.resume``, having compared it with what would go on.

    Returns
    -------
    folder : RunFolder
        The run's.
    saved : SavedState or None
        None if no round has been saved.
    accepted : list[str]
        Harmless differences that the user has accepted.

    Raises
    ------
    RunFolderError
        If it is no run folder, no state is whole, its ledger is damaged, or anything differs that
        may not.
    """
    folder = RunFolder(Path(config.resume))
    saved = folder.read_state() if folder.has_state else None
    if saved and RESUME not in saved.meta:
        raise RunFolderError(
            f"The state in {folder.path} was saved by a version that could not go on with a run. "
            "Begin another run with --out."
        )
    if folder.ledger.path.is_file():
        folder.ledger.read()  # what is damaged is told before hours of work, not after them
    found = config_differences(flatten(parse(folder.read_config())), flatten(config))
    found += environment_differences(folder.read_environment(), describe_environment())
    for what in saved.meta[RESUME]["lost"] if saved else ():
        found.append(Difference(f"the aggregator's {what} was not saved", True))
    return folder, saved, refuse(folder.path, found, config.resume_allow)


def same_clients(
    nodes: Mapping[int, int], shares: int, saved: SavedState, private: Mapping[str, Any]
) -> dict[int, int]:
    """Give the nodes of the clients that the run was begun with.

    Parameters
    ----------
    nodes : Mapping[int, int]
        Client to node, of all that are here.
    shares : int
        Among how many clients the data are dealt.
    private : Mapping[str, Any]
        Tasks of the clients' own, see ``server_app.private_tasks.private_facts``.

    Raises
    ------
    RunError
        If the data were dealt among another number of clients, one of them is missing, or has
        another task of its own.
    """
    kept: Mapping[str, Any] = saved.meta[RESUME]
    if shares != kept["shares"]:
        raise RunError(
            f"The run was begun with {kept['shares']} clients, and there are {shares}. Go on with "
            f"as many: `fcit run --resume DIR` does it, `flwr run` with --federation-config "
            f"'num-supernodes={kept['shares']}'."
        )
    missing = [client for client in kept["clients"] if client not in nodes]
    if missing:
        raise RunError(
            f"Clients {', '.join(map(str, missing))} took part in the run and are not connected. "
            "Start their SuperNodes, then resume again."
        )
    former: Mapping[str, Any] = kept.get("private", {})  # not kept before there were any
    for client in map(str, kept["clients"]):
        if former.get(client) != private.get(client):
            raise RunError(
                f"Client {client} had the private task {former.get(client)} (name, stages; None: "
                f"it has none) when the run began, and now has {private.get(client)}. Start its "
                "SuperNode with the former data-task and data-stages, then resume again."
            )
    return {client: nodes[client] for client in kept["clients"]}


def same_data(folder: RunFolder, saved: SavedState, data: Mapping[str, str]) -> None:
    """Refuse to go on with other data; raises ``RunFolderError`` that names them."""
    refuse(folder.path, data_differences(saved.meta[RESUME]["data"], data), allow=False)
