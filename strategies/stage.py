"""The clients of one stage: which node is which client, and whose samples are counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flwr.app import ConfigRecordValues
from flwr.serverapp import Grid

from fcit_app.identity.tokens import IdentityToken
from strategies.identities import ask_identities, wrong_widths
from strategies.replies import Rejection


@dataclass(frozen=True)
class _Learnt:
    """What is known of a client's lesson that is not its latest one."""

    token: IdentityToken
    counted: bool
    subspace: int | None


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
        Client to its identity token of this stage, of its latest lesson.
    counted : set[int]
        Clients whose token is already merged into its subspace's: each counts once a stage and
        lesson.
    lessons : dict[int, str]
        Client to its latest lesson; a client without one learns the whole stage.
    """

    stage: int
    client_of_node: dict[int, int] = field(default_factory=dict)
    tokens: dict[int, IdentityToken] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)
    lessons: dict[int, str] = field(default_factory=dict)
    _put_aside: dict[tuple[int, str], _Learnt] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Give all but the nodes, which have other numbers after a restart."""
        aside = [
            [client, lesson, _token_state(known.token), known.counted, known.subspace]
            for (client, lesson), known in self._put_aside.items()
        ]
        return {
            "stage": self.stage,
            "tokens": {client: _token_state(token) for client, token in self.tokens.items()},
            "counted": sorted(self.counted),
            "lessons": self.lessons,
            "put-aside": aside,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> StageClients:
        """Undo `state_dict`."""
        return cls(
            stage=state["stage"],
            tokens={client: _token_of(kept) for client, kept in state["tokens"].items()},
            counted=set(state["counted"]),
            lessons=dict(state["lessons"]),
            _put_aside={
                (client, lesson): _Learnt(_token_of(token), counted, subspace)
                for client, lesson, token, counted, subspace in state["put-aside"]
            },
        )

    def turn_to(
        self,
        lessons: Mapping[int, str],
        assignment: dict[int, int],
        subspaces: Collection[int],
    ) -> None:
        """Take up a round's lessons: whoever learns something else than before is a stranger.

        What is known of a client's former lesson is put aside, and comes back with that lesson.

        Parameters
        ----------
        lessons : Mapping[int, str]
            Participant to lesson; empty if the round has no lessons.
        assignment : dict[int, int]
            Client to subspace; changed for the clients that turn to another lesson.
        subspaces : Collection[int]
            Those that the bank has.
        """
        for client, lesson in lessons.items():
            former = self.lessons.get(client, "")
            self.lessons[client] = lesson
            if lesson == former:
                continue
            if client in self.tokens:
                self._put_aside[client, former] = _Learnt(
                    self.tokens.pop(client), client in self.counted, assignment.pop(client, None)
                )
                self.counted.discard(client)
            known = self._put_aside.get((client, lesson))
            if known is None:
                continue
            self.tokens[client] = known.token
            if known.subspace is not None and known.subspace in subspaces:
                assignment[client] = known.subspace
                self.counted |= {client} if known.counted else set()

    def identify(
        self,
        grid: Grid,
        group_id: str,
        timeout: float,
        width: int | None,
        lessons: Mapping[str, ConfigRecordValues] = MappingProxyType({}),
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
        lessons : Mapping[str, ConfigRecordValues]
            See `ask_identities`.

        Returns
        -------
        participants : dict[int, int]
            Client to node, by ascending client.
        rejected : list[Rejection]
            Nodes without a usable answer.
        """
        nodes = sorted(grid.get_node_ids())
        strangers = [n for n in nodes if self.client_of_node.get(n) not in self.tokens]
        found, failed = ask_identities(grid, strangers, self.stage, group_id, timeout, lessons)
        rejected = [Rejection(node, None, "identity", why) for node, why in failed.items()]

        claims: dict[int, list[int]] = {}
        for node in nodes:
            client = found[node].client if node in found else self.client_of_node.get(node)
            if client is not None and node not in failed:
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


def _token_state(token: IdentityToken) -> dict[str, Any]:
    parts = [_token_state(part) for part in token.prototypes]
    return {"total": token.total, "count": token.count, "prototypes": parts}


def _token_of(state: Mapping[str, Any]) -> IdentityToken:
    parts = tuple(_token_of(part) for part in state["prototypes"])
    return IdentityToken(state["total"], state["count"], parts)
