"""The clients of one stage: which node is which client, and whose samples are counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from flwr.serverapp import Grid

from fcit_app.identity.tokens import IdentityToken
from strategies.identities import ask_identities, wrong_widths
from strategies.replies import Rejection


@dataclass
class StageClients:
    """What the server has learnt about the clients in one stage.

    Attributes
    ----------
    stage : int
        Number of the stage. In the next one clients hold other data, so all is asked anew.
    client_of_node : dict[int, int]
        Nodes that need not be asked again.
    tokens : dict[int, IdentityToken]
        Client to its identity token of this stage.
    counted : set[int]
        Clients whose token is already merged into its subspace's: each counts once a stage.
    """

    stage: int
    client_of_node: dict[int, int] = field(default_factory=dict)
    tokens: dict[int, IdentityToken] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)

    def identify(
        self, grid: Grid, group_id: str, timeout: float, width: int | None
    ) -> tuple[dict[int, int], list[Rejection]]:
        """Find out who the grid's nodes are, asking only those not known yet.

        Parameters
        ----------
        grid : Grid
            The round's participants.
        group_id : str
            Group of the messages (the round).
        timeout : float
            Seconds to wait for answers.
        width : int or None
            Width of the bank's tokens, None for the empty bank.

        Returns
        -------
        participants : dict[int, int]
            Client to node, by ascending client.
        rejected : list[Rejection]
            Nodes without a usable answer.
        """
        nodes = sorted(grid.get_node_ids())
        strangers = [node for node in nodes if node not in self.client_of_node]
        found, failed = ask_identities(grid, strangers, self.stage, group_id, timeout)
        rejected = [Rejection(node, None, "identity", why) for node, why in failed.items()]

        claims: dict[int, list[int]] = {}
        for node in nodes:
            client = found[node].client if node in found else self.client_of_node.get(node)
            if client is not None:
                claims.setdefault(client, []).append(node)
        newcomers = {
            identity.client: identity.token
            for identity in found.values()
            if len(claims[identity.client]) == 1
        }
        if width is None and self.tokens:
            width = next(iter(self.tokens.values())).total.size
        problems = wrong_widths(newcomers, width)

        participants: dict[int, int] = {}
        for client, claimants in sorted(claims.items()):
            if len(claimants) > 1:
                problems[client] = f"{len(claimants)} nodes say that they are client {client}"
            if client in problems:
                rejected += [Rejection(n, client, "identity", problems[client]) for n in claimants]
                continue
            participants[client] = claimants[0]
            self.client_of_node[claimants[0]] = client
            if client in newcomers:
                # A client that comes back under another node id keeps its token: counted once.
                self.tokens.setdefault(client, newcomers[client])
        return participants, rejected
